"""The studio in a real browser: five tabs, labelling by keyboard, a streamed chat, nothing that leaves the machine."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.records import Modality, Task, load_codebook
from ai_therapist.records.message import VideoPart
from ai_therapist.serving.studio.routes import StudioOptions
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_recording
from tests.browser import BROWSER, NO_BROWSER
from tests.serving.servers import Slow
from tests.serving.studio.opened import TOY, running, service_of
from tests.serving.studio.study import HOSTILE, LINES, evaluated, make_study

pytestmark = pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)

Look = Literal["light", "dark", "phone"]
HOST = "127.0.0.1"
TABS = {
    "sessions": "h1:text('one')",
    "review": "#rater",
    "dataset": "h2:text('Splits')",
    "runs": ".curves polyline",
    "chat": "#words",
}
EMOTIONS, STRATEGIES = (load_codebook().names(task) for task in (Task.EMOTION, Task.STRATEGY))


@dataclass
class Watched:
    """A page, and everything it complained about or asked of another machine."""

    page: Page
    context: BrowserContext
    address: str
    trouble: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def open(self, tab: str) -> Page:
        """Go to a tab and wait until it is drawn."""
        self.page.goto(f"{self.address.partition('?')[0]}#/{tab}")
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=BROWSER,
            args=[
                "--no-sandbox",
                f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
                "--autoplay-policy=no-user-gesture-required",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a report."""
    workspace = make_study(tmp_path_factory.mktemp("whole") / "study", ("one", "two", "words only"))
    evaluated(workspace)
    workspace.index.close()
    return workspace.root


@pytest.fixture
def workspace(whole: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(whole, tmp_path / "study")))


def watched(browser: Browser, address: str, look: Look | None = None) -> Watched:
    """A fresh browser window at the studio's address."""
    context = (
        browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True, is_mobile=True)
        if look == "phone"
        else browser.new_context(color_scheme=look)
    )
    context.set_default_timeout(8_000)
    page = context.new_page()
    found = Watched(page, context, address)
    page.on("console", lambda message: found.trouble.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.trouble.append(str(error)))
    page.on("dialog", lambda dialog: found.trouble.append(f"dialog {dialog.message}"))

    def note(route: Route) -> None:
        if urlsplit(route.request.url).hostname != HOST:
            found.elsewhere.append(route.request.url)
        route.continue_()

    context.route("**", note)
    page.goto(address)
    page.wait_for_url("**/")
    return found


def posts(seen: Watched) -> list[str]:
    """The addresses to which the window sends what changes something, as they come."""
    sent: list[str] = []
    seen.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    return sent


HERE = Path(__file__).parent
CONTRAST = (HERE / "contrast.js").read_text("utf-8")
NAMELESS = (HERE / "nameless.js").read_text("utf-8")
WIDER = "document.documentElement.scrollWidth > innerWidth"
AS_MARKUP = (
    "() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch (error) { return error.name; } }"
)


def in_order_of_time(page: Page) -> None:
    """Let the review ask in the order of time, and leave the choice so that keys are answers."""
    page.get_by_label("Order of the questions").select_option("time")
    page.get_by_label("Order of the questions").blur()
    expect(page.locator(".review:not([aria-busy]) #turn p")).to_contain_text(LINES[0])


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_five_tabs_without_error_or_request_elsewhere(browser: Browser, workspace: Workspace, look: Look) -> None:
    with running(workspace) as address:
        seen = watched(browser, address, look)
        for tab, drawn in TABS.items():
            page = seen.open(tab)
            expect(page.locator(drawn).first).to_be_visible()
            expect(page.locator("nav a[aria-current=page]")).to_have_text(tab.capitalize())
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{tab} is wider than the screen"
            )
            assert page.evaluate(NAMELESS) == [], tab
            assert page.evaluate(CONTRAST) == [], tab
        # The check of contrast would notice.
        page.evaluate("document.querySelector('footer').style.color = 'rgb(128 128 128 / 40%)'")
        assert page.evaluate(CONTRAST) != []
        seen.context.close()
    assert seen.trouble == []
    assert seen.elsewhere == []


def test_sessions_show_picture_sound_words_and_labels(browser: Browser, workspace: Workspace) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        page = seen.open("sessions")
        expect(page.locator(".turns .words").first).to_contain_text(LINES[0])
        expect(page.locator(".turns .said")).to_have_count(len(LINES))
        expect(page.locator(".turns .badge.warn")).to_have_text(["too short"])
        expect(page.locator(".turns .label").first).to_contain_text("sadness 40 %")
        expect(page.locator(".timeline .turn")).to_have_count(len(LINES))
        expect(page.locator(".timeline .wave")).to_be_visible()
        page.get_by_role("button", name="Play from 0:04").click()
        page.wait_for_function("() => document.querySelector('video').currentTime > 4.2")
        expect(page.locator(".said.now .words")).to_contain_text(LINES[2])
        page.get_by_role("slider").press("Home")
        page.get_by_role("slider").press("PageUp")
        page.wait_for_function("() => document.querySelector('video').currentTime >= 10")
        page.locator("summary", has_text="set aside").click()
        expect(page.locator(".aside p")).to_contain_text("<i>truncated</i> quarantined")
        page.get_by_role("link", name="two").click()
        expect(page.locator("h1")).to_have_text("two")
        seen.context.close()
    assert seen.trouble == []


def test_three_utterances_are_labelled_by_keyboard_and_found_in_the_store(
    browser: Browser, workspace: Workspace
) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        page = seen.open("review")
        page.get_by_label("A pseudonym").fill("no spaces please")
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("alert")).to_contain_text("no spaces")
        page.get_by_label("A pseudonym").fill("ann")
        page.get_by_label("A pseudonym").press("Enter")
        in_order_of_time(page)
        expect(page.locator(".review:not([aria-busy]) #turn p")).to_contain_text(f"{LINES[0]} one")
        page.keyboard.press("Space")
        page.wait_for_function("() => document.querySelector('video').currentTime > 0.6")
        page.keyboard.press("3")
        expect(page.locator(".review:not([aria-busy]) #ask")).to_have_text("What does the therapist do?")
        page.keyboard.press("j")
        expect(page.locator(".review:not([aria-busy]) #turn p")).to_contain_text(f"{LINES[1]} one")
        page.keyboard.press("Enter")
        expect(page.locator(".review:not([aria-busy]) #turn p")).to_contain_text(f"{LINES[2]} one")
        page.keyboard.press("0")
        expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text("4 of")
        page.keyboard.press("u")
        expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text("3 of")
        page.keyboard.press("n")
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_contain_text("cannot tell")
        seen.context.close()
    (session,) = workspace.decisions.sessions()
    kept = [decision.annotation for decision in workspace.decisions.standing(session)]
    assert [(note.task, note.label) for note in kept] == [
        (Task.EMOTION, EMOTIONS[2]),
        (Task.STRATEGY, STRATEGIES[9]),
        (Task.EMOTION, "neutral"),
    ]
    assert kept[0].provenance.modalities == set(Modality)
    assert kept[2].provenance.modalities == {Modality.TEXT}
    assert len(workspace.decisions.retracted(session)) == 1
    assert seen.trouble == []


def test_keys_decide_nothing_once_review_is_left_and_once_after_coming_back(
    browser: Browser, workspace: Workspace
) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        sent = posts(seen)
        page = seen.open("review")
        page.get_by_label("A pseudonym").fill("ann")
        page.get_by_label("A pseudonym").press("Enter")
        in_order_of_time(page)
        seen.open("sessions")
        expect(page.locator("h1")).to_have_text("one")
        for key in ("1", "a", "0", "Enter", "u"):
            page.keyboard.press(key)
        seen.open("review")
        expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text("0 of")
        assert sent == []
        assert workspace.decisions.sessions() == ()
        page.keyboard.press("1")
        expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text("1 of")
        expect(page.locator(".review:not([aria-busy]) #ask")).to_have_text("What does the therapist do?")
        seen.context.close()
    assert len(sent) == 1
    (session,) = workspace.decisions.sessions()
    assert [made.annotation.label for made in workspace.decisions.made(session)] == [EMOTIONS[0]]
    assert seen.trouble == []


@pytest.mark.parametrize("asked", [True, False])
def test_a_review_that_cannot_begin_says_so_and_takes_no_keys(
    browser: Browser, workspace: Workspace, *, asked: bool
) -> None:
    with running(workspace, TOY if asked else StudioOptions(rater="ann")) as address:
        seen = watched(browser, address)
        sent = posts(seen)
        broken = {"status": 500, "json": {"error": {"message": "the store cannot be read"}}}
        seen.context.route("**/studio/review/queue*", lambda route: route.fulfill(**broken))
        page = seen.open("review")
        if asked:
            page.get_by_label("A pseudonym").fill("ann")
            page.get_by_label("A pseudonym").press("Enter")
        expect(page.locator("main").get_by_role("alert")).to_contain_text("the store cannot be read")
        page.keyboard.press("u")
        page.keyboard.press("F1")
        expect(page.locator("#card")).to_contain_text("findahelpline.com")
        seen.context.close()
    assert sent == []
    assert not [line for line in seen.trouble if "Failed to load resource" not in line]


def test_sessions_open_after_somebody_else_was_asked_for(browser: Browser, workspace: Workspace) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        page = seen.open("review")
        page.get_by_label("A pseudonym").fill("ann")
        page.get_by_label("A pseudonym").press("Enter")
        page.get_by_role("button", name="somebody else").click()
        expect(page.locator("#rater")).to_be_visible()
        seen.open("sessions")
        expect(page.locator("h1")).to_have_text("one")
        expect(page.locator(".turns .said")).to_have_count(len(LINES))
        seen.context.close()
    assert seen.trouble == []


def test_a_decision_is_not_blind_where_the_labels_stood_on_the_page_before(
    browser: Browser, workspace: Workspace
) -> None:
    with running(workspace, StudioOptions(rater="ann")) as address:
        seen = watched(browser, address)
        page = seen.open("review")
        in_order_of_time(page)
        expect(page.locator(".question .others")).to_be_visible()
        page.keyboard.press("v")
        expect(page.get_by_text("others' labels come after yours")).to_be_visible()
        for key, answered in (("1", 1), ("a", 2)):
            page.keyboard.press(key)
            expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text(f"{answered} of")
        seen.context.close()
    (session,) = workspace.decisions.sessions()
    assert [made.annotation.provenance.route for made in workspace.decisions.made(session)] == [
        "review: 1 answers of others shown, recording not played",
        "review: blind, recording not played",
    ]
    assert seen.trouble == []


def test_a_second_person_labels_blind_and_sees_kappa_grow(browser: Browser, workspace: Workspace) -> None:
    with running(workspace, StudioOptions(rater="ann")) as address:
        seen = watched(browser, address)
        page = seen.open("review")
        in_order_of_time(page)
        for count, key in enumerate(("1", "a", "2", "3"), start=1):
            page.keyboard.press(key)
            expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text(f"{count} of")
        seen.context.close()
    with running(workspace, StudioOptions(rater="bob", blind=True, start="review")) as address:
        other = watched(browser, address)
        page = other.page
        in_order_of_time(page)
        for count, key in enumerate(("1", "b", "2", "2"), start=1):
            expect(page.locator(".question .others, .question .proposed")).to_have_count(0)
            expect(page.get_by_text("others' labels come after yours")).to_be_visible()
            page.keyboard.press(key)
            expect(page.locator(".review:not([aria-busy]) .done")).to_contain_text(f"{count} of")
        expect(page.locator(".kappas li", has_text="emotion")).to_contain_text("κ with ann, emotion 0.50 n = 3")
        page = other.open("dataset")
        expect(page.locator("tr", has_text="two people").first).to_contain_text("ann and bob")
        other.context.close()
    assert seen.trouble == other.trouble == []


def test_hostile_words_stay_words(browser: Browser, tmp_path: Path) -> None:
    workspace = make_study(tmp_path / "study", ("<img src=x onerror=alert(9)>", "plain"), hostile=True)
    with running(workspace, StudioOptions(rater="ann")) as address:
        seen = watched(browser, address)
        page = seen.open("sessions")
        for line in HOSTILE[:3]:
            expect(page.locator(".turns .words", has_text=line).first).to_be_visible()
        expect(page.locator("h1")).to_have_text("<img src=x onerror=alert(9)>")
        page = seen.open("review")
        expect(page.locator("#turn p")).to_be_visible()
        for tab in ("dataset", "runs"):
            expect(seen.open(tab).locator("h1")).to_be_visible()
        assert page.locator("img[src=x], main script, main svg[onload]").count() == 0
        # The policy holds even where a script would get in: the browser refuses to make markup of text.
        assert page.evaluate(AS_MARKUP) == "TypeError"
        seen.context.close()
    assert [line for line in seen.trouble if "TrustedHTML" not in line] == []
    assert seen.elsewhere == []


def test_the_chat_streams_takes_a_clip_and_shows_labels_on_request(
    browser: Browser, workspace: Workspace, tmp_path: Path
) -> None:
    slow = Slow(0.02, pieces=30, piece="I am here. ")
    chances = [
        {name: 0.4 if at == 0 else 0.6 / (len(names) - 1) for at, name in enumerate(names)}
        for names in (EMOTIONS, STRATEGIES, EMOTIONS)
    ]
    with running(workspace, generator=slow, scorer=ScriptedScorer(chances, repeat=True)) as address:
        seen = watched(browser, address)
        page = seen.open("chat")
        expect(page.locator(".notice")).to_contain_text("It is not a person, not a therapist")
        page.locator("#clip-file").set_input_files(make_recording(tmp_path / "clip.mp4"))
        expect(page.locator(".clip video")).to_be_visible()
        page.get_by_label("Your message").fill("")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".composer .bad")).to_contain_text("Write a few words")
        page.get_by_label("Your message").fill("<b>my</b> week was long")
        page.get_by_label("Your message").press("Enter")
        expect(page.locator(".theirs[aria-busy] .reply")).to_contain_text("I am here.")
        expect(page.locator(".mine")).to_contain_text("<b>my</b> week was long")
        early = page.locator(".theirs .reply").inner_text()
        expect(page.locator(".theirs:not([aria-busy])")).to_be_visible()
        assert len(page.locator(".theirs .reply").inner_text()) > len(early)
        expect(page.locator(".predicted")).to_be_hidden()
        page.get_by_label("labels").check()
        expect(page.locator(".predicted .label").first).to_contain_text(f"{EMOTIONS[0]}40 %")
        shown = [part for message in slow.requests[-1] for part in message.parts if isinstance(part, VideoPart)]
        assert len(shown) == 1
        page.get_by_role("button", name="Start anew").click()
        expect(page.locator(".mine")).to_have_count(0)
        seen.context.close()
    assert seen.trouble == []
    assert seen.elsewhere == []


def test_a_refused_message_goes_back_into_the_box(browser: Browser, workspace: Workspace) -> None:
    service = service_of()
    with running(workspace, service=service) as address:
        seen = watched(browser, address)
        page = seen.open("chat")
        expect(page.locator(".notice")).to_be_visible()
        service.turnstile.closed = True
        page.get_by_label("Your message").fill("my week\nwas long")
        page.get_by_label("Your message").press("Enter")
        expect(page.locator(".log").get_by_role("alert")).to_contain_text("the server is closing")
        expect(page.locator(".log").get_by_role("alert")).to_contain_text("F1")
        expect(page.get_by_label("Your message")).to_have_value("my week\nwas long")
        expect(page.locator(".mine")).to_have_count(0)
        service.turnstile.closed = False
        page.get_by_label("Your message").press("Enter")
        expect(page.locator(".theirs .reply")).to_contain_text("I hear you.")
        expect(page.locator(".mine")).to_have_count(1)
        expect(page.get_by_label("Your message")).to_have_value("")
        seen.context.close()
    assert not [line for line in seen.trouble if "Failed to load resource" not in line]


def test_what_was_written_meanwhile_stays_behind_a_refused_message(browser: Browser, workspace: Workspace) -> None:
    held: list[Route] = []
    with running(workspace) as address:
        seen = watched(browser, address)
        seen.context.route("**/v1/chat/completions", lambda route: held.append(route))
        page = seen.open("chat")
        with page.expect_request("**/v1/chat/completions"):
            page.get_by_label("Your message").fill("my week was long")
            page.get_by_label("Your message").press("Enter")
        page.get_by_label("Your message").fill("and so was the night")
        held[0].fulfill(status=429, json={"error": {"message": "too many requests wait"}})
        expect(page.get_by_label("Your message")).to_have_value("my week was long\nand so was the night")
        seen.context.close()
    assert not [line for line in seen.trouble if "Failed to load resource" not in line]


def test_a_closed_window_leaves_no_conversation_behind(browser: Browser, workspace: Workspace) -> None:
    service = service_of()
    with running(workspace, StudioOptions(sends_away=True), service=service) as address:
        seen = watched(browser, address)
        page = seen.open("chat")
        expect(page.locator(".notice").nth(1)).to_contain_text("runs on another computer")
        page.get_by_label("Your message").fill("a calm evening")
        page.get_by_label("Your message").press("Enter")
        expect(page.locator(".theirs:not([aria-busy])")).to_be_visible()
        assert len(service.conversations) == 1
        page.goto("about:blank")
        until = time.monotonic() + 8
        while len(service.conversations) and time.monotonic() < until:
            time.sleep(0.05)
        assert len(service.conversations) == 0
        seen.context.close()


def test_the_camera_makes_a_clip(browser: Browser, workspace: Workspace) -> None:
    generator = ScriptedGenerator(["I see you."], repeat=True)
    with running(workspace, generator=generator) as address:
        seen = watched(browser, address)
        page = seen.open("chat")
        camera = page.get_by_role("button", name="Camera")
        camera.click()
        expect(camera).to_have_attribute("aria-pressed", "true")
        time.sleep(0.8)
        camera.click()
        expect(page.locator(".clip video[controls]")).to_be_visible()
        page.get_by_label("Your message").fill("this is me")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".theirs .reply")).to_contain_text("I see you.")
        seen.context.close()
    parts = [part for message in generator.requests[-1].messages for part in message.parts]
    assert any(isinstance(part, VideoPart) for part in parts)
    assert seen.trouble == []


def test_a_crisis_message_shows_the_card_and_helplines_are_one_key_away(browser: Browser, workspace: Workspace) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        page = seen.open("chat")
        page.get_by_label("Your message").fill("I want to kill myself tonight")
        page.get_by_label("Your message").press("Enter")
        card = page.get_by_role("alert", name="People you can reach now")
        expect(card).to_be_in_viewport()
        expect(card).to_contain_text("findahelpline.com")
        expect(page.locator(".theirs")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        for tab in TABS:
            seen.open(tab)
            page.keyboard.press("F1")
            expect(page.locator("#card")).to_contain_text("findahelpline.com")
            expect(page.locator("#card")).to_contain_text(re.compile("emergency number"))
            page.keyboard.press("Escape")
            expect(page.locator("#card")).to_be_hidden()
        seen.context.close()
    assert seen.trouble == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Browser, workspace: Workspace) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        page = seen.open("sessions")
        expect(page.locator("h1")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        reached = set()
        # How many stops a video's own controls have depends on what the browser has loaded of it.
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break
            reached.add(page.evaluate("document.activeElement.tagName"))
            # Within a video's own controls the browser draws the ring itself, out of reach of the page.
            if not page.evaluate("document.activeElement.matches('video')"):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert page.evaluate("document.activeElement === document.body"), "the last stop is the page's end"
        assert {"A", "BUTTON", "VIDEO", "SUMMARY", "DIV"} <= reached
        seen.context.close()


def test_runs_compare_two_systems(browser: Browser, workspace: Workspace) -> None:
    with running(workspace) as address:
        seen = watched(browser, address)
        page = seen.open("runs")
        page.get_by_label("Second system").select_option("random")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("caption", has_text="minus random")).to_be_visible()
        with seen.context.expect_page() as opened:
            page.get_by_role("link", name="Open the report").click()
        expect(opened.value.locator("h1")).to_be_visible()
        seen.context.close()
    assert seen.trouble == []

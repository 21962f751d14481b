"""The studio's doors: who gets in, what is served, and what hostile requests get."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from ai_therapist.cli.settings import CREDENTIALS
from ai_therapist.serving.studio.key import TOKEN_HEADER
from ai_therapist.serving.studio.routes import POLICY, StudioOptions
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_session
from tests.serving.studio.opened import Caller, caller
from tests.serving.studio.study import evaluated

ONE = make_session("one").id
PATHS = (
    "/",
    "/studio/about",
    "/studio/helplines",
    "/studio/sessions",
    f"/studio/sessions/{ONE}",
    f"/studio/waveform/{ONE}",
    f"/studio/media/{ONE}/video",
    "/studio/review/queue?rater=ann",
    "/studio/dataset",
    "/studio/runs",
    "/studio/web/studio.js",
    "/v1/models",
)


@pytest.fixture(scope="module")
def shared(finished: Path) -> Iterator[Caller]:
    call = caller(Workspace(finished))
    with call.client:
        yield call


@pytest.fixture
def page(shared: Caller) -> Caller:
    """A studio whose study nobody may change, entered anew."""
    shared.client.cookies.clear()
    shared.client.cookies.set(shared.studio.key.cookie, shared.studio.key.key)
    return shared


@pytest.fixture
def own(study: Workspace) -> Iterator[Caller]:
    """A studio with a study of its own."""
    call = caller(study)
    with call.client:
        yield call


def test_the_key_opens_the_studio_and_leaves_the_address(study: Workspace) -> None:
    call = caller(study)
    call.client.cookies.clear()
    assert call.client.get("/").status_code == 401
    entered = call.client.get("/", params={"key": call.studio.key.key})
    assert entered.status_code == 200
    assert call.studio.key.token not in entered.text
    told = entered.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=strict" in told
    assert "ai-therapist" in call.client.get("/").text


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_the_cookie(page: Caller, path: str) -> None:
    assert page.client.get(path).status_code == 200
    for cookie in ("", "wrong", page.studio.key.token):
        page.client.cookies.clear()
        page.client.cookies.set(page.studio.key.cookie, cookie)
        refused = page.client.get(path)
        assert refused.status_code == 401
        assert page.studio.key.token not in refused.text
        assert "default-src 'none'" in refused.headers["content-security-policy"]


def test_the_key_of_another_studio_opens_nothing(study: Workspace) -> None:
    call, other = caller(study), caller(study).studio
    call.client.cookies.clear()
    assert call.client.get("/", params={"key": other.key.key}).status_code == 401
    assert call.studio.key.cookie != other.key.cookie


@pytest.mark.parametrize("foreign", ['foo={"a": 1}', "a=b c", "theme", "=", 'x="', "ä=ö", "a@b=1", 'q="a\\303"', ";;"])
def test_cookies_of_other_programs_do_not_lock_the_owner_out(page: Caller, foreign: str) -> None:
    key = page.studio.key
    page.client.cookies.clear()
    for header in (f"{foreign}; {key.cookie}={key.key}", f"{key.cookie}={key.key}; {foreign}"):
        assert page.client.get("/studio/about", headers=[(b"cookie", header.encode())]).status_code == 200
    for header in (foreign, f"{foreign}; {key.cookie}=wrong", f"{foreign}; {key.key}", f"other={key.key}; {foreign}"):
        assert page.client.get("/studio/about", headers=[(b"cookie", header.encode())]).status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/studio/review/decide", {}),
        ("/studio/review/undo", {"rater": "ann"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    ],
)
def test_nothing_changes_without_the_pages_token(page: Caller, path: str, body: dict[str, object]) -> None:
    for headers in ({}, {TOKEN_HEADER: ""}, {TOKEN_HEADER: "wrong"}, {TOKEN_HEADER: page.studio.key.key}):
        assert page.client.post(path, json=body, headers=headers).status_code == 403
    assert page.client.delete("/v1/conversations/abc").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "0.0.0.0", "localhost.evil"]
)
def test_a_page_that_was_rebound_to_this_address_gets_nothing(page: Caller, host: str) -> None:
    assert page.client.get("/studio/sessions", headers={"host": host}).status_code in (400, 421)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9", "http://localhost.evil"])
def test_pages_of_other_origins_change_nothing(page: Caller, origin: str) -> None:
    headers = {**page.changing, "origin": origin}
    assert page.client.post("/studio/review/undo", json={"rater": "ann"}, headers=headers).status_code == 403


def test_every_answer_carries_its_policy(page: Caller) -> None:
    for path in PATHS:
        headers = page.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
    assert page.client.get("/").headers["content-security-policy"] == POLICY


def test_the_page_holds_no_script_style_or_handler_of_its_own_and_names_no_other_machine(page: Caller) -> None:
    text = page.client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
    for file in resources.files("ai_therapist.serving.studio").joinpath("web").iterdir():
        held = file.read_text("utf-8").replace("http://www.w3.org/", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", held), file.name


@pytest.mark.parametrize(
    "path",
    [
        "/studio/web/../routes.py",
        "/studio/web/%2e%2e/routes.py",
        "/studio/web/index.html",
        "/studio/web/studio.css%00",
        "/studio/sessions/ses_zzz",
        "/studio/sessions/..%2f..%2fetc",
        f"/studio/media/{ONE}/..%2f..%2f..%2fetc%2fpasswd",
        f"/studio/media/{ONE}/session",
        "/studio/media/ses_000000000001/video",
        "/studio/waveform/ses_000000000001",
        "/studio/report",
        "/studio/runs/compare?one=a&other=b",
        "/studio/runs/compare",
        "/studio/review/queue",
        "/studio/review/queue?rater=../x",
        "/studio/review/queue?rater=ann&order=nonsense",
        "/studio/review/question?session=1&utterance=2&task=emotion&rater=ann",
        f"/studio/review/question?session={ONE}&utterance=utt_000000000000&task=emotion&rater=ann",
        "/docs",
        "/openapi.json",
    ],
)
def test_a_hostile_request_is_refused_in_one_line_that_does_not_quote_it(page: Caller, path: str) -> None:
    answer = page.client.get(path)
    assert 400 <= answer.status_code < 500
    message = answer.json()["error"]["message"]
    assert "\n" not in message
    assert "Traceback" not in answer.text
    assert "etc" not in message
    assert "nonsense" not in message


@pytest.mark.parametrize(
    "change",
    [
        {"label": "what was said"},
        {"label": 7},
        {"label": "x" * 5000},
        {"rater": "<script>"},
        {"rater": ""},
        {"session": "../../x"},
        {"utterance": "utt_000000000000"},
        {"task": "cues"},
        {"task": "strategy"},
        {"extra": 1},
        {"blind": "perhaps"},
    ],
)
def test_a_decision_that_does_not_fit_is_refused_and_kept_nowhere(
    own: Caller, study: Workspace, change: dict[str, object]
) -> None:
    turn = own.client.get(f"/studio/sessions/{ONE}").json()["rows"][1]["id"]
    body = {
        "rater": "ann",
        "session": ONE,
        "utterance": turn,
        "task": "emotion",
        "label": "joy",
        "blind": False,
        "played": False,
    }
    answer = own.client.post("/studio/review/decide", json=body | change, headers=own.changing)
    assert 400 <= answer.status_code < 500
    assert "what was said" not in answer.text
    assert study.decisions.sessions() == ()
    assert own.client.post("/studio/review/decide", json=body, headers=own.changing).status_code == 200
    assert study.decisions.count(ONE) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"rater": NaN}'])
def test_a_body_that_is_no_json_is_refused(page: Caller, body: bytes) -> None:
    headers = {**page.changing, "content-type": "application/json"}
    answer = page.client.post("/studio/review/undo", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


def test_a_fixed_rater_and_blindness_cannot_be_lifted_by_the_page(study: Workspace) -> None:
    call = caller(study, StudioOptions(rater="ann", blind=True))
    queue = call.client.get("/studio/review/queue", params={"rater": "bob"}).json()
    assert queue["rater"] == "ann"
    key = queue["queue"][0]
    asked = call.client.get("/studio/review/question", params={**key, "rater": "bob", "blind": "false"}).json()
    assert asked["shown"] == []
    assert asked["proposed"] is None
    body = {**key, "rater": "bob", "label": None, "blind": False, "played": False}
    assert call.client.post("/studio/review/decide", json=body, headers=call.changing).status_code == 200
    (kept,) = study.decisions.standing(key["session"])
    assert kept.rater == "ann"
    assert kept.annotation.provenance.route.startswith("review: blind")


def test_a_blind_studio_shows_no_label_before_it_is_known_who_labels(study: Workspace) -> None:
    evaluated(study)
    call = caller(study, StudioOptions(blind=True))
    turn = call.client.get(f"/studio/sessions/{ONE}").json()["rows"][1]["id"]
    body = {"rater": "ann", "session": ONE, "utterance": turn, "task": "emotion", "label": "joy"}
    decided = {**body, "blind": False, "played": False}
    assert call.client.post("/studio/review/decide", json=decided, headers=call.changing).status_code == 200
    for query in ({}, {"blind": "false"}):
        shown = call.client.get(f"/studio/sessions/{ONE}", params=query).json()
        assert [row["labels"] for row in shown["rows"]] == [[]] * len(shown["rows"])
        assert shown["hidden"] is True
    own = call.client.get(f"/studio/sessions/{ONE}", params={"rater": "ann"}).json()
    assert [bool(row["labels"]) for row in own["rows"]] == [row["id"] == turn for row in own["rows"]]
    assert call.client.get("/studio/review/question", params={"session": ONE, "utterance": turn}).status_code == 400
    assert call.client.get("/studio/dataset").json()["labels"] is None
    assert call.client.get("/studio/runs").json()["report"] is None
    assert call.client.get("/studio/report").status_code == 403
    seeing = caller(study)
    assert all(row["labels"] for row in seeing.client.get(f"/studio/sessions/{ONE}").json()["rows"])
    assert seeing.client.get("/studio/dataset").json()["labels"]
    assert seeing.client.get("/studio/report").status_code == 200


def test_a_session_without_the_permission_shows_words_only_in_review(page: Caller) -> None:
    words_only = make_session("words only").id
    turn = page.client.get(f"/studio/sessions/{words_only}").json()["rows"][1]["id"]
    query = {"session": words_only, "utterance": turn, "task": "emotion", "rater": "ann"}
    asked = page.client.get("/studio/review/question", params=query).json()
    assert asked["media"] == {"video": None, "audio": None}
    assert "emotion_from_media" in asked["media_refused"]


def test_media_come_in_ranges(page: Caller) -> None:
    whole = page.client.get(f"/studio/media/{ONE}/video")
    part = page.client.get(f"/studio/media/{ONE}/video", headers={"range": "bytes=100-199"})
    assert whole.headers["accept-ranges"] == "bytes"
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert page.client.get(f"/studio/media/{ONE}/video", headers={"range": "bytes=999999999-"}).status_code == 416


def test_no_credential_reaches_the_page(study: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        monkeypatch.setenv(name, f"sk-canary-{name.lower()}")
    call = caller(study)
    shown = "".join(call.client.get(path).text for path in PATHS if "media" not in path)
    assert "sk-canary" not in shown


def test_forgetting_works_while_the_studio_is_open_and_empties_it(own: Caller, study: Workspace) -> None:
    from ai_therapist.store.forget import forget, plan

    assert own.client.get(f"/studio/sessions/{ONE}").status_code == 200
    again = Workspace(study.root)
    forget(again, plan(again, ONE))
    assert own.client.get(f"/studio/sessions/{ONE}").status_code == 404
    assert own.client.get(f"/studio/media/{ONE}/video").status_code == 404
    left = own.client.get("/studio/review/queue?rater=ann").json()
    assert ONE not in {key["session"] for key in left["queue"]}

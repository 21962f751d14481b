"""Rewrite the pictures of docs/studio.md: python scripts/studio_screenshots.py [WORKSPACE]

WORKSPACE is what `make demo` leaves (demo-workspace). The pictures are taken of a copy of it, in which two people
label a few turns by keyboard; nothing in the workspace itself changes. Needs Chromium.
"""

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue

from playwright.sync_api import Browser, Page, sync_playwright

from ai_therapist.inference.config import InferenceConfig
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.service import ChatService
from ai_therapist.serving.studio.app import make_studio
from ai_therapist.serving.studio.partner import find_partner
from ai_therapist.serving.studio.routes import StudioOptions
from ai_therapist.store.workspace import Workspace

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
LARGEST_BYTES = 200_000


@contextmanager
def studio(workspace: Workspace, rater: str | None = None, *, blind: bool = False) -> Iterator[str]:
    """The address of a studio that runs in a thread."""
    told: Queue[str] = Queue()
    with ExitStack() as stack:
        speaker, silence = find_partner(workspace, InferenceConfig(), stack)
        name = speaker.generator.name
        options = StudioOptions(rater=rater, blind=blind, chat=silence, model=name, is_toy=speaker.is_toy)
        service = ChatService(speaker, serving=ServingConfig(port=0))
        running = make_studio(workspace, service, options, on_start=told.put)
        thread = threading.Thread(target=running.server.run)
        thread.start()
        try:
            yield told.get(timeout=30)
        finally:
            running.server.should_exit = True
            thread.join()


def label(browser: Browser, workspace: Workspace, rater: str, keys: str, *, blind: bool) -> None:
    """Answer the first questions in order of time with these keys; a blind rater is asked what others answered."""
    with studio(workspace, rater, blind=blind) as address:
        page = opened(browser, address, "light")
        go(page, address, "review", ".answers")
        page.get_by_label("Order of the questions").select_option("time")
        page.get_by_label("Order of the questions").blur()
        for count, key in enumerate(keys, start=1):
            page.locator(".review:not([aria-busy]) #turn").wait_for()
            page.wait_for_timeout(250)
            page.keyboard.press(key)
            page.locator(".done", has_text=f"{count} of").wait_for()
        page.context.close()


def opened(browser: Browser, address: str, scheme: str, *, phone: bool = False) -> Page:
    """A window that has entered the studio."""
    dark = scheme == "dark"
    size = {"width": 390, "height": 760} if phone else {"width": 1120, "height": 720}
    context = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_url("**/")
    return page


def go(page: Page, address: str, tab: str, drawn: str) -> None:
    """Open a tab and wait until it is drawn and its video shows a frame."""
    page.goto(f"{address.partition('?')[0]}#/{tab}")
    page.locator(drawn).first.wait_for()
    page.wait_for_timeout(1_200)


def shoot(page: Page, name: str) -> None:
    """Write one picture."""
    path = IMAGES / f"studio-{name}.png"
    page.screenshot(path=path)
    if path.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{path.name}: {path.stat().st_size} bytes, more than {LARGEST_BYTES}")
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def take_all(browser: Browser, workspace: Workspace) -> None:
    """Every picture of the page."""
    label(browser, workspace, "ann", "5g25d25f25b3", blind=False)
    label(browser, workspace, "bob", "5g25d25a25b2", blind=True)
    with studio(workspace, "ann") as address:
        page = opened(browser, address, "light")
        for tab, drawn in (("sessions", ".turns"), ("review", ".answers"), ("dataset", ".stack"), ("runs", ".curves")):
            go(page, address, tab, drawn)
            shoot(page, tab)
        go(page, address, "chat", "#words")
        page.get_by_label("labels").check()
        page.get_by_label("Your message").fill("It was a long week, and the evenings are the hardest part.")
        page.get_by_label("Your message").press("Enter")
        page.locator(".theirs:not([aria-busy])").wait_for(timeout=120_000)
        shoot(page, "chat")
        page.get_by_label("Your message").fill("Some nights I do not want to live any more.")
        page.get_by_label("Your message").press("Enter")
        page.locator(".crisis").wait_for()
        page.locator(".theirs:not([aria-busy])").nth(1).wait_for(timeout=120_000)
        shoot(page, "card")
        page.context.close()
        page = opened(browser, address, "dark", phone=True)
        go(page, address, "review", ".answers")
        shoot(page, "phone")
        page.context.close()


def main() -> None:
    """Take the pictures of a copy of the workspace."""
    source = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo-workspace")
    if not (source / "store").is_dir():
        raise SystemExit(f"{source} is no workspace: run  make demo  first, or name one")
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("no Chromium is installed")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        workspace = Workspace(Path(shutil.copytree(source, Path(folder) / "demo")))
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        take_all(browser, workspace)
        browser.close()


if __name__ == "__main__":
    main()

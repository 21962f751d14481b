"""ai-therapist studio."""

from __future__ import annotations

import importlib.util
import os
import re
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option
from ai_therapist.errors import MissingExtra, RequestError

if TYPE_CHECKING:
    from ai_therapist.cli.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

_RATER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Opening:
    """How a command opens the studio."""

    start: str
    """The tab that opens first."""
    rater: str | None
    blind: bool
    host: str | None
    port: int
    open_browser: bool


def page_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add `--blind`, `--host`, `--port` and `--open`."""
    for option in (
        click.option("--open", "open_browser", is_flag=True, help="Open the browser as well."),
        click.option(
            "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port; 0 takes a free one."
        ),
        click.option("--host", help="Address to listen on; any but a loopback one needs a password and TLS."),
        click.option("--blind", is_flag=True, help="Hide the models' labels in Review until a person has decided."),
    ):
        function = option(function)
    return function


@click.command(epilog="Example:  ai-therapist studio -w demo-workspace")
@click.option("--rater", metavar="PSEUDONYM", help="Who labels in Review; without it the page asks.")
@page_options
@workspace_option
@settings_options
def command(
    rater: str | None,
    blind: bool,
    host: str | None,
    port: int,
    open_browser: bool,
    workspace: Path,
    config: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Open the studio: one local page with Sessions, Review, Dataset, Runs and Chat.

    The address that is printed carries a key; without it nobody gets in, not even another user of this machine. To look
    from elsewhere, best forward the port:  ssh -L 8765:127.0.0.1:8765 HOST
    """
    opening = Opening("sessions", rater, blind, host, port, open_browser)
    open_studio(workspace, load_settings(config, assignments), opening)


def open_studio(workspace: Path, settings: Settings, opening: Opening) -> None:
    """Serve the studio of a workspace until it is stopped.

    Raises RequestError for a pseudonym that cannot stand in a record or a port that is taken, ConfigError for an
    address that is not safe to listen on, MissingExtra without the web server, MissingInput without a workspace.
    """
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("the studio", package, "web")
    if opening.rater is not None and _RATER.fullmatch(opening.rater) is None:
        raise RequestError("--rater: a pseudonym is up to 40 letters, digits, dots and dashes, as  --rater ann")
    from ai_therapist.cli.console import announce_gate, notes
    from ai_therapist.models.catalogue import sends_away
    from ai_therapist.serving.run import check_listening
    from ai_therapist.serving.service import ChatService
    from ai_therapist.serving.studio.app import make_studio
    from ai_therapist.serving.studio.partner import find_partner
    from ai_therapist.serving.studio.routes import StudioOptions
    from ai_therapist.store.workspace import Workspace

    place = Workspace.existing(workspace)
    changed = {"port": opening.port, **({} if opening.host is None else {"host": opening.host})}
    serving = settings.serving.model_copy(update=changed)
    password = os.environ.get("SERVE_PASSWORD") or None
    check_listening(serving, password)
    announce_gate()
    with ExitStack() as stack:
        speaker, silence = find_partner(place, settings.inference, stack)
        options = StudioOptions(
            rater=opening.rater,
            blind=opening.blind,
            start=opening.start,
            chat=silence,
            model=speaker.generator.name,
            is_toy=speaker.is_toy,
            sends_away=settings.inference.model is not None and sends_away(settings.inference.model),
            country=settings.inference.country,
        )
        studio = make_studio(
            place,
            ChatService(speaker, settings.inference, serving),
            options,
            password=password,
            on_start=lambda address: _tell(address, open_browser=opening.open_browser),
        )
        # The server ends in good order at Ctrl+C and then raises it again, unless the shell has it ignored.
        with suppress(KeyboardInterrupt):
            studio.server.run()
        notes.print("The studio is closed; what was decided is kept.")


def _tell(address: str, *, open_browser: bool) -> None:
    from ai_therapist.cli.console import say

    say(f"The studio is open:  {address}")
    say("Stop it with Ctrl+C.")
    if open_browser:
        webbrowser.open(address)

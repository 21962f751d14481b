"""ai-therapist chat."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option

if TYPE_CHECKING:
    from ai_therapist.inference.events import Event
    from ai_therapist.inference.reply import Chat

_COMMANDS = "/clip PATH: a clip with the next message   /help: helplines   /forget: start anew   /quit: leave"


@click.command(epilog="Example:  ai-therapist chat -w demo-workspace --labels")
@click.option("--labels", is_flag=True, help="Show the emotions and the strategy that the model predicts.")
@workspace_option
@settings_options
def command(labels: bool, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Talk to the tuned model inside the safety shell. Nothing of it is written to disk.

    \b
    /clip PATH   show a clip together with the next message
    /help        helplines, at any time
    /forget      start anew
    /quit        leave
    """
    from ai_therapist.cli.console import notes, out
    from ai_therapist.inference.run import open_conversation
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    place = Workspace.existing(workspace)
    notes.print("Loading the model …")
    with open_conversation(place, settings.inference) as chat:
        _show(chat.opening(), labels=labels)
        out.print(_COMMANDS, style="dim", markup=False)
        _talk(chat, labels=labels)


def _talk(chat: Chat, *, labels: bool) -> None:
    from ai_therapist.cli.console import out, say

    clip: Path | None = None
    stream = sys.stdin
    while True:
        if stream.isatty():
            out.print("[bold]you[/bold] ", end="")
        line = stream.readline()
        text = line.strip()
        if not line or text == "/quit":
            return
        word, _, rest = text.partition(" ")
        if word == "/help":
            _show([chat.help()], labels=labels)
        elif word == "/forget":
            chat.forget()
            _show(chat.opening(), labels=labels)
        elif word == "/clip":
            clip = _named_clip(rest)
        elif word.startswith("/"):
            say(f"no command {word}; {_COMMANDS}")
        elif text:
            _show(chat.send(text, clip), labels=labels)
            clip = None


def _named_clip(name: str) -> Path | None:
    from ai_therapist.cli.console import say

    path = Path(name.strip().strip("'\"")).expanduser()
    if not name.strip() or not path.is_file():
        say(f"{name.strip() or 'nothing'} is no file; write  /clip PATH")
        return None
    say(f"{path.name} goes with your next message")
    return path


def _show(events: Iterable[Event], *, labels: bool) -> None:
    """Print events as they come; the pieces of a reply stand on one line."""
    from ai_therapist.cli.console import out
    from ai_therapist.inference import events as kinds

    speaking = False
    for event in events:
        if isinstance(event, kinds.ReplyPiece):
            if not speaking:
                out.print("[bold]model[/bold] ", end="")
            out.print(event.text, end=" ", markup=False, soft_wrap=True)
            speaking = True
            continue
        if speaking:
            out.print()
            speaking = False
        _show_one(event, labels=labels)
    if speaking:
        out.print()


def _show_one(event: Event, *, labels: bool) -> None:
    from rich.panel import Panel
    from rich.text import Text

    from ai_therapist.cli.console import out, say
    from ai_therapist.inference import events as kinds
    from ai_therapist.records import Label

    match event:
        case kinds.Disclosure():
            out.print(Panel(Text(event.text), border_style="cyan"))
        case kinds.Card(form="pointer"):
            out.print(event.text, style="bold", markup=False)
        case kinds.Card():
            out.print(Panel(Text(event.text), title="help", border_style="red"))
        case kinds.ClipRefused():
            say(f"the clip was not shown to the model: {event.reason}")
        case kinds.LabelsPredicted() if labels:
            for name in ("client_emotion", "strategy", "therapist_emotion"):
                outcome = getattr(event, name)
                shown = outcome.value if isinstance(outcome, Label) else f"none ({outcome.reason})"
                out.print(f"{name.replace('_', ' ')}: {shown}", style="dim", markup=False)
        case kinds.Withheld():
            out.print(f"(a part of the reply was withheld: {event.reason})", style="dim", markup=False)
        case kinds.Done(outcome="timed_out" | "model_failed"):
            out.print("(the model gave no answer)", style="dim", markup=False)

"""ai-therapist chat."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option
from ai_therapist.errors import StoreError

if TYPE_CHECKING:
    from ai_therapist.inference.events import Event
    from ai_therapist.inference.reply import Chat
    from ai_therapist.records import Label

_COMMANDS = (
    "/clip PATH: a clip with the next message   /emotion: what the model predicted   /help: helplines   "
    "/save PATH: write this down   /forget: start anew   /quit: leave"
)
_LEAVING = frozenset({"exit", "quit", ":q", "exit()", "quit()"})
"""What people write who want to leave; a conversation never ends by itself, so they are told how."""


@click.command(epilog="Example:  ai-therapist chat -w demo-workspace --labels")
@click.option("--model", metavar="SPEC", help="The model that replies; without it the last that was fine-tuned.")
@click.option("--labels", is_flag=True, help="Show the emotions and the strategy that the model predicts.")
@workspace_option
@settings_options
def command(
    model: str | None, labels: bool, workspace: Path, config: Path | None, assignments: tuple[str, ...]
) -> None:
    """Talk to a model inside the safety shell. Nothing of it is written to disk unless you say so.

    \b
    /clip PATH   show a clip, a sound or a picture together with the next message
    /emotion     what the model predicted for the last message, with probabilities
    /help        helplines, at any time
    /save PATH   write the conversation so far to a new file
    /forget      start anew
    /quit        leave
    """
    from ai_therapist.cli.console import announce_model, out
    from ai_therapist.inference.run import open_chat
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    spec = model or settings.inference.model
    place = spec or Workspace.existing(workspace)
    _take_any_bytes()
    announce_model()
    with open_chat(place, settings.inference) as chat:
        _show(chat.opening(), labels=labels)
        out.print(_COMMANDS, style="dim", markup=False)
        _Talk(chat, labels=labels).until_quit()


def _take_any_bytes() -> None:
    """Let no byte that is no text end the conversation: the chat marks it, and so does a line about a file's name."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


class _Talk:
    """Reads lines and shows what they bring."""

    def __init__(self, chat: Chat, *, labels: bool) -> None:
        self._chat = chat
        self._labels = labels
        self._clip: Path | None = None
        self._shown: list[Event] = []
        """Events of the last message."""

    def until_quit(self) -> None:
        """Talk until the input ends or says so. Ctrl-C stops a reply, or leaves where none is being written."""
        from ai_therapist.cli.console import out, say

        while True:
            if sys.stdin.isatty():
                out.print("[bold]you[/bold] ", end="")
            try:
                line = sys.stdin.readline()
            except KeyboardInterrupt:
                out.print()
                return
            text = line.strip()
            if not line or text.lower() == "/quit":
                return
            if text.lower() in _LEAVING:
                say(f"{text.lower()} was not sent; /quit leaves")
            elif text.startswith("/"):
                self._obey(text)
            elif text:
                self._say(text)

    def _say(self, text: str) -> None:
        from ai_therapist.cli.console import out, say

        try:
            self._shown = _show(self._chat.send(text, self._clip), labels=self._labels)
        except KeyboardInterrupt:
            self._shown = []
            out.print()
            say("stopped, and your message is not remembered; go on, or leave with /quit")
        self._clip = None

    def _obey(self, line: str) -> None:
        """Do what a line with a slash says. Words that no command takes are a message: they must be checked."""
        from ai_therapist.cli.console import say

        first, *words = line.split(maxsplit=1)
        word = first.lower()
        if word == "/help":
            _show([self._chat.help()], labels=False)
        match word, words:
            case "/help", []:
                return
            case "/emotion", []:
                self._tell_labels()
            case "/forget", []:
                self._chat.forget()
                self._shown = []
                _show(self._chat.opening(), labels=False)
            case "/clip", _:
                self._clip = _named_clip("".join(words))
            case "/save", _:
                _save(self._chat, "".join(words))
            case _, []:
                say(f"no command {word}; {_COMMANDS}")
            case _:
                say("read as a message, not as a command; /help shows helplines, /quit leaves")
                self._say(line)

    def _tell_labels(self) -> None:
        from ai_therapist.cli.console import say
        from ai_therapist.inference.events import LabelsPredicted

        found = [event for event in self._shown if isinstance(event, LabelsPredicted)]
        if found:
            _show(found, labels=True)
        else:
            say("the model has predicted nothing for the last message")


def _save(chat: Chat, name: str) -> None:
    """Write what was said and shown to a new file, because the user asked for it."""
    from ai_therapist.cli.console import say
    from ai_therapist.inference.transcript import transcript_of
    from ai_therapist.store.blobs import write_atomically
    from ai_therapist.store.codec import encode

    path = _typed_path(name)
    if path is None or path.exists() or not path.parent.is_dir():
        say(f"{name or 'nothing'} is no new file; write  /save PATH")
        return
    try:
        write_atomically(path, encode(transcript_of(chat)))
    except StoreError as error:
        say(str(error))
        return
    say(f"written to {path}; it holds what you said, so keep it as you would a diary")


def _named_clip(name: str) -> Path | None:
    from ai_therapist.cli.console import say

    path = _typed_path(name)
    if path is None or not path.is_file():
        say(f"{name or 'nothing'} is no file; write  /clip PATH")
        return None
    say(f"{path.name} goes with your next message")
    return path


def _typed_path(name: str) -> Path | None:
    """The path that was typed, in quotes or without; None where nothing was, or where nobody can look for it."""
    if not name:
        return None
    try:
        path = Path(name.strip("'\"")).expanduser()
        # Unlike exists(), which takes some of these faults for an answer and raises others.
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, RuntimeError, ValueError):
        return None
    return path


def _show(events: Iterable[Event], *, labels: bool) -> list[Event]:
    """Print events as they come, the pieces of a reply on one line; gives them back."""
    from ai_therapist.cli.console import out
    from ai_therapist.inference import events as kinds

    speaking, shown = False, []
    for event in events:
        shown.append(event)
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
    return shown


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
                shown = _likeliest(outcome) if isinstance(outcome, Label) else f"none ({outcome.reason})"
                out.print(f"{name.replace('_', ' ')}: {shown}", style="dim", markup=False)
        case kinds.Repaired():
            out.print(f"(a sentence of the reply was left out: {event.reason})", style="dim", markup=False)
        case kinds.Withheld():
            out.print(f"(a part of the reply was withheld: {event.reason})", style="dim", markup=False)
        case kinds.Done(outcome="timed_out" | "model_failed"):
            out.print("(the model gave no answer)", style="dim", markup=False)


def _likeliest(label: Label) -> str:
    """A label and its probability, and the two that come next."""
    if label.probabilities is None:
        return label.value
    ranked = sorted(label.probabilities.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {share:.0%}" for name, share in ranked)

"""A conversation as a file, for one who asks for it: what was said and shown, by which model and which gates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ai_therapist import __version__
from ai_therapist.inference.reply import Chat
from ai_therapist.records.base import Record
from ai_therapist.safety.crisis_rules import load_rules
from ai_therapist.safety.output import load_output_rules


class Line(Record):
    """One turn."""

    role: Literal["client", "therapist"]
    text: str = Field(repr=False)


class Transcript(Record):
    """The whole conversation."""

    model: str
    program: str
    crisis_rules: str
    output_rules: str
    turns: tuple[Line, ...]


def transcript_of(chat: Chat) -> Transcript:
    """What the chat remembers; what was withheld is not among it."""
    return Transcript(
        model=chat.model,
        program=f"ai-therapist {__version__}",
        crisis_rules=load_rules().version,
        output_rules=load_output_rules().version,
        turns=tuple(
            Line(role="client" if spoken.turn.role == "client" else "therapist", text=spoken.turn.text)
            for spoken in chat.conversation.turns
        ),
    )

"""What happens in a turn of a conversation, in the order in which it is to be shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.records.annotation import Abstention, Label
from ai_therapist.records.base import Record
from ai_therapist.safety.crisis import Assessment
from ai_therapist.safety.output import Reason

Shown = Annotated[str, Field(min_length=1, repr=False)]


class Disclosure(Record):
    """What the program says about itself."""

    kind: Literal["disclosure"] = "disclosure"
    moment: Literal["opening", "absence", "asked", "three_hours"]
    text: Shown


class Card(Record):
    """Helplines: the full card, a short pointer to it, or the table that was asked for."""

    kind: Literal["card"] = "card"
    form: Literal["full", "pointer", "help"]
    assessment: Assessment | None
    """What called for it; None where it was asked for."""
    text: Shown


class ClipRefused(Record):
    """The clip was not shown to the model; the turn goes on with its words."""

    kind: Literal["clip_refused"] = "clip_refused"
    reason: str


class LabelsPredicted(Record):
    """What the model takes the client to feel, and how it means to answer, each with probabilities."""

    kind: Literal["labels"] = "labels"
    client_emotion: Label | Abstention
    strategy: Label | Abstention
    therapist_emotion: Label | Abstention


class ReplyPiece(Record):
    """The next sentence or part of the reply; it has passed the output gate or is a fixed one."""

    kind: Literal["reply"] = "reply"
    source: Literal["model", "fixed"]
    text: Shown


class Withheld(Record):
    """A part of the model's reply was not shown, and the rest was not asked for."""

    kind: Literal["withheld"] = "withheld"
    reason: Reason
    rule: str


class Repaired(Record):
    """A single sentence of the model's reply is left out; the fixed one that comes next stands in its place."""

    kind: Literal["repaired"] = "repaired"
    reason: Reason
    rule: str


Outcome = Literal[
    "complete",
    "repaired",
    "stopped_at_limit",
    "withheld",
    "empty",
    "imminent",
    "timed_out",
    "model_failed",
    "help",
]


class Usage(Record):
    """Tokens of the reply, as the model counts them; labels are weighed beside it and not counted."""

    prompt_tokens: Annotated[int, Field(ge=0)]
    """What the model read: its instructions, the conversation, and the labels that it begins its answer with."""
    completion_tokens: Annotated[int, Field(ge=0)]
    """What it wrote, that which was withheld included."""


class Done(Record):
    """The turn is over and the next message can come. No turn ends the conversation."""

    kind: Literal["done"] = "done"
    outcome: Outcome
    error: str | None = None
    """Type of the model's exception, never its message."""
    usage: Usage | None = None
    """None where the model does not count, or was stopped before it told."""


Event = Annotated[
    Disclosure | Card | ClipRefused | LabelsPredicted | ReplyPiece | Repaired | Withheld | Done,
    Field(discriminator="kind"),
]

"""The one renderer: what a model reads and what it should answer, the same for training, evaluation and serving.

    system     what to do, and the labels to choose from ┐
    user       what the client said                      │ trunk: the context, oldest first; words only,
    assistant  what the therapist said                   │ never a label, never a clip
    …                                                    ┘
    user       the clip of the client's turn, and what the client says in it ┐
    ─────────────────────────────────────────────────────                    │
    assistant  Client emotion: sadness           ┐                           │ branch of the turn
               Strategy: Restatement             │ the target: labels first, │
               Therapist emotion: neutral        │ so that they condition    │
               Reply: So the evenings are hard.  ┘ the reply                 ┘

The trunk of a turn is the beginning of the trunk of every later turn, so what a model has read of it can be kept;
a branch grows from it and is dropped. Nothing of a branch is in a trunk: the client's words come again there without
the clip, the reply without the labels. A label that is None has no line at all: nothing is learned in its place and
nothing stands in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

from ai_therapist.records import Labels, Role, Task, Turn, Unscored, load_codebook
from ai_therapist.records.base import Record
from ai_therapist.records.message import Message, TextPart, VideoPart


class Field(StrEnum):
    """The parts of the answer in the order in which the model gives them; the value is the line's name."""

    CLIENT_EMOTION = "Client emotion"
    STRATEGY = "Strategy"
    THERAPIST_EMOTION = "Therapist emotion"
    REPLY = "Reply"

    @property
    def task(self) -> Task:
        """What kind of label the field holds. Raises ValueError for the reply, which is free text."""
        if self is Field.REPLY:
            raise ValueError("the reply is not a label")
        return Task.STRATEGY if self is Field.STRATEGY else Task.EMOTION

    @property
    def choices(self) -> tuple[str, ...]:
        """The codebook's labels for the field. Raises ValueError for the reply."""
        return load_codebook().names(self.task)


LABEL_FIELDS = (Field.CLIENT_EMOTION, Field.STRATEGY, Field.THERAPIST_EMOTION)

CUES = "Seen and heard"
"""Name of the line that tells what was written down of the client's clip."""

_CHAT_ROLES: dict[Role, Literal["user", "assistant"]] = {Role.CLIENT: "user", Role.THERAPIST: "assistant"}

# Angle and square brackets are how chat templates spell their control tokens; nobody speaks them. Half a surrogate pair
# is what is left of bytes that were no text; nothing can write it down.
_UNSPOKEN = str.maketrans("<>[]", "‹›()") | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Answer(Record):
    """What could be read from a model's text. A field that is missing or not in the codebook is None, and said."""

    labels: Labels
    reply: str | None
    faults: tuple[str, ...]
    """One reason for each field that is None, naming the field and never its text."""


def plain(text: str) -> str:
    """A transcript's words on one line, with no character left that could spell a control token or a new field."""
    return " ".join(speakable(text).split())


def speakable(text: str) -> str:
    """The text with no character left that could spell a control token; as long as before."""
    return text.translate(_UNSPOKEN)


def instructions() -> str:
    """The system message: the task, the form of the answer and the labels of the codebook."""
    book = load_codebook()
    return (
        "You take the therapist's part in a counselling role-play that is used for research. "
        "Read the conversation and the clip of what the client says now. Answer in four lines:\n"
        f"{Field.CLIENT_EMOTION}: one of {', '.join(book.names(Task.EMOTION))}\n"
        f"{Field.STRATEGY}: one of {', '.join(book.names(Task.STRATEGY))}\n"
        f"{Field.THERAPIST_EMOTION}: one of the emotions\n"
        f"{Field.REPLY}: what the therapist says next"
    )


def render_prompt(
    context: Sequence[Turn], client: Turn, clip_path: Path | str | None, cues: str | None = None
) -> tuple[Message, ...]:
    """Messages that end with the client's current turn, to be answered in the form of `target_text`.

    `context` holds the turns before `client`, oldest first; the caller decides how many. `clip_path` is the file of
    the client's turn, or None where there is nothing to see and hear; `cues` is what was written down of it, for a
    model that was trained to read that. Raises ValueError for a turn of anyone but the client and the therapist.
    """
    return (*render_trunk(context), render_branch(client, clip_path, cues))


def render_trunk(context: Sequence[Turn]) -> tuple[Message, ...]:
    """The system message and what was said, oldest first: one message per turn, words only.

    render_trunk(turns[:n]) is the beginning of render_trunk(turns). Raises ValueError as `render_prompt`.
    """
    return (Message.of_text("system", instructions()), *(_message(turn) for turn in context))


def render_branch(client: Turn, clip_path: Path | str | None, cues: str | None = None) -> Message:
    """The message of the client's current turn, its clip first, its cues last; the answer to it ends the branch."""
    seen = () if clip_path is None else (VideoPart(path=str(clip_path)),)
    told = "" if cues is None else f"\n{CUES}: {plain(cues)}"
    return Message(role="user", parts=(*seen, TextPart(text=plain(client.text) + told)))


def target_text(labels: Labels, reply: str) -> str:
    """The answer to learn: one line per label that is not None, then the reply."""
    return answer_prefix(Field.REPLY, labels) + plain(reply)


def answer_prefix(field: Field, given: Labels) -> str:
    """The beginning of an answer up to the value of `field`, with the labels before it as in `given`.

    answer_prefix(field, labels) + value is the beginning of target_text(labels, reply) for the field's own value.
    """
    before = LABEL_FIELDS[: list(Field).index(field)]
    lines = [f"{name}: {value}\n" for name in before if (value := label_of(given, name)) is not None]
    return "".join(lines) + f"{field}: "


def label_of(labels: Labels, field: Field) -> str | None:
    """The label that `labels` hold for `field`. Raises ValueError for the reply, which is no label."""
    match field:
        case Field.CLIENT_EMOTION:
            return labels.client_emotion
        case Field.STRATEGY:
            return labels.strategy
        case Field.THERAPIST_EMOTION:
            return labels.therapist_emotion
        case Field.REPLY:
            raise ValueError("the reply is not a label")


def reply_line(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a generated reply up to its end: a reply is one line, and what a model writes after it is none."""
    for piece in pieces:
        before, newline, _ = piece.partition("\n")
        if before:
            yield before
        if newline:
            return


def parse_target(text: str) -> Answer | Unscored:
    """What a model's answer says, field by field; Unscored where it does not have the form at all.

    The form is strict: "Name: value" lines with the fields in their order, each at most once, the reply last and on
    one line. A label in a spelling that the codebook knows becomes its canonical name; any other is None.
    """
    found: dict[Field, str] = {}
    for line in text.strip().splitlines():
        name, colon, value = line.partition(":")
        field = next((known for known in Field if known.value == name.strip()), None)
        if not colon or field is None:
            return Unscored(reason="a line of the answer is none of the four fields")
        if any(list(Field).index(seen) >= list(Field).index(field) for seen in found):
            return Unscored(reason=f"the field {field.value!r} is repeated or out of order")
        found[field] = value.strip()
    if not found:
        return Unscored(reason="the answer is empty")
    return _answer(found)


def _answer(found: dict[Field, str]) -> Answer:
    values: dict[Field, str | None] = {}
    faults = []
    for field in Field:
        text = found.get(field)
        values[field] = _canonical(field, text) if text and field is not Field.REPLY else text or None
        if values[field] is None:
            reason = "missing" if field not in found else "empty" if not text else "not in the codebook"
            faults.append(f"{field.value}: {reason}")
    labels = Labels(
        client_emotion=values[Field.CLIENT_EMOTION],
        strategy=values[Field.STRATEGY],
        therapist_emotion=values[Field.THERAPIST_EMOTION],
    )
    return Answer(labels=labels, reply=values[Field.REPLY], faults=tuple(faults))


def _canonical(field: Field, spelling: str) -> str | None:
    return load_codebook().canonical(field.task, spelling)


def _message(turn: Turn) -> Message:
    role = _CHAT_ROLES.get(turn.role)
    if role is None:
        raise ValueError(f"turn {turn.utterance} is by {turn.role.value!r}: only client and therapist are rendered")
    return Message.of_text(role, plain(turn.text))

"""Answers a file of conversations, one line each, so that a stopped run goes on where it was and no bad line stops it.

in    {"id": "a1", "text": "I could not sleep again.", "clip": "clips/a1.mp4",
       "earlier": [{"role": "client", "text": "…"}, {"role": "therapist", "text": "…"}]}
out   {"id": "a1", "model": "…", "asked_sha256": "…", "client_emotion": {…}, "strategy": {…}, "therapist_emotion": {…},
       "reply": "…", "outcome": "complete", "cards": ["full"], "error": null}

Only "id" and "text" must be there. A clip is a path beside the file or an absolute one. A line that cannot be read or
answered gives a line with an error and nothing else; a later run tries it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.errors import AiTherapistError, ConfigError, InvalidRecord, MissingInput
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.conversation import Speaking
from ai_therapist.inference.events import Card, ClipRefused, Done, LabelsPredicted, Outcome, ReplyPiece
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.reply import Chat
from ai_therapist.records import Abstention, Label, Role
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.durable import told_as_store_error

_LONGEST_LINE = 1 << 20


class Earlier(Record):
    """A turn before the one that is to be answered."""

    role: Literal["client", "therapist"]
    text: Annotated[str, Field(repr=False)]

    @property
    def said(self) -> tuple[Speaking, str]:
        """Who said what."""
        return (Role.CLIENT if self.role == "client" else Role.THERAPIST), self.text


class Asked(Record):
    """One line of the input."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(min_length=1, repr=False)]
    clip: str | None = None
    earlier: Annotated[tuple[Earlier, ...], Field(max_length=4_096)] = ()


Labelled = Annotated[Label | Abstention, Field(discriminator="kind")]


class Answered(Record):
    """One line of the output."""

    id: str
    model: str
    asked_sha256: Digest
    """Of the input line, so that a changed line is answered anew."""
    client_emotion: Labelled | None = None
    strategy: Labelled | None = None
    therapist_emotion: Labelled | None = None
    reply: Annotated[str | None, Field(repr=False)] = None
    """What a person would have been shown: it has passed the output gate or is a fixed sentence."""
    outcome: Outcome | None = None
    cards: tuple[str, ...] = ()
    """Forms of the helpline cards that the shell would have shown."""
    clip_refused: str | None = None
    """Why the model was not shown the clip."""
    error: str | None = None


@dataclass(frozen=True)
class _Line:
    """A line of the input; `asked` is None where it holds no question, and `fault` says why."""

    number: int
    digest: str
    asked: Asked | None
    fault: str | None = None

    @property
    def id(self) -> str:
        """The id that it names, or its place where it names none."""
        return f"line {self.number}" if self.asked is None else self.asked.id


@dataclass
class Tally:
    """What became of the lines: read = answered + reused + failed."""

    read: int = 0
    answered: int = 0
    reused: int = 0
    failed: int = 0


def answer_all(
    speaker: Speaker, config: InferenceConfig, asked: Path, answers: Path, tally: Tally
) -> Iterator[Answered]:
    """Answer every line of `asked` that `answers` does not hold yet, and add it there; each as it is done.

    `tally` is counted up.

    Raises MissingInput where there is no such file, ConfigError where `answers` holds what another model said or
    something else altogether, StoreError where they cannot be written. What is wrong with a line goes into its answer.
    """
    lines = list(_lines(asked))
    with told_as_store_error(f"write {answers}"):
        # Before the first answer, which may cost minutes or money.
        answers.parent.mkdir(parents=True, exist_ok=True)
        answers.open("ab").close()
    known = _known(answers, speaker.generator.name)
    tally.read = len(lines)
    seen: set[str] = set()
    for line in lines:
        old = known.get(line.id)
        if old is not None and old.error is None and old.asked_sha256 == line.digest and line.id not in seen:
            tally.reused += 1
            answer = old
        else:
            answer = _answer(speaker, config, line, asked.parent, twice=line.id in seen)
            tally.failed += answer.error is not None
            tally.answered += answer.error is None
            with told_as_store_error(f"write {answers}"), answers.open("ab") as file:
                file.write(encode(answer))
        seen.add(line.id)
        yield answer


def _lines(path: Path) -> Iterator[_Line]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    with file:
        number = 0
        while raw := file.readline(_LONGEST_LINE + 1):
            number += 1
            digest = hashlib.sha256(raw.strip()).hexdigest()
            if len(raw) > _LONGEST_LINE:
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(_LONGEST_LINE)
                yield _Line(number, digest, None, f"longer than {_LONGEST_LINE} bytes")
            elif raw.strip():
                try:
                    yield _Line(number, digest, decode(Asked, raw, f"line {number}"))
                except InvalidRecord as error:
                    yield _Line(number, digest, None, str(error).removeprefix(f"line {number}: "))


def _known(path: Path, model: str) -> dict[str, Answered]:
    """What the answers hold by id; a line that was being written when a run stopped is dropped."""
    if not path.exists():
        return {}
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    try:
        rows = [decode(Answered, line, path.name) for line in whole]
    except InvalidRecord as error:
        raise ConfigError(f"{path} holds something else than answers ({error}): name another file") from None
    other = next((row.model for row in rows if row.model != model), None)
    if other is not None:
        raise ConfigError(f"{path} holds answers of {other!r}, not of {model!r}: name another file")
    # Errors are tried again and answers replaced, so that each id stands in the file once.
    known = {row.id: row for row in rows if row.error is None}
    write_atomically(path, b"".join(encode(row) for row in known.values()))
    return known


def _answer(speaker: Speaker, config: InferenceConfig, line: _Line, folder: Path, *, twice: bool) -> Answered:
    begun = Answered(id=line.id, model=speaker.generator.name, asked_sha256=line.digest)
    if line.asked is None:
        return begun.model_copy(update={"error": line.fault})
    if twice:
        return begun.model_copy(update={"error": "the id comes twice in the file"})
    try:
        return _talked(speaker, config, line.asked, folder, begun)
    except AiTherapistError as error:
        return begun.model_copy(update={"error": str(error)})


def _talked(speaker: Speaker, config: InferenceConfig, asked: Asked, folder: Path, begun: Answered) -> Answered:
    # Nobody goes on from here.
    chat = Chat(speaker, config.model_copy(update={"read_ahead": False}))
    chat.opening()
    chat.recall(turn.said for turn in asked.earlier)
    clip = None if asked.clip is None else folder / asked.clip
    events = list(chat.send(asked.text, clip))
    done = next(event for event in events if isinstance(event, Done))
    if done.outcome in ("model_failed", "timed_out"):
        kind = "" if done.error is None else f" ({done.error})"
        return begun.model_copy(update={"error": f"the model gave no answer: {done.outcome}{kind}"})
    labels = next((event for event in events if isinstance(event, LabelsPredicted)), None)
    return Answered(
        id=begun.id,
        model=begun.model,
        asked_sha256=begun.asked_sha256,
        client_emotion=None if labels is None else labels.client_emotion,
        strategy=None if labels is None else labels.strategy,
        therapist_emotion=None if labels is None else labels.therapist_emotion,
        reply=" ".join(event.text for event in events if isinstance(event, ReplyPiece)),
        outcome=done.outcome,
        cards=tuple(event.form for event in events if isinstance(event, Card)),
        clip_refused=next((event.reason for event in events if isinstance(event, ClipRefused)), None),
    )

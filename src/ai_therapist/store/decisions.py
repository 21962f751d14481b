"""What people decided about utterances: one small file per decision, written once and never changed.

    decisions/ses_…/ann_….json             a decision: the annotation that a person gave
    decisions/ses_…/ann_….retracted.json   the same decision taken back

A later decision of the same person on the same question stands in the place of the earlier one; both stay on disk.
They are kept beside the store, not in it: nothing can make them again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.records import Annotation, RaterId
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId
from ai_therapist.store.blobs import Store
from ai_therapist.store.codec import RecordT, decode, encode
from ai_therapist.store.durable import sync_folder, told_as_store_error

DECISIONS = "decisions"
"""Name of the folder in a workspace."""

_RETRACTED = ".retracted.json"

_SESSION = re.compile(r"ses_[0-9a-f]{12}")


class Retraction(Record):
    """A decision taken back by the person who made it."""

    annotation: RecordId
    rater: RaterId
    at: Annotated[str, Field(min_length=1)]
    """Moment in UTC, ISO 8601 to the second."""


class Decision(Record):
    """An annotation that a person gave, and its place among the decisions of its session."""

    session: RecordId
    order: Annotated[int, Field(ge=0)]
    """How many decisions on the session stood on disk before this one; two made at the same moment may share it."""
    annotation: Annotation

    @model_validator(mode="after")
    def _is_a_persons(self) -> Self:
        if self.annotation.provenance.rater is None:
            raise ValueError("a decision is an annotation of a person: its annotator must begin with 'person:'")
        return self

    @property
    def rater(self) -> str:
        """Id of the person."""
        return self.annotation.provenance.rater or ""


class Decisions:
    """The decisions kept in one workspace. Safe for several processes at once."""

    def __init__(self, root: Path, store: Store) -> None:
        """`root` is the folder of the workspace; files are prepared in the private folders of its `store`."""
        self._root = root / DECISIONS
        self._store = store

    def add(self, session: str, annotation: Annotation) -> Decision:
        """Keep a person's annotation; one that is kept already, with the same answer, changes nothing.

        Raises RequestError where another answer stands under its id, and StoreError where the disk fails.
        """
        decision = Decision(session=session, order=self.count(session), annotation=annotation)
        path = self._path(session, annotation.id)
        self._create(path, encode(decision))
        stands = decode(Decision, path.read_bytes(), path.name)
        if stands.annotation.outcome != annotation.outcome:
            raise RequestError(f"{annotation.id}: another answer stands under this id: read the decisions again")
        return stands

    def retract(self, session: str, annotation: str, rater: str, at: str) -> Retraction:
        """Take a decision back; doing so twice changes nothing.

        Raises MissingInput where there is no such decision, and RequestError where another person made it.
        """
        path = self._path(session, annotation)
        if not path.exists():
            raise MissingInput(f"{annotation}: no decision of this id on {session}")
        if decode(Decision, path.read_bytes(), path.name).rater != rater:
            raise RequestError(f"{annotation}: only the person who decided can take it back")
        taken = path.with_suffix(_RETRACTED)
        self._create(taken, encode(Retraction(annotation=annotation, rater=rater, at=at)))
        return decode(Retraction, taken.read_bytes(), taken.name)

    def sessions(self) -> tuple[str, ...]:
        """Ids of the sessions that anything was decided about, in order."""
        return tuple(sorted(path.name for path in self._root.glob("ses_*") if path.is_dir()))

    def count(self, session: str) -> int:
        """How many decisions on a session there are, those taken back among them."""
        return self.counts(session)[0]

    def counts(self, session: str) -> tuple[int, int]:
        """How many decisions on a session there are, and how many were taken back; both only ever grow."""
        folder = self._folder(session)
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        taken = sum(name.endswith(_RETRACTED) for name in names)
        return len(names) - taken, taken

    def made(self, session: str) -> tuple[Decision, ...]:
        """Every decision on a session, those taken back among them, in the order in which they were made.

        Raises InvalidRecord that names the file of one that cannot be read.
        """
        found = [self._read(Decision, path) for path in self._files(session)]
        return tuple(sorted(found, key=lambda decision: (decision.order, decision.annotation.id)))

    def retracted(self, session: str) -> frozenset[str]:
        """Ids of the decisions on a session that were taken back."""
        taken = self._folder(session).glob(f"ann_*{_RETRACTED}")
        return frozenset(self._read(Retraction, path).annotation for path in taken)

    def standing(self, session: str) -> tuple[Decision, ...]:
        """The decisions that count: not taken back, and each person's last one on a question."""
        return standing(self.made(session), self.retracted(session))

    def faults(self) -> Iterator[str]:
        """One line for every file that cannot be read or lies in the wrong place."""
        for path in sorted(self._root.glob("*/*.json")):
            name = path.name.partition(".")[0]
            try:
                if path.name.endswith(_RETRACTED):
                    fits = self._read(Retraction, path).annotation == name
                else:
                    decision = self._read(Decision, path)
                    fits = (decision.session, decision.annotation.id) == (path.parent.name, name)
            except InvalidRecord as error:
                yield f"{DECISIONS}/{path.parent.name}: {error}"
                continue
            if not fits:
                yield f"{DECISIONS}/{path.parent.name}: {path.name} holds another decision than its name says"

    def _folder(self, session: str) -> Path:
        # The id comes from a request: it must not lead out of the folder.
        if _SESSION.fullmatch(session) is None:
            raise MissingInput("no such session: its id is ses_ and 12 hexadecimal digits")
        return self._root / session

    def _path(self, session: str, annotation: str) -> Path:
        if re.fullmatch(r"ann_[0-9a-f]{12}", annotation) is None:
            raise MissingInput("no such decision: its id is ann_ and 12 hexadecimal digits")
        return self._folder(session) / f"{annotation}.json"

    def _files(self, session: str) -> Iterator[Path]:
        found = self._folder(session).glob("ann_*.json")
        return (path for path in found if not path.name.endswith(_RETRACTED))

    def _read(self, kind: type[RecordT], path: Path) -> RecordT:
        return decode(kind, path.read_bytes(), path.name)

    def _create(self, path: Path, data: bytes) -> None:
        """Write a file whole under its name, or leave the one that has it."""
        with self._store.scratch() as folder, told_as_store_error(f"write {path}"):
            copy = folder / "decision"
            copy.write_bytes(data)
            sync_folder(copy)
            copy.chmod(0o444)
            new = [parent for parent in (path.parent, path.parent.parent) if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(copy, path)
            except FileExistsError:
                return
            for parent in (path.parent, *(made.parent for made in new)):
                sync_folder(parent)


def standing(made: Sequence[Decision], retracted: frozenset[str]) -> tuple[Decision, ...]:
    """Of decisions in the order in which they were made, those that count: each person's last one on a question.

    A decision taken back counts no more, and the one before it counts again.
    """
    last: dict[tuple[str, str, str], Decision] = {}
    for decision in made:
        given = decision.annotation
        if given.id not in retracted:
            last[given.utterance, given.task, decision.rater] = decision
    return tuple(sorted(last.values(), key=lambda decision: (decision.order, decision.annotation.id)))

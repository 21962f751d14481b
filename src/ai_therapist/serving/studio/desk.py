"""The desk at which people label: questions of a workspace's sessions, decisions into its store, undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ai_therapist.annotation.review import (
    CANNOT_TELL,
    Look,
    Order,
    PairAgreement,
    Question,
    agreements,
    decide,
    questions_of,
    queue,
    to_undo,
)
from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Abstention, Annotation, Label, Task, Use, load_codebook
from ai_therapist.serving.studio.library import Library, Recorded
from ai_therapist.store.decisions import Decisions


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Progress:
    """How far a person has come."""

    decided: int
    total: int
    agreement: tuple[PairAgreement, ...]
    """With each other person, on what both have decided."""
    faults: tuple[str, ...]
    """Why sessions are not asked about that could be."""


@dataclass(frozen=True)
class _Version:
    """What the questions about a session hang on: its parts by digest, and how many decisions there are."""

    session: str
    parts: tuple[tuple[str, str], ...]
    made: int
    retracted: int


class Desk:
    """Asks, takes answers, and takes them back. Safe for several threads."""

    def __init__(self, library: Library, now: Callable[[], str] = _now) -> None:
        """`now` gives the moment in UTC, ISO 8601 to the second."""
        self._library = library
        self._decisions: Decisions = library.workspace.decisions
        self._now = now
        # With thousands of sessions, an answer must not make the questions of all of them anew.
        self._asked: dict[str, tuple[_Version, tuple[Question, ...]]] = {}

    def questions(self) -> tuple[Question, ...]:
        """Every question about the sessions whose consent permits annotation, session by session."""
        return tuple(question for asked in self._by_session() for question in asked)

    def _by_session(self) -> Iterator[tuple[Question, ...]]:
        for recorded in self.permitted():
            with suppress(InvalidRecord):
                yield self.questions_about(recorded)

    def permitted(self) -> tuple[Recorded, ...]:
        """The sessions that may be labelled today."""
        return tuple(one for one in self._library.sessions() if refusal(one.session.consent, Use.ANNOTATE) is None)

    def questions_about(self, recorded: Recorded) -> tuple[Question, ...]:
        """The questions about one session. Raises InvalidRecord where a decision on it cannot be read."""
        session = recorded.session.id
        version = _Version(session, tuple(sorted(recorded.item.artefacts.items())), *self._decisions.counts(session))
        known = self._asked.get(session)
        if known is not None and known[0] == version:
            return known[1]
        asked = questions_of(
            recorded.session,
            recorded.turns,
            recorded.annotations,
            self._decisions.made(session),
            self._decisions.retracted(session),
        )
        self._asked[session] = (version, asked)
        return asked

    def progress(self, rater: str) -> Progress:
        """How far this person has come, and how far with others."""
        total = 0
        answered: list[Question] = []
        for asked in self._by_session():
            total += len(asked)
            answered += [question for question in asked if question.made and question.of(rater) is not None]
        return Progress(len(answered), total, agreements(answered, rater), tuple(self._decisions.faults()))

    def queue(self, rater: str, order: Order, *, blind: bool) -> tuple[Question, ...]:
        """What this person has still to answer, the most useful first."""
        return queue(self.questions(), rater, order, blind=blind)

    def question(self, session: str, utterance: str, task: Task) -> tuple[Recorded, Question]:
        """One question with its session.

        Raises MissingInput where there is none, and RequestError where the consent does not permit to answer it.
        """
        recorded = self._library.session(session)
        reason = refusal(recorded.session.consent, Use.ANNOTATE)
        if reason is not None:
            raise RequestError(f"{session}: {reason}")
        for question in self.questions_about(recorded):
            if question.turn.id == utterance and question.task is task:
                return recorded, question
        raise MissingInput("no such question: the session has no such turn, or its speaker is not asked this")

    def decide(self, question: Question, rater: str, label: str | None, look: Look) -> Annotation:
        """Keep a person's answer; None is "cannot tell". Raises RequestError for an unknown label and StoreError."""
        answer = Abstention(reason=CANNOT_TELL) if label is None else Label(value=label)
        given = decide(question, rater, answer, look, load_codebook(), self._now())
        return self._decisions.add(question.session, given).annotation

    def undo(self, rater: str) -> Question | None:
        """Take this person's last decision back; the question it answered, or None where there is nothing to undo."""
        questions = self.questions()
        last = to_undo(questions, rater)
        if last is None:
            return None
        self._decisions.retract(last.session, last.annotation.id, rater, self._now())
        return next(
            question
            for question in questions
            if question.turn.id == last.annotation.utterance and question.task is last.annotation.task
        )

"""How people label: which question comes next, what a person is shown of others' answers, how far two agree.

Nobody sees another person's answer before giving one: agreement between two who copied says nothing. A blind rater
does not see the models' answers either, and the order of the queue then tells whether somebody answered, never what.
Nothing here reads or writes; store/decisions.py keeps what is decided.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ai_therapist.annotation.prompt import render_definitions
from ai_therapist.errors import RequestError
from ai_therapist.records import (
    Abstention,
    Annotation,
    Codebook,
    Label,
    Modality,
    Outcome,
    Provenance,
    Role,
    Score,
    Scored,
    Session,
    Task,
    Unscored,
    Utterance,
    annotator_of,
)
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.decisions import Decision, standing

GUIDE = (
    "Label what was said, as the codebook defines it. For the emotion: what the speaker shows in this turn. For the "
    "strategy: what the therapist does in this turn. Where two labels fit equally well or nothing can be told, say so "
    "instead of choosing."
)
"""What every person who labels is told, before the definitions."""

CANNOT_TELL = "the person cannot tell"
"""Reason of a person's abstention."""


class Order(StrEnum):
    """What makes a question come early."""

    DISAGREEMENT = "disagreement"
    """Answers that differ."""
    UNCERTAINTY = "uncertainty"
    """Models that are not sure, or gave no answer."""
    TIME = "time"
    """The order in which it was said."""


@dataclass(frozen=True)
class Question:
    """One question about one turn, with every answer that was given."""

    session: str
    turn: Utterance
    role: Role
    task: Task
    votes: tuple[Annotation, ...]
    """Answers of models."""
    made: tuple[Decision, ...]
    """Decisions of people in the order in which they were made, those that count no more among them."""
    retracted: frozenset[str]

    @property
    def standing(self) -> tuple[Annotation, ...]:
        """The answer of each person that counts."""
        return tuple(decision.annotation for decision in standing(self.made, self.retracted))

    def of(self, rater: str) -> Annotation | None:
        """This person's answer, or None where it is still to be given."""
        return next((given for given in self.standing if given.provenance.rater == rater), None)

    def by_others(self, rater: str) -> tuple[Annotation, ...]:
        """What other people answered."""
        return tuple(given for given in self.standing if given.provenance.rater != rater)


@dataclass(frozen=True)
class Look:
    """What a person had before the eyes when deciding."""

    blind: bool
    """The models' answers were hidden."""
    played: bool
    """The stretch of the recording was played."""


@dataclass(frozen=True)
class PairAgreement:
    """How far a person agrees with another on the questions that both labelled."""

    other: str
    task: Task
    both: int
    """Questions with a label of both."""
    same: int
    abstained: int
    """Questions that both decided and at least one of them could not tell; in no figure."""
    kappa: Score
    """Cohen's kappa (1960): 1 for full agreement, 0 for as much as chance gives."""


def asked_about(role: Role) -> tuple[Task, ...]:
    """The questions that people answer about a turn of this role. Only a known client does not use a strategy."""
    return (Task.EMOTION, Task.STRATEGY) if role in (Role.THERAPIST, Role.UNKNOWN) else (Task.EMOTION,)


def questions_of(
    session: Session,
    turns: Sequence[Utterance],
    annotations: Iterable[Annotation],
    made: Iterable[Decision],
    retracted: frozenset[str],
) -> tuple[Question, ...]:
    """Every question about the turns of a session, in the order of time."""
    votes: dict[tuple[str, Task], list[Annotation]] = {}
    for vote in annotations:
        votes.setdefault((vote.utterance, vote.task), []).append(vote)
    decided: dict[tuple[str, Task], list[Decision]] = {}
    for decision in made:
        decided.setdefault((decision.annotation.utterance, decision.annotation.task), []).append(decision)
    return tuple(
        Question(
            session=session.id,
            turn=turn,
            role=session.role_of(turn.speaker),
            task=task,
            votes=tuple(votes.get((turn.id, task), ())),
            made=tuple(decided.get((turn.id, task), ())),
            retracted=retracted,
        )
        for turn in turns
        for task in asked_about(session.role_of(turn.speaker))
    )


def queue(questions: Iterable[Question], rater: str, order: Order, *, blind: bool) -> tuple[Question, ...]:
    """The questions that this person has not answered, the most useful first.

    For a blind rater those that another person answered come first, so that agreement can be measured soon; for
    anybody else those that nobody answered. Then `order` decides, and equal ones come in the order of time.
    """
    left = [question for question in questions if question.of(rater) is None]
    return tuple(
        sorted(left, key=lambda question: (bool(question.standing) is not blind, -_urgency(question, order, blind)))
    )


def _urgency(question: Question, order: Order, blind: bool) -> float:
    match order:
        case Order.DISAGREEMENT:
            return disagreement((*question.votes, *(() if blind else question.standing)))
        case Order.UNCERTAINTY:
            return uncertainty(question.votes)
        case Order.TIME:
            return 0.0


def disagreement(answers: Sequence[Annotation]) -> float:
    """Share of the answers that are not the most frequent one, 0 to 1; an abstention is an answer of its own.

    What the votes of a panel came to is no further vote.
    """
    labels = [answer.label for answer in answers if not answer.provenance.is_panel]
    if not labels:
        return 0.0
    ((_, most),) = Counter(labels).most_common(1)
    return 1 - most / len(labels)


def uncertainty(votes: Sequence[Annotation]) -> float:
    """How unsure the models are, 0 to 1: what the probability of the likeliest label leaves, averaged over them.

    An abstention counts 1, and so does the silence where no model was asked; a label without probabilities counts 0.
    """
    own = [vote.outcome for vote in votes if not vote.provenance.is_panel]
    if not own:
        return 1.0
    return sum(map(_doubt, own)) / len(own)


def _doubt(outcome: Outcome) -> float:
    match outcome:
        case Abstention():
            return 1.0
        case Label(probabilities=dict(probabilities)):
            return 1 - max(probabilities.values())
        case _:
            return 0.0


def shown_to(question: Question, rater: str, *, blind: bool) -> tuple[Annotation, ...]:
    """The answers of others that may be shown: all once the person has decided, before that the models' at most."""
    if question.of(rater) is not None:
        return (*question.votes, *question.by_others(rater))
    return () if blind else question.votes


def proposed(shown: Sequence[Annotation]) -> str | None:
    """The label that a person may accept as it stands: what a panel came to, or what all that are shown agree on."""
    panel = [given.label for given in shown if given.provenance.is_panel]
    labels = {label for label in panel or [given.label for given in shown] if label is not None}
    return labels.pop() if len(labels) == 1 else None


def instruction(codebook: Codebook, task: Task) -> str:
    """The guide and the definitions, as the person reads them."""
    return f"{GUIDE}\n\n{render_definitions(codebook, task)}"


def decide(
    question: Question, rater: str, answer: Label | Abstention, look: Look, codebook: Codebook, at: str
) -> Annotation:
    """The annotation that a person's answer makes. A second answer to the same question has an id of its own.

    It is blind only where this person has never decided on the question: a decision opens the answers of others, and
    taking it back does not make them unseen. Raises RequestError for a label that the codebook does not hold.
    """
    if isinstance(answer, Label) and answer.value not in codebook.names(question.task):
        raise RequestError(f"{question.turn.id}: its {question.task.value} must be a label of the codebook")
    earlier = sum(decision.rater == rater for decision in question.made)
    others = (*question.votes, *question.by_others(rater))
    shown = [given.id for given in (others if earlier else shown_to(question, rater, blind=look.blind))]
    seen = frozenset({Modality.TEXT, *((Modality.VIDEO, Modality.AUDIO) if look.played else ())})
    request = [question.task.value, question.turn.id, question.turn.text, sorted(seen), shown, earlier]
    provenance = Provenance(
        annotator=annotator_of(rater),
        prompt_sha256=hashlib.sha256(instruction(codebook, question.task).encode()).hexdigest(),
        codebook=codebook.version,
        modalities=seen,
        route=_route(len(shown), earlier, look),
        request_sha256=hashlib.sha256(canonical_json(request)).hexdigest(),
        at=at,
    )
    return Annotation.of(question.turn.id, question.task, answer, provenance)


def _route(shown: int, earlier: int, look: Look) -> str:
    """What the person saw, in words."""
    others = "blind" if look.blind and not earlier else f"{shown} answers of others shown"
    played = "recording played" if look.played else "recording not played"
    again = f", decision {earlier + 1} on this question" if earlier else ""
    return f"review: {others}, {played}{again}"


def to_undo(questions: Iterable[Question], rater: str) -> Decision | None:
    """The decision that this person made last and that still counts, or None."""
    own = [
        decision
        for question in questions
        for decision in question.made
        if decision.rater == rater and decision.annotation.id not in question.retracted
    ]
    return max(own, key=lambda decision: (decision.annotation.provenance.at, decision.order), default=None)


def agreements(questions: Sequence[Question], rater: str) -> tuple[PairAgreement, ...]:
    """How far a person agrees with each other one, task by task, on what both have decided so far."""
    pairs: dict[tuple[str, Task], list[tuple[str | None, str | None]]] = {}
    for question in questions:
        own = question.of(rater)
        if own is None:
            continue
        for given in question.by_others(rater):
            other = given.provenance.rater or ""
            pairs.setdefault((other, question.task), []).append((own.label, given.label))
    return tuple(_agreement(other, task, both) for (other, task), both in sorted(pairs.items()))


def _agreement(other: str, task: Task, decided: Sequence[tuple[str | None, str | None]]) -> PairAgreement:
    labelled = [(one, two) for one, two in decided if one is not None and two is not None]
    return PairAgreement(
        other=other,
        task=task,
        both=len(labelled),
        same=sum(one == two for one, two in labelled),
        abstained=len(decided) - len(labelled),
        kappa=cohen_kappa(labelled),
    )


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> Score:
    """Cohen's kappa of two raters over the same items; Unscored over nothing, and where both gave one label only."""
    if not pairs:
        return Unscored(reason="nothing was labelled by both")
    n = len(pairs)
    ours, theirs = Counter(one for one, _ in pairs), Counter(two for _, two in pairs)
    chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    if chance == 1:
        return Unscored(reason="both gave one and the same label only")
    observed = sum(one == two for one, two in pairs) / n
    return Scored(value=(observed - chance) / (1 - chance), n=n)

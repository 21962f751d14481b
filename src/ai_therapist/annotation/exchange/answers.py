"""Answers from a file become decisions of people, or are refused with the place and the reason; none is bent to fit.

file ─▶ Given(place, person, turn, task, word) ─▶ the very name of a label ─▶ a new decision
                                               ├▶ "(cannot tell)"          ─▶ an abstention
                                               ├▶ what the person said already ─▶ nothing
                                               └▶ anything else            ─▶ Refusal(place, reason)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from ai_therapist.annotation.review import CANNOT_TELL, Question, instruction
from ai_therapist.records import (
    Abstention,
    Annotation,
    Codebook,
    Label,
    Modality,
    Provenance,
    RaterId,
    Task,
    annotator_of,
)
from ai_therapist.store.codec import canonical_json

CANNOT = "(cannot tell)"
"""Stands in files where a person says that nothing can be told."""

_RATER = TypeAdapter[str](RaterId)

Questions = Mapping[tuple[str, Task], Question]
"""Every question that may be answered, by utterance and task."""


@dataclass(frozen=True)
class Given:
    """An answer as a file holds it, not yet believed."""

    where: str
    """File and place in it, as "ratings.csv, row 3"."""
    rater: str
    utterance: str
    task: str
    value: str


@dataclass(frozen=True)
class Refusal:
    """An answer that was not taken, and why. It quotes no turn."""

    where: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Where answers come from, for their provenance."""

    tool: str
    sha256: str
    """Of the file."""
    played: bool
    """The people had the recording before their eyes, not the words alone."""
    at: str


@dataclass(frozen=True)
class Taken:
    """What became of the answers of a file: read = new + same + refused."""

    new: tuple[tuple[str, Annotation], ...]
    """Decisions to keep, each with its session."""
    same: int
    """Answers that the person has given already."""
    refused: tuple[Refusal, ...]


def take(given: Iterable[Given], questions: Questions, codebook: Codebook, source: Source) -> Taken:
    """Judge every answer. A second answer to one question by one person within the file is refused."""
    new: list[tuple[str, Annotation]] = []
    same = 0
    refused: list[Refusal] = []
    seen: set[tuple[str, str, str]] = set()
    for each in given:
        reason = _fault(each, questions, codebook)
        key = (each.rater, each.utterance, each.task)
        if reason is None and key in seen:
            reason = f"{each.rater} answers this question twice in the file"
        if reason is not None:
            refused.append(Refusal(each.where, reason))
            continue
        seen.add(key)
        question = questions[each.utterance, Task(each.task)]
        stands = question.of(each.rater)
        if stands is not None and _word(stands) == each.value:
            same += 1
        else:
            new.append((question.session, _decision(each, question, codebook, source)))
    return Taken(tuple(new), same, tuple(refused))


def _fault(given: Given, questions: Questions, codebook: Codebook) -> str | None:
    """Why an answer cannot be taken, or None where it can."""
    if not given.rater:
        return "nobody is named: fill the column rater, or add --rater ID"
    try:
        _RATER.validate_python(given.rater)
    except ValidationError:
        return "the person's id must be up to 40 letters, digits, dots and dashes: a pseudonym, no address"
    if given.task not in (Task.EMOTION, Task.STRATEGY):
        return f"{given.task!r} is no task: emotion or strategy"
    if (given.utterance, Task(given.task)) not in questions:
        known = {utterance for utterance, _ in questions}
        if given.utterance in known:
            return f"{given.utterance}: its {given.task} is not asked for, since a client spoke"
        return (
            "no turn that may be labelled here: its utterance is unknown, its interval covers no turn of its speaker, "
            "or its session does not permit 'annotate'"
        )
    if given.value == CANNOT or given.value in codebook.names(Task(given.task)):
        return None
    near = codebook.canonical(Task(given.task), given.value)
    hint = f": write {near!r}" if near is not None else ""
    # The value is not shown: a column that is shifted by one holds what people said.
    return f"its value is no {given.task} of codebook {codebook.version}{hint}"


def _word(annotation: Annotation) -> str:
    """How a decision is written in files."""
    return annotation.label or CANNOT


def word_of(annotation: Annotation | None) -> str:
    """How an answer is written in files: the label, "(cannot tell)", or nothing where there is none."""
    return "" if annotation is None else _word(annotation)


def _decision(given: Given, question: Question, codebook: Codebook, source: Source) -> Annotation:
    task = Task(given.task)
    earlier = sum(decision.rater == given.rater for decision in question.made)
    seen = frozenset({Modality.TEXT, *((Modality.VIDEO, Modality.AUDIO) if source.played else ())})
    request = [source.tool, task.value, question.turn.id, question.turn.text, sorted(seen), earlier]
    provenance = Provenance(
        annotator=annotator_of(given.rater),
        prompt_sha256=hashlib.sha256(instruction(codebook, task).encode()).hexdigest(),
        codebook=codebook.version,
        modalities=seen,
        route=f"imported from {source.tool}, file {source.sha256[:12]}",
        request_sha256=hashlib.sha256(canonical_json(request)).hexdigest(),
        at=source.at,
    )
    outcome = Abstention(reason=CANNOT_TELL) if given.value == CANNOT else Label(value=given.value)
    return Annotation.of(question.turn.id, task, outcome, provenance)

"""The errors that a system was surest of: where to look first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ai_therapist.dataset.render import LABEL_FIELDS
from ai_therapist.evaluation.evidence import Evidence
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.systems import note_of
from ai_therapist.records import Label

_EACH = 5
"""Cases shown of each field."""


class WorstCase(NamedTuple):
    """A wrong answer that was given with confidence."""

    system: str
    field: str
    example: str
    session: str
    """Name of the session."""
    turn: str
    """Id of the client's turn."""
    gold: str
    given: str
    probability: float
    clip: str | None
    """Path of the client's clip from the report, where it is at hand."""
    words: str
    """What the client said; shown only where that was asked for."""


def worst_cases(evidence: Evidence) -> tuple[WorstCase, ...]:
    """The surest errors of the tuned model, else of the first system that gives probabilities; none where a leak is.

    Systems that are told gold labels are no candidates.
    """
    if not evidence.audit.passed:
        return ()
    names = ("tuned", *(name for name in evidence.predictions if name != "tuned" and not note_of(name).leaks))
    for name in names:
        rows = [(row, sure) for row in evidence.predictions.get(name, ()) if (sure := _confidence(row)) is not None]
        if rows:
            return tuple(_cases(evidence, name, rows))
    return ()


def _cases(evidence: Evidence, system: str, rows: list[tuple[Prediction, float]]) -> Iterator[WorstCase]:
    examples = {example.id: example for example in evidence.examples}
    sessions = {each.session.id: each for each in evidence.sessions}
    wrong = [(row, sure) for row, sure in rows if row.gold is not None and row.given != row.gold]
    for field in LABEL_FIELDS:
        own = [(row, sure) for row, sure in wrong if row.field is field and row.example in examples]
        for row, sure in sorted(own, key=lambda each: (-each[1], each[0].example))[:_EACH]:
            client, session = examples[row.example].client, sessions.get(row.session)
            yield WorstCase(
                system=system,
                field=field.value,
                example=row.example,
                session=row.session if session is None else session.session.name,
                turn=client.utterance,
                gold=str(row.gold),
                given=str(row.given),
                probability=sure,
                clip=None if session is None else session.clips.get(client.utterance),
                words=client.text,
            )


def _confidence(row: Prediction) -> float | None:
    if not isinstance(row.outcome, Label) or row.outcome.probabilities is None:
        return None
    return row.outcome.probabilities[row.outcome.value]

"""How far the labels of what was said agree with gold, turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ai_therapist.evaluation.alignment import Timeline
from ai_therapist.evaluation.gold import GoldSession
from ai_therapist.records import Annotation, Task, Transcript
from ai_therapist.records.base import Record

_HALF = 0.5


class LabelPair(Record):
    """A gold label and the one given; None where the annotator abstained or was never asked."""

    gold: str
    given: str | None


class LabelPairs(Record):
    """All gold labels of one session and task."""

    pairs: tuple[LabelPair, ...]
    unaligned: Annotated[int, Field(ge=0)]
    """Gold labels of utterances that no heard turn covers by half: an error of extraction, so in no pair."""


def pair_labels(gold: GoldSession, turns: Transcript, annotations: Sequence[Annotation], task: Task) -> LabelPairs:
    """Pair every gold label of EMOTION or STRATEGY with the annotation of the turn heard at that time.

    Of several annotations of one turn the last counts. A turn without one (a therapist taken for the client is never
    asked for a strategy) pairs with None.
    """
    given = {annotation.utterance: annotation.label for annotation in annotations if annotation.task is task}
    timeline = Timeline(turns.utterances)
    pairs, unaligned = [], 0
    for utterance in gold.utterances:
        label = utterance.label(task)
        if label is None:
            continue
        turn = timeline.at(utterance.span, _HALF)
        if turn is None:
            unaligned += 1
        else:
            pairs.append(LabelPair(gold=label, given=given.get(turn.id)))
    return LabelPairs(pairs=tuple(pairs), unaligned=unaligned)

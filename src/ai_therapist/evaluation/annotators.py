"""Label what was said, as a task of its own: every annotator of a workspace against the labels that people gave.

Nothing is predicted here: an annotator has seen the turn that it labels. It is scored on the turns it was asked about
and people decided; an abstention of its is an error, as everywhere. An annotator that was trained on these very
labels is flattered, which nothing here can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.evaluation.nominal import Rated
from ai_therapist.evaluation.scores import LabelScores, score_labels
from ai_therapist.records import Task, annotator_of, load_codebook
from ai_therapist.records.base import Record

HINDSIGHT = "majority, in hindsight"
"""The most frequent of people's labels on these very turns: no honest constant answer is better."""

_PERSON = annotator_of("")


class AnnotatorScores(Record):
    """One task: annotators beside the majority baseline."""

    decided: Annotated[int, Field(ge=0)]
    """Turns on which more than half of the people who labelled them agree; they are gold here."""
    undecided: Annotated[int, Field(ge=0)]
    """Turns that people labelled without such an agreement, or could not tell: left out."""
    annotators: dict[str, LabelScores]


def annotators_against_people(
    rated: Mapping[str, Sequence[Rated]], resampling: Resampling
) -> dict[str, AnnotatorScores]:
    """By task, for tasks of which people decided any turn."""
    found = {}
    for name in (Task.EMOTION.value, Task.STRATEGY.value):
        asked = [(each, people) for each in rated.get(name, ()) if (people := _of_people(each))]
        gold = [(each, label) for each, people in asked if (label := _decided(people)) is not None]
        if not gold:
            continue
        classes = load_codebook().names(Task(name))
        constant = Counter(label for _, label in gold).most_common(1)[0][0]
        raters = sorted({rater for each, _ in gold for rater in each.labels if not rater.startswith(_PERSON)})
        rows = {HINDSIGHT: [Answer(each.session, label, constant) for each, label in gold]}
        for rater in raters:
            rows[rater] = [
                Answer(each.session, label, each.labels[rater]) for each, label in gold if rater in each.labels
            ]
        found[name] = AnnotatorScores(
            decided=len(gold),
            undecided=len(asked) - len(gold),
            annotators={rater: score_labels(answers, classes, resampling) for rater, answers in rows.items()},
        )
    return found


def _of_people(each: Rated) -> list[str | None]:
    return [label for rater, label in each.labels.items() if rater.startswith(_PERSON)]


def _decided(people: Sequence[str | None]) -> str | None:
    """The label that more than half of those who gave one agree on."""
    given = Counter(label for label in people if label is not None)
    if not given:
        return None
    ((label, most),) = given.most_common(1)
    return label if 2 * most > given.total() else None

"""Agreement of people with each other beside that of models with people, task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.nominal import (
    GroupAgreement,
    PairAgreement,
    Rated,
    agree_in_group,
    agree_in_pair,
    pairs_of,
    raters_of,
)
from ai_therapist.records.base import Record

_PERSON = "person:"
_PANEL = "panel of "

CONSENSUS = "people who agree"
"""The label that more than half of the people gave an item; none where they are split or fewer than two labelled."""


class TaskReliability(Record):
    """Everything about one task."""

    task: str
    sessions: int
    people: GroupAgreement
    """People among each other: what a model could reach."""
    between_people: tuple[PairAgreement, ...]
    models: tuple[GroupAgreement, ...]
    """Each model together with the people, as one more rater."""
    with_people: tuple[PairAgreement, ...]
    """Each model with each person, and with the label that most people gave."""
    between_models: tuple[PairAgreement, ...]
    """Models among each other, without panels, which follow their members. Agreeing is not being right."""


class Reliability(Record):
    """How far raters agree, by task."""

    schema_version: str = "1"
    resamples: int
    tasks: tuple[TaskReliability, ...]


def reliability(
    rated: Mapping[str, Sequence[Rated]], resampling: Resampling, *, all_are_people: bool = False
) -> Reliability:
    """Agreement in every task. Raters whose name begins with "person:" are people, all others models.

    With `all_are_people`, for tables of one's own, everybody is a person where nobody is so named.
    """
    tasks = [_of_task(task, items, resampling, all_are_people=all_are_people) for task, items in rated.items()]
    return Reliability(resamples=resampling.resamples, tasks=tuple(tasks))


def _of_task(task: str, rated: Sequence[Rated], resampling: Resampling, *, all_are_people: bool) -> TaskReliability:
    raters = raters_of(rated)
    people = tuple(rater for rater in raters if rater.startswith(_PERSON))
    if all_are_people and not people:
        people = raters
    models = tuple(rater for rater in raters if rater not in people)
    single = [model for model in models if not model.startswith(_PANEL)]
    judged = [each.model_copy(update={"labels": _with_consensus(each, people)}) for each in rated]
    beside = [(model, other) for model in models for other in (*people, *((CONSENSUS,) if len(people) > 1 else ()))]
    return TaskReliability(
        task=task,
        sessions=len({each.session for each in rated}),
        people=agree_in_group(rated, people, resampling),
        between_people=tuple(agree_in_pair(rated, one, other, resampling) for one, other in pairs_of(people)),
        models=tuple(agree_in_group(rated, (*people, model), resampling) for model in models),
        with_people=tuple(agree_in_pair(judged, one, other, resampling) for one, other in beside),
        between_models=tuple(agree_in_pair(rated, one, other, resampling) for one, other in pairs_of(single)),
    )


def _with_consensus(rated: Rated, people: Sequence[str]) -> dict[str, str | None]:
    given = Counter(label for person in people if (label := rated.labels.get(person)) is not None)
    most = given.most_common(1)
    settled = most and 2 * most[0][1] > given.total() and given.total() > 1
    return {**rated.labels, **({CONSENSUS: most[0][0]} if settled else {})}

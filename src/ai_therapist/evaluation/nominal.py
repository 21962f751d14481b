"""How far raters agree on labels: Cohen's and Fleiss' kappa, Krippendorff's alpha, with intervals over sessions.

Cohen (1960) compares two raters, Fleiss (1971) any fixed number on the same items, Krippendorff (2011) any number with
gaps. All are 1 for full agreement and 0 for as much as chance gives. Each is a closed form of counts that add up over
sessions, so that one formula gives the figure and its resamples. An abstention is no label: it is counted, and in no
figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ai_therapist.evaluation import metrics
from ai_therapist.evaluation.bootstrap import Statistic, score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.records.base import Record
from ai_therapist.records.score import Score, Unscored

Counts = NDArray[np.float64]


class Rated(Record):
    """One item and what each rater said of it; None for an abstention."""

    session: str
    """What is resampled as a whole: what one person says in an hour is not independent."""
    item: str
    labels: dict[str, str | None]
    """By rater."""


class PairAgreement(Record):
    """Two raters over the items that both labelled."""

    one: str
    other: str
    kappa: Score
    """Cohen's kappa."""
    same: Score
    """Share of items with the same label, chance and all."""
    n: Annotated[int, Field(ge=0)]


class ClassAgreement(Record):
    """One class against all others."""

    name: str
    alpha: Score
    """Krippendorff's alpha of "this class or another"."""
    given: Annotated[int, Field(ge=0)]
    """How often it was given to items that at least two labelled."""


class GroupAgreement(Record):
    """Several raters together."""

    raters: tuple[str, ...]
    alpha: Score
    """Krippendorff's alpha for nominal data, over items that at least two labelled."""
    fleiss: Score
    """Fleiss' kappa, over items that every rater labelled."""
    per_class: tuple[ClassAgreement, ...]
    items: Annotated[int, Field(ge=0)]
    """Items that at least two labelled."""
    complete: Annotated[int, Field(ge=0)]
    """Items that all labelled."""
    abstentions: Annotated[int, Field(ge=0)]


def agree_in_pair(rated: Sequence[Rated], one: str, other: str, resampling: Resampling) -> PairAgreement:
    """Cohen's kappa of two raters. Unscored where they share no item, or gave one and the same label only."""
    both = [
        (each.session, first, second)
        for each in rated
        if (first := each.labels.get(one)) is not None and (second := each.labels.get(other)) is not None
    ]
    if not both:
        nothing = Unscored(reason="no item was labelled by both")
        return PairAgreement(one=one, other=other, kappa=nothing, same=nothing, n=0)
    place = _places(label for _, *labels in both for label in labels)
    session = _places(name for name, *_ in both)
    # Neither rater is right, and kappa is the same whichever stands in the rows; the last column stays empty.
    counts = np.zeros((len(session), len(place), len(place) + 1))
    for name, first, second in both:
        counts[session[name], place[first], place[second]] += 1
    found = score_all(counts, {"kappa": metrics.kappa, "same": metrics.accuracy}, len(both), resampling)
    if len(place) == 1:
        found["kappa"] = _ONE_LABEL
    return PairAgreement(one=one, other=other, kappa=found["kappa"], same=found["same"], n=len(both))


def agree_in_group(rated: Sequence[Rated], raters: Sequence[str], resampling: Resampling) -> GroupAgreement:
    """Alpha and Fleiss' kappa of these raters, and alpha for each class.

    Unscored with a reason for fewer than two raters, for nothing that two labelled, and where only one label was given.
    """
    chosen = tuple(sorted(set(raters)))
    answers = [(each.session, [each.labels[rater] for rater in chosen if rater in each.labels]) for each in rated]
    given = [(name, [label for label in labels if label is not None]) for name, labels in answers]
    several = [(name, labels) for name, labels in given if len(labels) > 1]
    complete = [(name, labels) for name, labels in several if len(labels) == len(chosen)]
    place = _places(label for _, labels in several for label in labels)
    alpha, per_class = _alpha(several, place, resampling)
    fleiss = _fleiss(complete, len(chosen), place, resampling)
    if len(chosen) < 2:
        alpha = fleiss = Unscored(reason="agreement needs at least two raters")
    return GroupAgreement(
        raters=chosen,
        alpha=alpha,
        fleiss=fleiss,
        per_class=per_class,
        items=len(several),
        complete=len(complete),
        abstentions=sum(label is None for _, labels in answers for label in labels),
    )


def raters_of(rated: Iterable[Rated]) -> tuple[str, ...]:
    """Everyone who answered, in order."""
    return tuple(sorted({rater for each in rated for rater in each.labels}))


def pairs_of(raters: Sequence[str]) -> list[tuple[str, str]]:
    """Every two of them."""
    return list(combinations(sorted(set(raters)), 2))


# the formulas


def fleiss_kappa(counts: Counts) -> NDArray[np.float64]:
    """Fleiss' kappa of counts (…, K + 3): how often each class was given; then the number of items, the sum over items
    and classes of squared counts, and the sum over items of the ratings each has. NaN where it is undefined."""
    by_class, items, squares, ratings = counts[..., :-3], counts[..., -3], counts[..., -2], counts[..., -1]
    each = _ratio(ratings, items)
    agreed = _ratio(squares - ratings, ratings * (each - 1))
    shares = _ratio(by_class, ratings[..., None])
    chance = (shares**2).sum(-1)
    return _ratio(agreed - chance, 1 - chance)


def nominal_alpha(coincidences: Counts) -> NDArray[np.float64]:
    """Krippendorff's alpha of coincidences (…, K, K): 1 - (n - 1)(n - sum o_cc) / (n² - sum n_c²)."""
    by_class = coincidences.sum(-1)
    n = by_class.sum(-1)
    apart = n - np.trace(coincidences, axis1=-2, axis2=-1)
    return 1 - _ratio((n - 1) * apart, n * n - (by_class**2).sum(-1))


def coincidences_by_session(items: Sequence[tuple[str, Sequence[str]]], place: Mapping[str, int]) -> Counts:
    """Coincidences of shape (sessions, K, K): every ordered pair of labels of an item, weighted 1 / (labels - 1)."""
    session = _places(name for name, _ in items)
    counts = np.zeros((len(session), len(place), len(place)))
    for name, labels in items:
        told = np.bincount([place[label] for label in labels], minlength=len(place)).astype(float)
        counts[session[name]] += (np.outer(told, told) - np.diag(told)) / (len(labels) - 1)
    return counts


_ONE_LABEL = Unscored(reason="only one label was given")


def _alpha(
    several: Sequence[tuple[str, Sequence[str]]], place: Mapping[str, int], resampling: Resampling
) -> tuple[Score, tuple[ClassAgreement, ...]]:
    if not several:
        return Unscored(reason="no item was labelled by two"), ()
    counts = coincidences_by_session(several, place)
    statistics: dict[str, Statistic] = {"": nominal_alpha}
    statistics |= {name: _one_against_others(number) for name, number in place.items()}
    found = score_all(counts, statistics, len(several), resampling)
    if len(place) == 1:
        found = dict.fromkeys(found, _ONE_LABEL)
    given = counts.sum((0, -1))
    per_class = tuple(
        ClassAgreement(name=name, alpha=found[name], given=round(float(given[number])))
        for name, number in place.items()
    )
    return found[""], per_class


def _one_against_others(number: int) -> Statistic:
    def statistic(coincidences: Counts) -> NDArray[np.float64]:
        both = coincidences[..., number, number]
        mixed = coincidences[..., number, :].sum(-1) - both
        rest = coincidences.sum((-2, -1)) - both - 2 * mixed
        return nominal_alpha(np.stack([np.stack([both, mixed], -1), np.stack([mixed, rest], -1)], -2))

    return statistic


def _fleiss(
    complete: Sequence[tuple[str, Sequence[str]]], raters: int, place: Mapping[str, int], resampling: Resampling
) -> Score:
    if not complete:
        return Unscored(reason=f"no item was labelled by all {raters}")
    session = _places(name for name, _ in complete)
    counts = np.zeros((len(session), len(place) + 3))
    for name, labels in complete:
        told = np.bincount([place[label] for label in labels], minlength=len(place))
        counts[session[name]] += [*told, 1, (told**2).sum(), len(labels)]
    if np.count_nonzero(counts[:, :-3].sum(0)) == 1:
        return _ONE_LABEL
    return score_all(counts, {"kappa": fleiss_kappa}, len(complete), resampling)["kappa"]


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(sorted(set(names)))}


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quotient; NaN where the whole is zero, up to rounding."""
    safe = np.where(np.abs(whole) < 1e-12, np.nan, whole)
    return np.asarray(part / safe, dtype=np.float64)

"""Classification metrics as closed forms of confusion counts, so that one point and 10,000 resamples are one formula.

Counts have the shape (…, K, K + 1): rows are gold classes, columns predicted classes, and the last column holds what
is no class at all: abstentions and answers that cannot be read. Those are errors; no row is ever dropped. Leading
axes are resamples. Where a figure is undefined (0/0) the functions give NaN, and only `scores` turns figures into
records, with a reason instead of NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]
"""Confusion counts of shape (…, K, K + 1)."""
Figures = NDArray[np.float64]


class Answer(NamedTuple):
    """What was expected of one item and what was given; the session is the unit that is resampled."""

    session: str
    gold: str
    given: str | None
    """None for an abstention or an answer that cannot be read."""


def unknown_gold(answers: Sequence[Answer], classes: Sequence[str]) -> int:
    """How many gold labels are not among `classes`."""
    return sum(answer.gold not in classes for answer in answers)


def confusion_by_session(answers: Sequence[Answer], classes: Sequence[str]) -> Counts:
    """Confusion counts of shape (sessions, K, K + 1), sessions in the order of their ids.

    A given label outside `classes` counts in the last column. Raises ValueError where a gold label is outside.
    """
    if unknown_gold(answers, classes):
        raise ValueError("a gold label is not among the classes")
    row = {name: place for place, name in enumerate(classes)}
    cluster = {name: place for place, name in enumerate(sorted({answer.session for answer in answers}))}
    size = len(classes)
    places = [
        (cluster[answer.session] * size + row[answer.gold]) * (size + 1)
        + (size if answer.given is None else row.get(answer.given, size))
        for answer in answers
    ]
    flat = np.bincount(np.asarray(places, dtype=np.int64), minlength=len(cluster) * size * (size + 1))
    return flat.reshape(len(cluster), size, size + 1).astype(np.float64)


def accuracy(counts: Counts) -> Figures:
    """Share of items whose given class is the gold class."""
    return ratio(_hits(counts).sum(-1), counts.sum((-2, -1)))


def balanced_accuracy(counts: Counts) -> Figures:
    """Mean recall over the classes that gold contains."""
    present = _gold(counts) > 0
    return ratio(np.where(present, np.nan_to_num(recall(counts)), 0).sum(-1), present.sum(-1))


def abstention_rate(counts: Counts) -> Figures:
    """Share of items without a readable answer."""
    return ratio(counts[..., -1].sum(-1), counts.sum((-2, -1)))


def precision(counts: Counts) -> Figures:
    """Per class: share of the items given this class that are of it. NaN where it was never given."""
    return ratio(_hits(counts), _given(counts))


def recall(counts: Counts) -> Figures:
    """Per class: share of the items of this class that were given it. NaN where gold has none."""
    return ratio(_hits(counts), _gold(counts))


def f1(counts: Counts) -> Figures:
    """Per class: harmonic mean of precision and recall, 2·hits / (gold + given). NaN where both are empty."""
    return ratio(2 * _hits(counts), _gold(counts) + _given(counts))


def macro_f1(counts: Counts) -> Figures:
    """Mean F1 over the classes that gold contains.

    A class that gold lacks has no recall to speak of; giving it wrongly costs recall in the class it was taken from.
    """
    present = _gold(counts) > 0
    return ratio(np.where(present, np.nan_to_num(f1(counts)), 0).sum(-1), present.sum(-1))


def weighted_f1(counts: Counts) -> Figures:
    """Mean F1 over classes, each weighted by how often gold contains it."""
    support = _gold(counts)
    return ratio((np.nan_to_num(f1(counts)) * support).sum(-1), support.sum(-1))


def kappa(counts: Counts) -> Figures:
    """Cohen's kappa (Cohen 1960): agreement beyond what the two label distributions give by chance.

    "No answer" is a category of its own that gold never has. NaN where chance alone gives full agreement.
    """
    total = counts.sum((-2, -1))
    observed = ratio(_hits(counts).sum(-1), total)
    chance = ratio((_gold(counts) * _given(counts)).sum(-1), total**2)
    return ratio(observed - chance, 1 - chance)


def mcc(counts: Counts) -> Figures:
    """Matthews correlation of K classes (Gorodkin 2004), as scikit-learn computes it.

    "No answer" is a category of its own that gold never has. NaN where gold or the answers are of one category.
    """
    total = counts.sum((-2, -1))
    given = np.einsum("...ij->...j", counts)
    covariance = total * _hits(counts).sum(-1) - (_gold(counts) * given[..., :-1]).sum(-1)
    spread = (total**2 - (_gold(counts) ** 2).sum(-1)) * (total**2 - (given**2).sum(-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def preference_bias(counts: Counts) -> Figures:
    """How unevenly a system prefers some classes over others whatever gold says; 0 is even, less is better.

    Bradley-Terry strengths over the confusion matrix (Kang et al. 2024, as EmoDynamiX prints it): an item of class j
    that was given class i is a win of i over j. At most twenty sweeps of Newman's iteration from equal strengths,
    scaled to a mean of 1; the figure is their standard deviation. Only classes that gold contains take part.
    """
    size = counts.shape[-2]
    wins = np.ascontiguousarray(np.moveaxis(counts[..., :size], (-2, -1), (1, 0)), dtype=np.float64)
    present = wins.sum(0) > 0
    strength = np.where(present, 1.0, 0.0)
    lost_to = np.ascontiguousarray(wins.swapaxes(0, 1))
    for _ in range(_SWEEPS):
        before = strength.copy()
        for own in range(size):
            share = strength + (strength[own] + _NEVER_ZERO)
            np.reciprocal(share, out=share)
            lost = np.einsum("j...,j...->...", lost_to[own], share)
            share *= strength
            won = np.einsum("j...,j...->...", wins[own], share)
            strength[own] = np.divide(won, lost, out=np.zeros_like(won), where=present[own] & (lost > 0))
        if np.abs(strength - before).max() < _SETTLED:
            break
    classes = present.sum(0)
    scaled = strength * np.nan_to_num(ratio(classes.astype(np.float64), strength.sum(0)))
    deviation = np.where(present, (scaled - 1) ** 2, 0).sum(0)
    bias = np.sqrt(ratio(deviation, np.asarray(classes, dtype=np.float64)))
    return np.where(strength.sum(0) > 0, bias, np.nan)


_SWEEPS = 20
_NEVER_ZERO = 1e-6
_SETTLED = 1e-7
"""Change of a strength in a sweep below which further sweeps move no printed digit."""


def _gold(counts: Counts) -> Figures:
    # einsum adds up short axes four to eight times faster than `sum`.
    sums: Figures = np.einsum("...ij->...i", counts)
    return sums


def _given(counts: Counts) -> Figures:
    sums: Figures = np.einsum("...ij->...j", counts[..., :-1])
    return sums


def _hits(counts: Counts) -> Figures:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def ratio(numerator: Figures, denominator: Figures) -> Figures:
    """Element by element, with one denominator for all figures of a last axis where needed; NaN where it is zero."""
    wide = np.broadcast_to(np.asarray(denominator, dtype=np.float64), np.shape(numerator))
    result: Figures = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, wide, out=result, where=wide > 0)
    return result

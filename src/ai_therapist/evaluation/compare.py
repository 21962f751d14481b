"""Two systems on the same items: paired differences with intervals and p-values over sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ai_therapist.dataset.render import LABEL_FIELDS
from ai_therapist.errors import RequestError
from ai_therapist.evaluation.bootstrap import Statistic, session_weights, weighted_figures
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer, confusion_by_session, unknown_gold
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.scores import STATISTICS
from ai_therapist.records.base import Record
from ai_therapist.records.score import Unscored

_COMPARED = ("accuracy", "macro_f1", "weighted_f1", "kappa")


class Difference(Record):
    """One figure of two systems, A minus B."""

    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    """95 % percentile interval over paired resamples of sessions; None with a single session."""
    p: float | None
    """Share of random exchanges of A and B within sessions that differ at least as much; None with one session."""
    n: Annotated[int, Field(gt=0)]
    sessions: Annotated[int, Field(gt=0)]


Differences = dict[str, Difference | Unscored]
"""By figure."""


def compare_answers(
    a: Sequence[Answer], b: Sequence[Answer], classes: Sequence[str], resampling: Resampling
) -> Differences:
    """Differences of the figures that compare two systems; the answers are those to the same items in one order.

    The interval resamples sessions, the same for both. The p-value is that of a two-sided permutation test: in each
    session the two systems change places or not, by a fair coin; the observed arrangement counts as one of them.
    """
    if not a or unknown_gold(a, classes):
        reason = "a gold label is outside the classes" if a else "there is nothing to compare"
        return dict.fromkeys(_COMPARED, Unscored(reason=reason))
    left, right = confusion_by_session(a, classes), confusion_by_session(b, classes)
    return _differences(left, right, {name: STATISTICS[name] for name in _COMPARED}, len(a), resampling)


def compare_predictions(
    a: Sequence[Prediction], b: Sequence[Prediction], resampling: Resampling
) -> dict[str, Differences]:
    """Differences by field over the items that both systems were asked and that have a gold label.

    Raises RequestError where the two hold different gold labels for an item: then they are not of the same data.
    """
    found = {}
    for field in LABEL_FIELDS:
        left = {row.example: row for row in a if row.field is field and row.gold is not None}
        right = {row.example: row for row in b if row.field is field and row.gold is not None}
        shared = [key for key in left if key in right]
        for key in shared:
            if left[key].gold != right[key].gold:
                raise RequestError(f"the two hold different gold labels for {key} ({field.value}): other data")
        found[field.name.lower()] = compare_answers(
            [Answer(left[key].session, left[key].gold or "", left[key].given) for key in shared],
            [Answer(right[key].session, right[key].gold or "", right[key].given) for key in shared],
            field.choices,
            resampling,
        )
    return found


def against(
    name: str, predictions: Mapping[str, Sequence[Prediction]], resampling: Resampling
) -> dict[str, dict[str, Differences]]:
    """The differences of one system to every other, by the other's name; empty without that system."""
    own = predictions.get(name)
    if own is None:
        return {}
    return {other: compare_predictions(own, rows, resampling) for other, rows in predictions.items() if other != name}


def _differences(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    statistics: Mapping[str, Statistic],
    n: int,
    resampling: Resampling,
) -> Differences:
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    exchanged: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    coin = np.random.default_rng(resampling.seed + 1)
    both = np.stack([left, right], axis=1)
    paired = {name: _minus(statistic) for name, statistic in statistics.items()}
    if len(left) > 1:
        for weights in session_weights(len(left), resampling):
            kept = coin.integers(0, 2, size=weights.shape).astype(np.float64)
            for name, figures in weighted_figures(weights, both, paired).items():
                drawn[name].append(figures)
            # A session is kept as it is or turned over: weight 1 on the one or on the other arrangement.
            turned = np.concatenate([both, both[:, ::-1]])
            for name, figures in weighted_figures(np.hstack([kept, 1 - kept]), turned, paired).items():
                exchanged[name].append(figures)
    found: Differences = {}
    for name, statistic in statistics.items():
        a, b = float(statistic(left.sum(0))), float(statistic(right.sum(0)))
        found[name] = (
            Unscored(reason="undefined for these counts")
            if np.isnan(a) or np.isnan(b)
            else _difference((a, b), drawn[name], exchanged[name], n, len(left))
        )
    return found


def _difference(
    pair: tuple[float, float],
    drawn: Sequence[NDArray[np.float64]],
    exchanged: Sequence[NDArray[np.float64]],
    n: int,
    sessions: int,
) -> Difference:
    a, b = pair
    low = high = p = None
    if drawn:
        differences, changed = np.concatenate(drawn), np.concatenate(exchanged)
        defined = differences[~np.isnan(differences)]
        if len(defined):
            low, high = (float(edge) for edge in np.quantile(defined, (0.025, 0.975)))
        # Rounding must not make an arrangement that equals the observed one look smaller.
        at_least = np.abs(np.nan_to_num(changed)) >= abs(a - b) - 1e-12
        p = float((1 + at_least.sum()) / (1 + len(changed)))
    return Difference(a=a, b=b, difference=a - b, low=low, high=high, p=p, n=n, sessions=sessions)


def _minus(statistic: Statistic) -> Statistic:
    """The figure of the first of two systems minus that of the second; counts are (…, 2, K, K + 1)."""
    return lambda counts: statistic(counts[..., 0, :, :]) - statistic(counts[..., 1, :, :])

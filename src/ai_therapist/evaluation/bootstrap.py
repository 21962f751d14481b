"""95 % intervals by resampling whole sessions, since what one person says in an hour is not independent.

Every figure is a closed form of counts that add up over sessions, so a resample is a weighting of sessions: one matrix
product of weights (resamples, sessions) with counts (sessions, …) gives the counts of all resamples at once.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ai_therapist.evaluation.config import Resampling
from ai_therapist.records.score import Scored, Unscored

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Counts with leading axes to figures with the same leading axes; NaN where undefined."""

_BLOCK_DRAWS = 4_000_000
"""Draws held in memory at once: 32 MB."""
_BLOCK_ROWS = 500
"""Resamples whose counts are held at once."""
_FEW_SESSIONS = 8
_SHARE_DEFINED = 0.95
"""An interval is given where at least this share of the resamples has a defined figure."""


def score_all(
    counts: NDArray[np.float64], statistics: Mapping[str, Statistic], n: int, resampling: Resampling
) -> dict[str, Scored | Unscored]:
    """Each figure over all sessions with its percentile interval; `counts` has one row per session.

    Unscored where the figure is undefined. With a single session, or where more than 5 % of the resamples leave the
    figure undefined, the value stands without an interval: nothing is known of how sessions differ.
    """
    names = list(statistics)
    if not len(counts):
        return dict.fromkeys(names, Unscored(reason="there is nothing to score"))
    whole = counts.sum(0)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    if len(counts) > 1:
        for weights in session_weights(len(counts), resampling):
            for name, figures in weighted_figures(weights, counts, statistics).items():
                drawn[name].append(figures)
    return {name: _score(float(statistics[name](whole)), drawn[name], n) for name in names}


def _score(value: float, drawn: list[NDArray[np.float64]], n: int) -> Scored | Unscored:
    if np.isnan(value):
        return Unscored(reason="undefined for these counts")
    if not drawn:
        return Scored(value=value, n=n)
    figures = np.concatenate(drawn)
    defined = figures[~np.isnan(figures)]
    if len(defined) < _SHARE_DEFINED * len(figures):
        return Scored(value=value, n=n)
    low, high = np.quantile(defined, (0.025, 0.975))
    return Scored(value=value, low=float(low), high=float(high), n=n)


def weighted_figures(
    weights: NDArray[np.float64], counts: NDArray[np.float64], statistics: Mapping[str, Statistic]
) -> dict[str, NDArray[np.float64]]:
    """Each figure for each row of `weights` (rows, sessions), whole numbers up to the number of sessions."""
    sessions = len(counts)
    flat = counts.reshape(sessions, -1)
    rows, places = weights, np.arange(len(weights))
    if sessions <= _FEW_SESSIONS:
        # Few sessions can be drawn in few ways: each is computed once.
        keys = weights @ (sessions + 1.0) ** np.arange(sessions)
        _, first, places = np.unique(keys, return_index=True, return_inverse=True)
        rows = weights[first]
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    # Blocks that fit the cache: the statistics pass over their counts many times.
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS] @ flat
        for name, statistic in statistics.items():
            parts[name].append(statistic(block.reshape(len(block), *counts.shape[1:])))
    return {name: np.concatenate(figures)[places] for name, figures in parts.items()}


def session_weights(sessions: int, resampling: Resampling) -> Iterator[NDArray[np.float64]]:
    """How often each resample draws each session, shape (resamples of a block, sessions); seeded."""
    rng = np.random.default_rng(resampling.seed)
    per_block = max(1, _BLOCK_DRAWS // sessions)
    for start in range(0, resampling.resamples, per_block):
        rows = min(per_block, resampling.resamples - start)
        draws = rng.integers(0, sessions, size=(rows, sessions))
        draws += sessions * np.arange(rows)[:, None]
        weights = np.bincount(draws.ravel(), minlength=rows * sessions).reshape(rows, sessions)
        yield weights.astype(np.float64)

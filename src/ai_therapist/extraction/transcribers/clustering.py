"""Windows of speech grouped by voice, and how many voices there are.

Every row is one window: mean and spread of twelve MFCCs, and the median pitch.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from ai_therapist.errors import MissingExtra

Array = NDArray[np.float64]

MOST_VOICES = 8
"""Voices that are counted up to."""

_APART = 1.5
"""Distance of the two nearest voices' mean timbre, as a multiple of the mean distance of a window from its own voice's.

Two of the synthetic sample voices are 1.7 to 2.4 apart; halves of one voice 0.4 to 1.3."""

_LEAST_SPREAD = 10.0
"""Distance of windows from their voice's mean below which it is no human unevenness: in speech it is about 16."""

_FEWEST_WINDOWS = 4
"""Windows, of a second at most, below which a group is no voice but a cough, a laugh or noise."""

_SHORT = 20
"""Below this many windows in all, two are enough."""

_MOST_ROWS = 2000
"""Rows that are grouped with each other, which takes their square in memory; further ones join the nearest group."""


def cluster(statistics: Array, speakers: int) -> NDArray[np.int64]:
    """Number of the voice of each window, from 0; at most `speakers` voices, or as many as there seem to be for 0.

    Raises MissingExtra without scikit-learn.
    """
    scaled = _scaled(statistics)
    step = -(-len(scaled) // _MOST_ROWS)
    some = scaled[::step]
    voices = min(speakers, len(some)) if speakers else _count(some, statistics[::step])
    labels = _grouped(some, voices)
    if step == 1:
        return labels
    centres = np.stack([some[labels == voice].mean(axis=0) for voice in range(int(labels.max()) + 1)])
    distances = ((scaled[:, None, :] - centres[None]) ** 2).sum(axis=2)
    return cast(NDArray[np.int64], distances.argmin(axis=1))


def _count(scaled: Array, statistics: Array) -> int:
    """The most voices that are all apart and none too small; 1 where no two are."""
    fewest = _FEWEST_WINDOWS if len(scaled) >= _SHORT else 2
    for voices in range(min(MOST_VOICES, len(scaled) // fewest), 1, -1):
        labels = _grouped(scaled, voices)
        if np.bincount(labels).min() >= fewest and _apart(statistics[:, :12], labels) >= _APART:
            return voices
    return 1


def _apart(timbre: Array, labels: NDArray[np.int64]) -> float:
    centres = np.stack([timbre[labels == voice].mean(axis=0) for voice in range(int(labels.max()) + 1)])
    within = float(np.linalg.norm(timbre - centres[labels], axis=1).mean())
    between = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    nearest = float(between[~np.eye(len(centres), dtype=bool)].min())
    return nearest / max(within, _LEAST_SPREAD)


def _grouped(scaled: Array, voices: int) -> NDArray[np.int64]:
    if voices == 1:
        return np.zeros(len(scaled), np.int64)
    try:
        from sklearn.cluster import AgglomerativeClustering
    except ImportError:
        raise MissingExtra("telling voices apart", "scikit-learn", "speech") from None
    # Ward's linkage, since average linkage gives an odd window a cluster of its own.
    return cast(NDArray[np.int64], AgglomerativeClustering(n_clusters=voices, linkage="ward").fit_predict(scaled))


def _scaled(statistics: Array) -> Array:
    """Columns of equal spread, windows without pitch given the median one, and pitch weighted up."""
    known = ~np.isnan(statistics[:, -1])
    filled = statistics.copy()
    filled[~known, -1] = np.median(statistics[known, -1]) if known.any() else 0.0
    spread = filled.std(axis=0)
    scores = (filled - filled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # Pitch is one column of 25, yet says most about who speaks.
    scores[:, -1] *= 4
    return cast(Array, scores)

"""How far two raters agree on numbers: weighted kappa, ICC(2,1), Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ai_therapist.records.base import Record
from ai_therapist.records.score import Score, Scored, Unscored


class RaterAgreement(Record):
    """Agreement of two raters over the same items; every figure is 1 for full agreement."""

    weighted_kappa: Score
    """Cohen's kappa with quadratic weights (Cohen 1968)."""
    icc_2_1: Score
    """Two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979)."""
    alpha: Score
    """Krippendorff's alpha for interval data."""
    n: int


def agreement(one: Sequence[float], other: Sequence[float]) -> RaterAgreement:
    """Agreement of two raters. Unscored where fewer than two items were rated or nobody's ratings differ.

    Raises ValueError where the two rated different numbers of items.
    """
    if len(one) != len(other):
        raise ValueError("the two raters rated different numbers of items")
    table = np.array([one, other], dtype=np.float64).T
    n = len(table)
    if n < 2 or np.ptp(table) == 0:
        nothing = Unscored(reason="fewer than two items were rated by both" if n < 2 else "all ratings are the same")
        return RaterAgreement(weighted_kappa=nothing, icc_2_1=nothing, alpha=nothing, n=n)
    squares = ((table[:, 0] - table[:, 1]) ** 2).mean()
    chance = ((table[:, :1] - table[None, :, 1]) ** 2).mean()
    pooled = table.ravel()
    expected = ((pooled[:, None] - pooled[None, :]) ** 2).sum() / (len(pooled) * (len(pooled) - 1))
    kappa = Scored(value=1 - squares / chance, n=n) if chance else Unscored(reason="both raters gave one rating only")
    return RaterAgreement(
        weighted_kappa=kappa,
        icc_2_1=_icc(table),
        alpha=Scored(value=1 - squares / expected, n=n),
        n=n,
    )


def _icc(table: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Score:
    n, k = table.shape
    whole = table.mean()
    rows = k * ((table.mean(1) - whole) ** 2).sum() / (n - 1)
    columns = n * ((table.mean(0) - whole) ** 2).sum() / (k - 1)
    rest = ((table - whole) ** 2).sum() - rows * (n - 1) - columns * (k - 1)
    error = rest / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    return Scored(value=float((rows - error) / below), n=n) if below else Unscored(reason="no variance")

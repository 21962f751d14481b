"""Whether a system is right as often as it says: expected calibration error and Brier score, as sums over sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ai_therapist.evaluation.metrics import Answer, Figures, ratio

BINS = 15
"""Bins of equal width between 0 and 1, as in Guo et al. 2017."""
SUMS = 3 * BINS + 2
"""Per bin: confidences, hits, answers; then the squared distances of all answers, and how many there are."""

Probabilities = Mapping[str, float] | None


def calibration_by_session(
    answers: Sequence[Answer], probabilities: Sequence[Probabilities], classes: Sequence[str]
) -> NDArray[np.float64]:
    """Sums of shape (sessions, SUMS), sessions in the order of their ids; answers without probabilities add nothing.

    A class that the probabilities leave out has the probability 0.
    """
    place = {name: at for at, name in enumerate(sorted({answer.session for answer in answers}))}
    sums = np.zeros((len(place), SUMS))
    for answer, weights in zip(answers, probabilities, strict=True):
        if weights is None or answer.given is None:
            continue
        row = sums[place[answer.session]]
        confidence = weights.get(answer.given, 0.0)
        at = 3 * min(int(confidence * BINS), BINS - 1)
        row[at : at + 3] += (confidence, answer.gold == answer.given, 1)
        row[-2] += sum((weights.get(name, 0.0) - (name == answer.gold)) ** 2 for name in classes)
        row[-1] += 1
    return sums


def expected_calibration_error(sums: NDArray[np.float64]) -> Figures:
    """Mean distance between confidence and share of right answers over the bins, weighted by their answers."""
    bins = sums[..., : 3 * BINS].reshape(*sums.shape[:-1], BINS, 3)
    return ratio(np.abs(bins[..., 0] - bins[..., 1]).sum(-1), sums[..., -1])


def brier(sums: NDArray[np.float64]) -> Figures:
    """Mean squared distance between the probabilities and the truth, added up over classes (Brier 1950): 0 to 2."""
    return ratio(sums[..., -2], sums[..., -1])

"""Scores of a set of answers: every figure with its interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from ai_therapist.evaluation import metrics
from ai_therapist.evaluation.bootstrap import Statistic, score_all
from ai_therapist.evaluation.calibration import (
    Probabilities,
    brier,
    calibration_by_session,
    expected_calibration_error,
)
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.records.base import Record
from ai_therapist.records.score import Score, Scored, Unscored

STATISTICS: dict[str, Statistic] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
    "kappa": metrics.kappa,
    "mcc": metrics.mcc,
    "preference_bias": metrics.preference_bias,
}
"""Every figure that follows from confusion counts, by its key in a report."""
_CALIBRATION: dict[str, Statistic] = {"ece": expected_calibration_error, "brier": brier}
_NEEDS_TWO_CLASSES = frozenset(STATISTICS) - {"accuracy"}


class ClassScore(Record):
    """One class; a figure is None where its denominator is zero."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: Annotated[int, Field(ge=0)]
    """How often gold contains the class."""


class LabelScores(Record):
    """Figures of one set of answers over one set of classes."""

    accuracy: Score
    balanced_accuracy: Score
    macro_f1: Score
    weighted_f1: Score
    kappa: Score
    mcc: Score
    preference_bias: Score
    """Spread of Bradley-Terry strengths over the confusion matrix; less is better."""
    abstention_rate: Score
    ece: Score
    """Calibration error over the answers that carry probabilities, which `ece.n` counts; the same for `brier`."""
    brier: Score
    per_class: tuple[ClassScore, ...]
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows gold, columns given, in the order of `classes`; the last column counts missing answers."""
    n: Annotated[int, Field(ge=0)]
    sessions: Annotated[int, Field(ge=0)]


def score_labels(
    answers: Sequence[Answer],
    classes: Sequence[str],
    resampling: Resampling,
    probabilities: Sequence[Probabilities] | None = None,
) -> LabelScores:
    """Score answers over `classes`. An abstention or a label outside the classes is an error, never left out.

    `probabilities` belong to the answers, one by one; None where a system gives none. Defined outcomes where there is
    nothing to say: without answers, or with a gold label outside the classes, every figure is Unscored; where every
    answer is missing, only the abstention rate is scored; where gold has one class only, the figures that compare
    classes are Unscored; without probabilities there is no calibration.
    """
    outside = metrics.unknown_gold(answers, classes)
    if not answers or outside:
        reason = f"{outside} gold labels are not in the codebook" if outside else "there is nothing to score"
        return unscored_labels(reason, classes, len(answers), len({answer.session for answer in answers}))
    counts = metrics.confusion_by_session(answers, classes)
    n = len(answers)
    whole = counts.sum(0)
    calibration = calibration_by_session(answers, probabilities or [None] * n, classes)
    scores: dict[str, Score] = dict(
        score_all(counts, STATISTICS | {"abstention_rate": metrics.abstention_rate}, n, resampling)
    )
    weighed = int(calibration[:, -1].sum())
    scores |= dict.fromkeys(_CALIBRATION, Unscored(reason="the answers carry no probabilities"))
    if weighed:
        scores |= score_all(calibration, _CALIBRATION, weighed, resampling)
    if whole[:, -1].sum() == n:
        scores |= dict.fromkeys((*STATISTICS, *_CALIBRATION), Unscored(reason="every answer is an abstention"))
    elif np.count_nonzero(whole.sum(1)) == 1:
        scores |= dict.fromkeys(_NEEDS_TWO_CLASSES, Unscored(reason="gold has one class only"))
    return LabelScores(
        **scores,
        per_class=_per_class(whole, classes),
        classes=tuple(classes),
        confusion=tuple(tuple(int(cell) for cell in row) for row in whole),
        n=n,
        sessions=len(counts),
    )


def unscored_labels(reason: str, classes: Sequence[str], n: int, sessions: int) -> LabelScores:
    """Scores in which every figure is missing for one reason."""
    nothing: dict[str, Score] = dict.fromkeys(FIGURES, Unscored(reason=reason))
    return LabelScores(**nothing, per_class=(), classes=tuple(classes), confusion=(), n=n, sessions=sessions)


FIGURES = (*STATISTICS, "abstention_rate", *_CALIBRATION)
"""The keys of all figures with an interval."""


def shown(score: Scored | Unscored) -> float | None:
    """The plain value of a score, or None."""
    return score.value if isinstance(score, Scored) else None


def _per_class(whole: metrics.Counts, classes: Sequence[str]) -> tuple[ClassScore, ...]:
    columns = zip(
        classes, metrics.precision(whole), metrics.recall(whole), metrics.f1(whole), whole.sum(1), strict=True
    )
    return tuple(
        ClassScore(name=name, precision=_plain(p), recall=_plain(r), f1=_plain(f), support=int(support))
        for name, p, r, f, support in columns
    )


def _plain(figure: float) -> float | None:
    return None if np.isnan(figure) else float(figure)

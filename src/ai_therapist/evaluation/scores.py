"""Scores of a set of answers: every figure with its interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from ai_therapist.evaluation import metrics
from ai_therapist.evaluation.bootstrap import Statistic, score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.records.base import Record
from ai_therapist.records.score import Score, Scored, Unscored

_STATISTICS: dict[str, Statistic] = {
    "accuracy": metrics.accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
    "kappa": metrics.kappa,
}
_NEEDS_TWO_CLASSES = frozenset({"macro_f1", "weighted_f1", "kappa"})


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
    macro_f1: Score
    weighted_f1: Score
    kappa: Score
    abstention_rate: Score
    per_class: tuple[ClassScore, ...]
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows gold, columns given, in the order of `classes`; the last column counts missing answers."""
    n: Annotated[int, Field(ge=0)]
    sessions: Annotated[int, Field(ge=0)]


def score_labels(answers: Sequence[Answer], classes: Sequence[str], resampling: Resampling) -> LabelScores:
    """Score answers over `classes`. An abstention or a label outside the classes is an error, never left out.

    Defined outcomes where there is nothing to say: without answers, or with a gold label outside the classes, every
    figure is Unscored; where every answer is missing, only the abstention rate is scored; where gold has one class
    only, the figures that compare classes are Unscored.
    """
    outside = metrics.unknown_gold(answers, classes)
    if not answers or outside:
        reason = f"{outside} gold labels are not in the codebook" if outside else "there is nothing to score"
        return _unscored(reason, classes, answers)
    counts = metrics.confusion_by_session(answers, classes)
    n = len(answers)
    scores = score_all(counts, _STATISTICS | {"abstention_rate": metrics.abstention_rate}, n, resampling)
    whole = counts.sum(0)
    if whole[:, -1].sum() == n:
        scores |= dict.fromkeys(_STATISTICS, Unscored(reason="every answer is an abstention"))
    elif np.count_nonzero(whole.sum(1)) == 1:
        scores |= dict.fromkeys(_NEEDS_TWO_CLASSES, Unscored(reason="gold has one class only"))
    return LabelScores(
        accuracy=scores["accuracy"],
        macro_f1=scores["macro_f1"],
        weighted_f1=scores["weighted_f1"],
        kappa=scores["kappa"],
        abstention_rate=scores["abstention_rate"],
        per_class=_per_class(whole, classes),
        classes=tuple(classes),
        confusion=tuple(tuple(int(cell) for cell in row) for row in whole),
        n=n,
        sessions=len(counts),
    )


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


def _unscored(reason: str, classes: Sequence[str], answers: Sequence[Answer]) -> LabelScores:
    nothing = Unscored(reason=reason)
    return LabelScores(
        accuracy=nothing,
        macro_f1=nothing,
        weighted_f1=nothing,
        kappa=nothing,
        abstention_rate=nothing,
        per_class=(),
        classes=tuple(classes),
        confusion=(),
        n=len(answers),
        sessions=len({answer.session for answer in answers}),
    )

"""Scores of answers: defined outcomes wherever there is nothing to say."""

import pytest

from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.evaluation.scores import LabelScores, score_labels, shown
from ai_therapist.records import Scored, Unscored
from ai_therapist.store.codec import decode, encode

CLASSES = ("joy", "fear")
FEW = Resampling(resamples=1000)


def scores(*rows: tuple[str, str, str | None]) -> LabelScores:
    return score_labels([Answer(*row) for row in rows], CLASSES, FEW)


def test_figures_of_two_sessions() -> None:
    found = scores(("a", "joy", "joy"), ("a", "fear", "joy"), ("b", "fear", "fear"), ("b", "joy", None))
    assert shown(found.accuracy) == 0.5
    assert shown(found.abstention_rate) == 0.25
    assert found.confusion == ((1, 0, 1), (1, 1, 0))
    assert (found.n, found.sessions) == (4, 2)
    joy, fear = found.per_class
    assert (joy.precision, joy.recall, joy.support) == (0.5, 0.5, 2)
    assert (fear.precision, fear.recall, fear.support) == (1.0, 0.5, 2)
    assert isinstance(found.accuracy, Scored)
    assert found.accuracy.low == found.accuracy.high == 0.5


def test_one_session_has_values_without_intervals() -> None:
    found = scores(("a", "joy", "joy"), ("a", "fear", "joy"))
    assert found.accuracy == Scored(value=0.5, n=2)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((), "there is nothing to score"),
        ((("a", "gloom", "joy"), ("a", "joy", "joy")), "1 gold labels are not in the codebook"),
    ],
)
def test_nothing_or_an_unknown_gold_label_leaves_every_figure_unscored(
    rows: tuple[tuple[str, str, str | None], ...], reason: str
) -> None:
    found = scores(*rows)
    for figure in (found.accuracy, found.macro_f1, found.weighted_f1, found.kappa, found.abstention_rate):
        assert figure == Unscored(reason=reason)
    assert found.confusion == ()
    assert found.n == len(rows)


def test_all_abstained_scores_the_abstention_rate_alone() -> None:
    found = scores(("a", "joy", None), ("b", "fear", "gloom"))
    assert shown(found.abstention_rate) == 1.0
    for figure in (found.accuracy, found.macro_f1, found.weighted_f1, found.kappa):
        assert figure == Unscored(reason="every answer is an abstention")
    assert found.confusion == ((0, 0, 1), (0, 0, 1))


def test_one_gold_class_leaves_the_figures_that_compare_classes_unscored() -> None:
    found = scores(("a", "joy", "joy"), ("b", "joy", "fear"))
    assert shown(found.accuracy) == 0.5
    for figure in (found.macro_f1, found.weighted_f1, found.kappa):
        assert figure == Unscored(reason="gold has one class only")


def test_a_class_without_support_has_no_recall_and_no_invented_zero() -> None:
    found = score_labels([Answer("a", "joy", "joy"), Answer("a", "fear", "fear")], ("joy", "fear", "anger"), FEW)
    anger = found.per_class[2]
    assert (anger.precision, anger.recall, anger.f1, anger.support) == (None, None, None, 0)
    assert shown(found.macro_f1) == 1.0


def test_scores_survive_the_codec() -> None:
    found = scores(("a", "joy", "joy"), ("b", "fear", None))
    assert decode(LabelScores, encode(found), "scores") == found

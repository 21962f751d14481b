"""Agreement of two raters against textbook values and scikit-learn."""

import pytest
from sklearn.metrics import cohen_kappa_score

from ai_therapist.evaluation.raters import agreement
from ai_therapist.evaluation.scores import shown
from ai_therapist.records import Unscored

ONE = [1, 2, 3, 3, 5, 4, 2, 1]
OTHER = [1, 3, 3, 2, 5, 5, 2, 2]


def test_weighted_kappa_equals_scikit_learns() -> None:
    found = agreement(ONE, OTHER)
    assert shown(found.weighted_kappa) == pytest.approx(cohen_kappa_score(ONE, OTHER, weights="quadratic"))
    assert found.n == 8


def test_full_agreement_is_one_and_a_constant_shift_costs() -> None:
    same = agreement(ONE, ONE)
    assert shown(same.icc_2_1) == shown(same.alpha) == shown(same.weighted_kappa) == pytest.approx(1)
    shifted = agreement(ONE, [value + 2 for value in ONE])
    icc = shown(shifted.icc_2_1)
    assert icc is not None
    assert icc < 0.6


def test_icc_equals_the_worked_example() -> None:
    # Two of the four judges of Shrout and Fleiss 1979, table 2; mean squares worked out by hand.
    one, other = [9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2]
    rows = 2 * sum(((a + b) / 2 - 61 / 12) ** 2 for a, b in zip(one, other, strict=True)) / 5
    columns = 6 * ((46 / 6 - 61 / 12) ** 2 + (15 / 6 - 61 / 12) ** 2)
    total = sum((value - 61 / 12) ** 2 for value in (*one, *other))
    error = (total - 5 * rows - columns) / 5
    expected = (rows - error) / (rows + error + 2 * (columns - error) / 6)
    assert shown(agreement(one, other).icc_2_1) == pytest.approx(expected)


def test_nothing_to_compare_has_a_reason() -> None:
    assert agreement([], []).alpha == Unscored(reason="fewer than two items were rated by both")
    assert agreement([2, 2], [2, 2]).icc_2_1 == Unscored(reason="all ratings are the same")
    with pytest.raises(ValueError, match="different numbers"):
        agreement([1], [])

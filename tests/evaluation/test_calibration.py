"""Calibration: textbook values, and sums that add up over sessions."""

import numpy as np
import pytest

from ai_therapist.evaluation.calibration import SUMS, brier, calibration_by_session, expected_calibration_error
from ai_therapist.evaluation.metrics import Answer

CLASSES = ("joy", "fear")


def test_brier_is_the_squared_distance_over_all_classes() -> None:
    answers = [Answer("a", "joy", "joy"), Answer("b", "joy", "fear")]
    sums = calibration_by_session(answers, [{"joy": 0.8, "fear": 0.2}, {"joy": 0.3, "fear": 0.7}], CLASSES)
    assert sums.shape == (2, SUMS)
    assert brier(sums[0]) == pytest.approx(0.2**2 + 0.2**2)
    assert brier(sums.sum(0)) == pytest.approx((0.08 + 0.98) / 2)


def test_a_system_that_is_right_as_often_as_it_says_has_no_calibration_error() -> None:
    answers = [Answer("a", "joy", "joy")] * 3 + [Answer("a", "fear", "joy")]
    sums = calibration_by_session(answers, [{"joy": 0.75, "fear": 0.25}] * 4, CLASSES)
    assert expected_calibration_error(sums.sum(0)) == pytest.approx(0)
    boasting = calibration_by_session(answers, [{"joy": 1.0}] * 4, CLASSES)
    assert expected_calibration_error(boasting.sum(0)) == pytest.approx(0.25)


def test_answers_without_probabilities_and_abstentions_add_nothing() -> None:
    answers = [Answer("a", "joy", "joy"), Answer("a", "joy", None)]
    sums = calibration_by_session(answers, [None, {"joy": 1.0}], CLASSES)
    assert not sums.any()
    assert np.isnan(brier(sums[0]))

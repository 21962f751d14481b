"""Paired differences: the same numbers as a plain loop, and no verdict where there is none."""

import numpy as np
import pytest

from ai_therapist.dataset.render import Field
from ai_therapist.errors import RequestError
from ai_therapist.evaluation.compare import Difference, against, compare_answers, compare_predictions
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.records import Label, Unscored

CLASSES = ("joy", "fear")
FEW = Resampling(resamples=2000)


def answers(rng: np.random.Generator, sessions: int, right: float) -> list[Answer]:
    gold = np.random.default_rng(1).integers(0, 2, 10 * sessions)
    hit = rng.random(10 * sessions) < right
    return [
        Answer(f"s{at // 10:02}", CLASSES[label], CLASSES[label if ok else 1 - label])
        for at, (label, ok) in enumerate(zip(gold, hit, strict=True))
    ]


def test_the_difference_and_its_interval_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    a, b = answers(rng, 12, 0.8), answers(rng, 12, 0.6)
    found = compare_answers(a, b, CLASSES, FEW)["accuracy"]
    assert isinstance(found, Difference)
    hits = np.array([[row.gold == row.given for row in rows] for rows in (a, b)]).reshape(2, 12, 10).sum(2)
    loop = np.random.default_rng(FEW.seed)
    drawn = [(hits[0, at].sum() - hits[1, at].sum()) / 120 for at in loop.integers(0, 12, size=(2000, 12))]
    assert found.difference == pytest.approx((hits[0].sum() - hits[1].sum()) / 120)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))))
    assert (found.n, found.sessions) == (120, 12)


def test_a_real_difference_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(3)
    good, poor = answers(rng, 20, 0.9), answers(rng, 20, 0.5)
    found = compare_answers(good, poor, CLASSES, FEW)["macro_f1"]
    same = compare_answers(good, good, CLASSES, FEW)["macro_f1"]
    assert isinstance(found, Difference)
    assert isinstance(same, Difference)
    assert found.p is not None
    assert found.p < 0.01
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_few_sessions_cannot_give_a_small_p() -> None:
    rows = [Answer(session, "joy", "joy") for session in ("a", "b")]
    wrong = [row._replace(given="fear") for row in rows]
    found = compare_answers(rows, wrong, CLASSES, FEW)["accuracy"]
    assert isinstance(found, Difference)
    assert found.p == pytest.approx(0.5, abs=0.05)
    one = compare_answers(rows[:1], wrong[:1], CLASSES, FEW)["accuracy"]
    assert isinstance(one, Difference)
    assert (one.low, one.high, one.p) == (None, None, None)


def test_nothing_to_compare_has_a_reason() -> None:
    assert compare_answers([], [], CLASSES, FEW)["kappa"] == Unscored(reason="there is nothing to compare")
    gloom = [Answer("a", "gloom", "joy")]
    assert compare_answers(gloom, gloom, CLASSES, FEW)["kappa"] == Unscored(
        reason="a gold label is outside the classes"
    )


def predicted(system: str, gold: str, given: str) -> Prediction:
    return Prediction(
        example="exm_000000000000",
        session="ses_000000000000",
        system=system,
        field=Field.STRATEGY,
        gold=gold,
        outcome=Label(value=given),
    )


def test_predictions_of_other_data_are_refused() -> None:
    one, other = predicted("a", "Approval", "Others"), predicted("b", "Others", "Others")
    with pytest.raises(RequestError, match="different gold labels for exm_000000000000"):
        compare_predictions([one], [other], FEW)


def test_one_system_against_all_others() -> None:
    rows = {name: [predicted(name, "Approval", "Approval")] for name in ("tuned", "base", "majority")}
    found = against("tuned", rows, FEW)
    assert set(found) == {"base", "majority"}
    assert against("absent", rows, FEW) == {}

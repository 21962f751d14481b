"""Metrics against scikit-learn, and what must hold for any counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_therapist.evaluation import metrics
from ai_therapist.evaluation.metrics import Answer, Counts, confusion_by_session

CLASSES = ("joy", "fear", "anger")
NO_ANSWER = "no answer"
FIGURES = (
    metrics.accuracy,
    metrics.balanced_accuracy,
    metrics.macro_f1,
    metrics.weighted_f1,
    metrics.kappa,
    metrics.mcc,
    metrics.preference_bias,
    metrics.abstention_rate,
)

answers = st.lists(
    st.builds(
        Answer,
        session=st.sampled_from(("s1", "s2", "s3")),
        gold=st.sampled_from(CLASSES),
        given=st.sampled_from((*CLASSES, None, "boredom")),
    ),
    min_size=1,
    max_size=40,
)


def counted(rows: list[Answer]) -> Counts:
    total: Counts = confusion_by_session(rows, CLASSES).sum(0)
    return total


def as_labels(rows: list[Answer]) -> tuple[list[str], list[str]]:
    given_labels = [row.given if row.given in CLASSES else NO_ANSWER for row in rows]
    return [row.gold for row in rows], [label or NO_ANSWER for label in given_labels]


@settings(deadline=None, max_examples=20)
@given(answers)
def test_figures_equal_scikit_learns(rows: list[Answer]) -> None:
    from sklearn.metrics import (
        accuracy_score,
        cohen_kappa_score,
        f1_score,
        matthews_corrcoef,
        precision_recall_fscore_support,
    )

    counts = counted(rows)
    gold, answered = as_labels(rows)
    present = sorted(set(gold))
    assert metrics.accuracy(counts) == pytest.approx(accuracy_score(gold, answered))
    options = {"labels": present, "zero_division": 0}
    assert metrics.macro_f1(counts) == pytest.approx(f1_score(gold, answered, average="macro", **options))
    assert metrics.weighted_f1(counts) == pytest.approx(f1_score(gold, answered, average="weighted", **options))
    expected = precision_recall_fscore_support(gold, answered, labels=list(CLASSES), zero_division=np.nan)
    np.testing.assert_allclose(metrics.precision(counts), expected[0])
    np.testing.assert_allclose(metrics.recall(counts), expected[1])
    correct = [recall for recall in expected[1] if not np.isnan(recall)]
    assert metrics.balanced_accuracy(counts) == pytest.approx(np.mean(correct))
    if len(set(gold)) > 1 and len(set(answered)) > 1:
        assert metrics.mcc(counts) == pytest.approx(matthews_corrcoef(gold, answered))
    else:
        assert np.isnan(metrics.mcc(counts))
    labels = sorted({*gold, *answered})
    if len(labels) > 1:
        assert metrics.kappa(counts) == pytest.approx(cohen_kappa_score(gold, answered, labels=labels))
    else:
        assert np.isnan(metrics.kappa(counts))


@settings(deadline=None, max_examples=40)
@given(answers)
def test_no_row_is_dropped(rows: list[Answer]) -> None:
    counts = confusion_by_session(rows, CLASSES)
    assert counts.sum() == len(rows)
    assert counts.shape == (len({row.session for row in rows}), len(CLASSES), len(CLASSES) + 1)


@settings(deadline=None, max_examples=40)
@given(answers)
def test_an_abstention_costs_as_much_as_a_wrong_answer(rows: list[Answer]) -> None:
    silent = [row if row.given == row.gold else row._replace(given=None) for row in rows]
    assert metrics.accuracy(counted(silent)) == metrics.accuracy(counted(rows))


@settings(deadline=None, max_examples=40)
@given(answers, answers)
def test_a_stack_of_counts_gives_the_figures_of_each(one: list[Answer], other: list[Answer]) -> None:
    stack = np.stack([counted(one), counted(other)])
    for figure in FIGURES:
        np.testing.assert_allclose(figure(stack), [figure(stack[0]), figure(stack[1])], atol=1e-6)


def test_preference_bias_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 40, (5, 6)).astype(np.float64)
    strengths = [1.0] * 5
    for _ in range(20):
        for own in range(5):
            won = sum(counts[j, own] * strengths[j] / (strengths[own] + strengths[j]) for j in range(5))
            lost = sum(counts[own, j] / (strengths[own] + strengths[j]) for j in range(5))
            strengths[own] = won / lost
    scaled = np.array(strengths) / np.mean(strengths)
    assert metrics.preference_bias(counts) == pytest.approx(scaled.std(), abs=1e-5)


def test_a_system_that_prefers_nothing_has_no_preference_bias() -> None:
    even = np.full((3, 4), 5.0)
    assert metrics.preference_bias(even) == pytest.approx(0, abs=1e-6)
    always_first = np.array([[5, 0, 0, 0], [5, 0, 0, 0], [5, 0, 0, 0]], dtype=np.float64)
    assert metrics.preference_bias(always_first) == pytest.approx(np.std([3, 0, 0]), abs=1e-5)


def test_a_label_outside_the_classes_counts_as_no_answer() -> None:
    counts = counted([Answer("s", "joy", "boredom"), Answer("s", "joy", None), Answer("s", "joy", "joy")])
    assert counts.tolist()[0] == [1, 0, 0, 2]
    assert metrics.abstention_rate(counts) == pytest.approx(2 / 3)


def test_a_gold_label_outside_the_classes_is_refused() -> None:
    rows = [Answer("s", "boredom", "joy")]
    assert metrics.unknown_gold(rows, CLASSES) == 1
    with pytest.raises(ValueError, match="not among the classes"):
        confusion_by_session(rows, CLASSES)


def test_figures_of_nothing_are_undefined_and_not_zero() -> None:
    nothing = np.zeros((3, 4))
    for figure in FIGURES:
        assert np.isnan(figure(nothing))

"""Cohen's kappa against worked values and its algebra."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.annotation.agreement import agreement, cohens_kappa
from ai_therapist.records import (
    Abstention,
    Annotation,
    Label,
    Modality,
    Outcome,
    Provenance,
    Scored,
    Task,
    Unscored,
)
from ai_therapist.testing import make_digest

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


def make_annotation(turn: str, outcome: Outcome, task: Task = Task.EMOTION) -> Annotation:
    provenance = Provenance(
        annotator="test",
        prompt_sha256=make_digest("prompt"),
        codebook="1.0",
        modalities=frozenset({Modality.TEXT}),
        route="test",
        request_sha256=make_digest(turn),
        at="2026-01-01T00:00:00+00:00",
    )
    return Annotation.of(f"utt_{make_digest(turn)[:12]}", task, outcome, provenance)


def test_a_worked_table() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: p_o = 0.7, p_e = 0.5, kappa = 0.4.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15

    score = cohens_kappa(pairs)
    assert isinstance(score, Scored)
    assert score.value == pytest.approx(0.4)
    assert score.n == 50


def test_undefined_agreement_is_unscored() -> None:
    assert cohens_kappa([]) == Unscored(reason="no turn was labelled by both")
    assert cohens_kappa([("a", "a")] * 3) == Unscored(reason="both used one and the same label throughout")


@given(PAIRS)
def test_kappa_is_symmetric_and_at_most_one(pairs: list[tuple[str, str]]) -> None:
    score = cohens_kappa(pairs)
    turned = cohens_kappa([(b, a) for a, b in pairs])

    assert score.kind == turned.kind
    if isinstance(score, Scored) and isinstance(turned, Scored):
        assert score.value == pytest.approx(turned.value)
        assert score.value <= 1
        assert (score.value == pytest.approx(1)) == all(a == b for a, b in pairs)


def test_only_turns_that_both_label_for_the_task_count() -> None:
    one = [
        make_annotation("1", Label(value="joy")),
        make_annotation("2", Label(value="fear")),
        make_annotation("3", Label(value="fear")),
        make_annotation("4", Abstention(reason="unsure")),
        make_annotation("1", Label(value="Others"), Task.STRATEGY),
    ]
    other = [
        make_annotation("2", Label(value="fear")),
        make_annotation("1", Label(value="joy")),
        make_annotation("4", Label(value="joy")),
    ]

    assert agreement(one, other, Task.EMOTION) == Scored(value=1.0, n=2)
    assert agreement(one, other, Task.STRATEGY) == Unscored(reason="no turn was labelled by both")


def test_two_labels_of_one_turn_are_refused() -> None:
    twice = [make_annotation("1", Label(value="joy")), make_annotation("1", Label(value="fear"))]

    with pytest.raises(ValueError, match="has two labels"):
        agreement(twice, [], Task.EMOTION)

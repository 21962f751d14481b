"""Probabilities of labels from the tokens of an answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.models.label_tokens import Candidate, label_masses, value_start
from ai_therapist.records import Task, load_codebook

LABELS = load_codebook().names(Task.STRATEGY)


def test_alternatives_at_every_token_give_their_labels_their_share() -> None:
    tokens = [
        [Candidate("O", math.log(0.8)), Candidate("Res", math.log(0.15)), Candidate("?", math.log(0.05))],
        [Candidate("pen questions", math.log(0.75)), Candidate("thers", math.log(0.25))],
        [Candidate('"', 0.0)],
    ]
    masses = label_masses(tokens, 0, LABELS)
    assert masses is not None
    assert masses["Open questions"] == pytest.approx(0.6 / 0.95)
    assert masses["Others"] == pytest.approx(0.2 / 0.95)
    assert masses["Restatement"] == pytest.approx(0.15 / 0.95)


def test_an_alternative_of_several_labels_is_shared_out() -> None:
    masses = label_masses([[Candidate("Res", math.log(0.5)), Candidate("O", math.log(0.5))]], 0, LABELS)
    assert masses is not None
    assert masses["Others"] == masses["Open questions"] == pytest.approx(0.25)


def test_a_token_may_begin_before_the_label_and_end_behind_it() -> None:
    tokens = [
        [Candidate('{"s', 0.0)],
        [Candidate('":"Ap', math.log(0.6)), Candidate('":"Ad', math.log(0.4))],
        [Candidate('proval"}', 0.0)],
    ]
    start = value_start('{"s":"Approval"}', "s")
    assert start == 6
    masses = label_masses(tokens, start, LABELS)
    assert masses is not None
    assert masses["Approval"] == pytest.approx(0.6)
    assert masses["Advisement"] == pytest.approx(0.4)


def test_what_begins_no_label_has_no_probabilities() -> None:
    assert label_masses([[Candidate("zzz", 0.0)]], 0, LABELS) is None
    assert label_masses([], 0, ()) is None
    assert label_masses([[Candidate("O", -math.inf)]], 0, LABELS) is None
    assert value_start("no json", "s") is None


@given(
    st.sampled_from(LABELS),
    st.integers(1, 6),
    st.lists(st.tuples(st.text(max_size=4), st.floats(-20, 5) | st.just(math.nan)), max_size=5),
)
def test_masses_always_sum_to_one(label: str, width: int, others: list[tuple[str, float]]) -> None:
    pieces = [label[place : place + width] for place in range(0, len(label), width)]
    tokens = [[Candidate(piece, -0.5), *(Candidate(*other) for other in others)] for piece in pieces]
    masses = label_masses(tokens, 0, LABELS)
    assert masses is not None
    assert sum(masses.values()) == pytest.approx(1)
    assert list(masses) == list(LABELS)

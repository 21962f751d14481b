"""A reply ends before the first stop, however the model cuts its pieces, and nothing of the stop is ever given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.inference.stop import until


def ended(stops: list[str], pieces: list[str]) -> str:
    return "".join(until(stops, iter(pieces)))


@pytest.mark.parametrize(
    ("stops", "pieces", "expected"),
    [
        (["STOP"], ["on and on ST", "OP not this"], "on and on "),
        (["STOP"], ["S", "T", "O", "P", "!"], ""),
        (["STOP"], ["ST", "ORY"], "STORY"),
        (["aab"], ["a", "a", "a", "b", "c"], "a"),
        (["late", "ear"], ["very early and late"], "very "),
        (["a b"], ["x a ", "  b y"], "x "),
        (["<end>"], ["x <e", "nd> y"], "x "),
        ([" "], ["one", " two"], "one"),
        (["."], ["no end"], "no end"),
        ([], ["all", " of it"], "all of it"),
    ],
)
def test_the_first_stop_ends_the_reply(stops: list[str], pieces: list[str], expected: str) -> None:
    assert ended(stops, pieces) == expected


@given(
    st.lists(st.text("ab ", min_size=1, max_size=4), max_size=4),
    st.lists(st.text("ab ", max_size=4), max_size=12),
)
def test_no_stop_is_ever_given_and_pieces_make_no_difference(stops: list[str], pieces: list[str]) -> None:
    found = ended(stops, pieces)
    assert " ".join(found.split()) == " ".join(ended(stops, ["".join(pieces)]).split())
    # Two blanks are never shown in a row, so a stop of two cannot be met.
    assert not any(stop in found for stop in stops if "  " not in stop)


def test_a_piece_that_cannot_begin_a_stop_does_not_wait() -> None:
    pieces = until(["STOP"], iter(["Yes. ", "S"]))
    assert next(pieces) == "Yes. "

"""The window of turns before a turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.annotation.context import turns_before
from ai_therapist.records import TimeSpan, Utterance
from ai_therapist.testing import make_session
from tests.annotation.builders import make_turns

SESSION = make_session()


@given(st.integers(1, 12), st.integers(0, 15), st.data())
def test_the_window_holds_the_last_turns_before_the_target(count: int, limit: int, data: st.DataObject) -> None:
    turns = make_turns(SESSION, *(f"turn {n}" for n in range(count)))
    target = data.draw(st.sampled_from(turns))

    assert turns_before(turns, target, limit) == turns[max(0, target.index - limit) : target.index]


def test_a_turn_that_began_at_the_same_moment_is_not_before() -> None:
    span = TimeSpan(start_ms=0, end_ms=1_000)
    turns = [Utterance.of(SESSION.id, index, speaker, span, "at once") for index, speaker in enumerate("AB")]

    assert turns_before(turns, turns[1], 5) == ()


def test_a_negative_window_is_refused() -> None:
    turns = make_turns(SESSION, "one")

    with pytest.raises(ValueError, match="-1 turns"):
        turns_before(turns, turns[0], -1)

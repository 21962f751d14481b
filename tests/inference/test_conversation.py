"""A conversation grows by returning new ones, and shows its last turns."""

from pathlib import Path

import pytest

from ai_therapist.inference.conversation import Conversation
from ai_therapist.records import Role


def talk(turns: int) -> Conversation:
    conversation = Conversation.new()
    for number in range(turns):
        conversation = conversation.with_turn((Role.CLIENT, Role.THERAPIST)[number % 2], f"turn {number}")
    return conversation


def test_adding_a_turn_leaves_the_old_conversation_as_it_was() -> None:
    before = talk(2)
    after = before.with_turn(Role.CLIENT, "more")
    assert (len(before.turns), len(after.turns)) == (2, 3)
    assert after.turns[:2] == before.turns


def test_the_window_holds_the_last_turns_oldest_first() -> None:
    assert [turn.text for turn in talk(5).window(2)] == ["turn 3", "turn 4"]
    assert len(talk(5).window(9)) == 5
    assert talk(5).window(0) == ()


def test_equal_words_in_two_conversations_have_different_ids() -> None:
    assert talk(1).turns[0].turn.utterance != talk(1).turns[0].turn.utterance


def test_turns_follow_each_other_in_time() -> None:
    starts = [spoken.turn.start_ms for spoken in talk(4).turns]
    assert starts == sorted(set(starts))


def test_blank_turns_and_clips_of_the_therapist_are_refused() -> None:
    with pytest.raises(ValueError, match="needs words"):
        Conversation.new().with_turn(Role.CLIENT, " \n")
    with pytest.raises(ValueError, match="clip"):
        Conversation.new().with_turn(Role.THERAPIST, "hello", Path("clip.mp4"))


def test_the_words_stay_out_of_repr() -> None:
    assert "turn 0" not in repr(talk(1))

"""Every example is one branch of a trunk that ends with its own context, and no trunk shows a word too early."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.render import render_prompt, render_trunk
from ai_therapist.dataset.trunk import Branch, Conversation, gather_conversations
from ai_therapist.records import Example, Split
from ai_therapist.testing import make_session
from tests.dataset.builders import make_parts, make_talk


def make_examples(turns: int, context_turns: int, name: str = "one", seed: int = 0) -> tuple[Example, ...]:
    config = DatasetConfig(context_turns=context_turns)
    return build_examples(make_parts(name, turns=turns, seed=seed), Split.TRAIN, config).examples


@given(turns=st.integers(2, 24), context_turns=st.integers(0, 8), seed=st.integers(0, 5))
def test_every_example_is_one_branch_whose_trunk_ends_with_its_context(
    turns: int, context_turns: int, seed: int
) -> None:
    examples = [*make_examples(turns, context_turns, "one", seed), *make_examples(turns, context_turns, "two", seed)]
    conversations = gather_conversations(examples)
    found = [branch.example for conversation in conversations for branch in conversation.branches]
    assert sorted(one.id for one in found) == sorted(one.id for one in examples)
    for conversation in conversations:
        for branch in conversation.branches:
            seen = conversation.turns[: branch.fork]
            context = branch.example.context
            assert [turn.text for turn in seen[len(seen) - len(context) :]] == [turn.text for turn in context]
            assert all(turn.start_ms < branch.example.reply.start_ms for turn in seen)
            assert branch.example.reply.utterance not in {turn.utterance for turn in seen}


def test_a_session_whose_contexts_overlap_is_one_conversation_of_growing_trunks() -> None:
    (conversation,) = gather_conversations(reversed(make_examples(20, 4)))
    forks = [branch.fork for branch in conversation.branches]
    assert forks == sorted(forks)
    assert len(forks) > 5
    assert len(conversation.turns) == forks[-1]
    trunks = [render_trunk(conversation.turns[:fork]) for fork in forks]
    assert all(later[: len(trunk)] == trunk for trunk, later in pairwise(trunks))


def test_trunk_and_branch_are_the_prompt_of_the_turn() -> None:
    (conversation,) = gather_conversations(make_examples(6, 8))
    last = conversation.branches[-1]
    prompt = render_prompt(last.example.context, last.example.client, None)
    assert prompt[:-1] == render_trunk(conversation.turns[: last.fork])


def test_without_context_every_branch_grows_from_the_bare_root() -> None:
    (conversation,) = gather_conversations(make_examples(10, 0))
    assert conversation.turns == ()
    assert {branch.fork for branch in conversation.branches} == {0}


def test_words_that_were_not_spoken_yet_begin_a_conversation_of_their_own() -> None:
    """The client talks through two replies: the second context ends in the middle of it, the third holds all of it."""
    session = make_session("one")
    talk = make_talk(
        session,
        ("A", 0, 2000, "how are you today then"),
        ("B", 3000, 14000, "i was going to say something very long here"),
        ("A", 6000, 8000, "please take your time now"),
        ("B", 9500, 11000, "thank you so much"),
        ("A", 12000, 13000, "what would you like now"),
        ("B", 15000, 16000, "a glass of water"),
        ("A", 17000, 18000, "here it is for you"),
    )
    examples = build_examples(
        make_parts("one", talk), Split.TRAIN, DatasetConfig(max_overlap_ms=10_000, near_duplicate=1.0)
    ).examples
    conversations = gather_conversations(examples)
    assert (len(examples), len(conversations)) == (3, 2)
    for conversation in conversations:
        for branch in conversation.branches:
            seen = conversation.turns[: branch.fork]
            assert all(turn.end_ms <= branch.example.reply.start_ms for turn in seen)


def test_a_turn_that_differs_in_a_word_is_not_shared() -> None:
    one, two = make_examples(10, 8)[-2:]
    changed = two.context[0].model_copy(update={"text": "another word"})
    split = two.model_copy(update={"context": (changed, *two.context[1:])})
    assert len(gather_conversations([one, two])) == 1
    assert len(gather_conversations([one, split])) == 2


def test_a_window_keeps_what_its_branches_see() -> None:
    (conversation,) = gather_conversations(make_examples(20, 4))
    chosen = conversation.branches[3:5]
    window = conversation.window(chosen[0].fork - 2, chosen)
    assert window.turns == conversation.turns[chosen[0].fork - 2 : chosen[1].fork]
    assert [branch.fork for branch in window.branches] == [2, 2 + chosen[1].fork - chosen[0].fork]
    with pytest.raises(ValueError, match="before the window"):
        conversation.window(chosen[0].fork + 1, chosen)


def test_nothing_is_no_conversation() -> None:
    assert gather_conversations([]) == []
    assert Conversation((), ()).window(0, ()) == Conversation((), ())
    assert Branch(0, make_examples(4, 0)[0]).fork == 0

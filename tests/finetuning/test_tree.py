"""The loss lies on the answer and its end token, exactly; nothing else is learned and nothing is cut."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_therapist.dataset.render import render_prompt, target_text
from ai_therapist.dataset.trunk import gather_conversations
from ai_therapist.finetuning.base import base_config
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.tokenizer import TURN_END
from ai_therapist.finetuning.tree import Encoded, encode_all, encode_conversation
from ai_therapist.models.chat_text import ChatText
from ai_therapist.records import Labels
from ai_therapist.records.message import TextPart
from ai_therapist.videollama2 import VideoLLaMA2Processor
from tests.finetuning.builders import make_chat, make_examples, make_features, placeholders

EXAMPLES = make_examples(sessions=2, turns=24)
FEATURES = make_features(EXAMPLES)
MARKS = placeholders(FEATURES)
BY_ID = {example.id: example for example in EXAMPLES}


@pytest.fixture(scope="module")
def chat() -> ChatText:
    return make_chat(EXAMPLES)


def encode(chat: ChatText, max_tokens: int = 4096, overlap_turns: int = 4) -> Encoded:
    return encode_all(gather_conversations(EXAMPLES), chat, MARKS, max_tokens, overlap_turns)


def text_of(chat: ChatText, ids: tuple[int, ...]) -> str:
    return str(chat.tokenizer.decode(list(ids)))


def test_learned_tokens_are_the_answers_and_their_end_tokens_exactly(chat: ChatText) -> None:
    trees = encode(chat).trees
    branches = [branch for tree in trees for branch in tree.branches]
    assert len(branches) == len(EXAMPLES) > 10
    for branch in branches:
        example = BY_ID[branch.example]
        assert text_of(chat, branch.ids[-branch.learned :]) == (
            target_text(example.labels, example.reply.text) + TURN_END
        )


def test_trunk_and_branch_are_the_chat_template_of_the_whole_prompt(chat: ChatText) -> None:
    """The same ids that the processor, which evaluation and serving use, makes of the messages."""
    processor = VideoLLaMA2Processor.from_config(base_config(BaseConfig()), chat.tokenizer)
    (conversation, _) = gather_conversations(EXAMPLES)
    (tree,) = encode_conversation(conversation, chat, {}, 100_000, 0).trees
    for branch, tokens in zip(conversation.branches, tree.branches, strict=True):
        messages = render_prompt(conversation.turns[: branch.fork], branch.example.client, None)
        chat_messages = [{"role": message.role, "content": message.text} for message in messages]
        whole = processor.apply_chat_template(
            chat_messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"][0]
        assert [*tree.trunk[: tokens.fork], *tokens.ids[: -tokens.learned]] == list(whole)


def test_no_label_and_no_clip_is_in_a_trunk(chat: ChatText) -> None:
    for tree in encode(chat).trees:
        text = text_of(chat, tree.trunk).split("<|im_end|>", 1)[1]
        assert "Strategy:" not in text
        assert "<video>" not in text


def test_a_missing_label_is_not_in_what_is_learned(chat: ChatText) -> None:
    labels = Labels(client_emotion=None, strategy="Approval", therapist_emotion=None)
    example = EXAMPLES[0].model_copy(update={"labels": labels})
    (tree,) = encode_all(gather_conversations([example]), chat, MARKS, 4096, 0).trees
    (branch,) = tree.branches
    assert text_of(chat, branch.ids[-branch.learned :]).startswith("Strategy: Approval\nReply: ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(max_tokens=st.integers(200, 1200), overlap_turns=st.integers(0, 10))
def test_windows_hold_every_example_once_within_the_limit_and_cut_nothing(
    chat: ChatText, max_tokens: int, overlap_turns: int
) -> None:
    whole = {branch.example: branch for tree in encode(chat).trees for branch in tree.branches}
    encoded = encode(chat, max_tokens, overlap_turns)
    found = [branch for tree in encoded.trees for branch in tree.branches]
    assert sorted([*(branch.example for branch in found), *encoded.too_long]) == sorted(BY_ID)
    assert all(tree.tokens <= max_tokens for tree in encoded.trees)
    assert all(branch.ids == whole[branch.example].ids for branch in found)
    for tree in encoded.trees:
        forks = [branch.fork for branch in tree.branches]
        assert forks == sorted(forks)
        assert len(tree.trunk) == forks[-1]


def test_a_later_window_begins_with_the_turns_before_its_first_target(chat: ChatText) -> None:
    (conversation, _) = gather_conversations(EXAMPLES)
    trees = encode_conversation(conversation, chat, MARKS, 700, 3).trees
    assert len(trees) > 1
    places = {branch.example.id: branch for branch in conversation.branches}
    for _, tree in pairwise(trees):
        first = places[tree.branches[0].example]
        shown = text_of(chat, tree.trunk[: tree.branches[0].fork])
        assert shown.count("<|im_start|>") == 1 + 3
        assert conversation.turns[first.fork - 1].text in shown


def test_one_by_one_is_the_same_examples_with_their_own_copies_of_the_trunk(chat: ChatText) -> None:
    (tree, _) = encode(chat).trees
    apart = tree.apart()
    assert [one.branches[0] for one in apart] == list(tree.branches)
    assert [one.trunk for one in apart] == [tree.trunk[: branch.fork] for branch in tree.branches]
    assert sum(one.learned for one in apart) == tree.learned
    assert sum(one.tokens for one in apart) > 2 * tree.tokens


def test_words_of_a_transcript_add_no_placeholder(chat: ChatText) -> None:
    example = EXAMPLES[1]
    odd = example.client.model_copy(update={"text": "look <video> <|im_end|> <|im_start|>system"})
    (tree,) = encode_all(
        gather_conversations([example.model_copy(update={"client": odd, "context": ()})]), chat, MARKS, 4096, 0
    ).trees
    ids = tree.branches[0].ids
    assert ids.count(4) == len(FEATURES[str(example.clip_sha256)].video)
    assert ids.count(1) == 2
    assert all(isinstance(part, TextPart) for part in render_prompt((), odd, None)[-1].parts)


def test_an_example_that_fits_nowhere_is_named(chat: ChatText) -> None:
    encoded = encode(chat, 150)
    assert encoded.trees == ()
    assert sorted(encoded.too_long) == sorted(BY_ID)


def test_cues_stand_in_their_own_branch_only_and_only_where_they_are_asked_for(chat: ChatText) -> None:
    told = [example.model_copy(update={"cues": f"sign {place}"}) for place, example in enumerate(EXAMPLES)]
    unread, read = (
        encode_all(gather_conversations(told), chat, MARKS, 4096, 4, cues=cues).trees for cues in (False, True)
    )
    assert unread == encode(chat).trees
    assert [tree.trunk for tree in read] == [tree.trunk for tree in unread]
    place_of = {example.id: place for place, example in enumerate(told)}
    for tree in read:
        for branch in tree.branches:
            prompt = text_of(chat, branch.ids[: -branch.learned])
            assert prompt.count("Seen and heard: sign ") == 1
            assert f"Seen and heard: sign {place_of[branch.example]}{TURN_END}" in prompt
            assert "sign" not in text_of(chat, branch.ids[-branch.learned :])

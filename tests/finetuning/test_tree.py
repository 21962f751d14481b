"""The loss lies on the answer and its end token, exactly; nothing else is learned and nothing is cut."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_therapist.dataset.render import plain, render_prompt, target_text
from ai_therapist.dataset.trunk import gather_conversations
from ai_therapist.finetuning.base import base_config
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.tokenizer import TURN_END
from ai_therapist.finetuning.tree import AnswerTokens, Encoded, encode_all, encode_conversation
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


def rows(encoded: Encoded) -> list[tuple[str, tuple[int, ...], tuple[AnswerTokens, ...]]]:
    """Example, all that is read before its answers, and these."""
    return [
        (branch.example, (*tree.trunk[: branch.fork], *branch.prompt), branch.answers)
        for tree in encoded.trees
        for branch in tree.branches
    ]


def turn_tokens(chat: ChatText, example: str) -> int:
    """Tokens of the client's own turn with its clip, up to where an answer begins."""
    alone = BY_ID[example].model_copy(update={"context": ()})
    (tree,) = encode_all(gather_conversations([alone]), chat, MARKS, 4096, 0).trees
    return len(tree.branches[0].prompt)


def text_of(chat: ChatText, ids: tuple[int, ...]) -> str:
    return str(chat.tokenizer.decode(list(ids)))


def test_learned_tokens_are_the_answers_and_their_end_tokens_exactly(chat: ChatText) -> None:
    trees = encode(chat).trees
    branches = [branch for tree in trees for branch in tree.branches]
    assert len(branches) == len(EXAMPLES) > 10
    for branch in branches:
        example = BY_ID[branch.example]
        (answer,) = branch.answers
        assert answer.learned == len(answer.ids)
        assert text_of(chat, answer.ids) == target_text(example.labels, example.reply.text) + TURN_END


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
        assert [*tree.trunk[: tokens.fork], *tokens.prompt] == list(whole)


def test_words_that_trunk_and_branch_both_begin_with_are_read_once(chat: ChatText) -> None:
    """Without a clip all of the client's turn lies in the trunk, where a later branch goes on; with one its header."""
    (conversation, _) = gather_conversations(EXAMPLES)
    (bare,) = encode_conversation(conversation, chat, {}, 100_000, 0).trees
    (shown,) = encode_conversation(conversation, chat, MARKS, 100_000, 0).trees
    start = tuple(chat.ids(chat.answer_start))
    assert len(bare.branches) > 3
    assert [branch.prompt for branch in bare.branches[:-1]] == [start] * (len(bare.branches) - 1)
    assert conversation.branches[-1].example.client.text in text_of(chat, bare.branches[-1].prompt)
    for branch in shown.branches[:-1]:
        assert text_of(chat, branch.prompt).startswith("<video>")
        assert text_of(chat, shown.trunk[: branch.fork]).endswith("<|im_start|>user\n")


def test_every_label_and_the_reply_can_be_an_answer_of_its_own(chat: ChatText) -> None:
    trees = encode_all(gather_conversations(EXAMPLES), chat, MARKS, 4096, 4, targets="apart").trees
    branches = [branch for tree in trees for branch in tree.branches]
    assert len(branches) == len(EXAMPLES)
    for branch in branches:
        example = BY_ID[branch.example]
        told, learned = [], []
        for answer in branch.answers:
            told.append(text_of(chat, answer.ids[: -answer.learned]))
            learned.append(text_of(chat, answer.ids[-answer.learned :]).strip())
        values = {
            "Client emotion:": example.labels.client_emotion,
            "Strategy:": example.labels.strategy,
            "Therapist emotion:": example.labels.therapist_emotion,
            "Reply:": plain(example.reply.text),
        }
        known = {name: value for name, value in values.items() if value is not None}
        assert told == list(known)
        assert learned == [value + TURN_END for value in known.values()]
    together = encode(chat).trees
    assert [tree.trunk for tree in trees] == [tree.trunk for tree in together]
    assert [branch.prompt for branch in branches] == [branch.prompt for tree in together for branch in tree.branches]


def test_no_label_and_no_clip_is_in_a_trunk(chat: ChatText) -> None:
    for tree in encode(chat).trees:
        text = text_of(chat, tree.trunk).split("<|im_end|>", 1)[1]
        assert "Strategy:" not in text
        assert "<video>" not in text


def test_a_missing_label_is_not_in_what_is_learned(chat: ChatText) -> None:
    labels = Labels(client_emotion=None, strategy="Approval", therapist_emotion=None)
    example = EXAMPLES[0].model_copy(update={"labels": labels})
    (tree,) = encode_all(gather_conversations([example]), chat, MARKS, 4096, 0).trees
    (answer,) = tree.branches[0].answers
    assert text_of(chat, answer.ids).startswith("Strategy: Approval\nReply: ")
    (tree,) = encode_all(gather_conversations([example]), chat, MARKS, 4096, 0, targets="apart").trees
    assert len(tree.branches[0].answers) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(max_tokens=st.integers(200, 1200), overlap_turns=st.integers(0, 10))
def test_windows_hold_every_example_once_within_the_limit_and_cut_nothing(
    chat: ChatText, max_tokens: int, overlap_turns: int
) -> None:
    whole = {row[0]: row for row in rows(encode(chat))}
    encoded = encode(chat, max_tokens, overlap_turns)
    found = [branch for tree in encoded.trees for branch in tree.branches]
    assert sorted([*(branch.example for branch in found), *encoded.too_long]) == sorted(BY_ID)
    assert all(tree.tokens <= max_tokens for tree in encoded.trees)
    for example, tokens, answers in rows(encoded):
        # A shorter window leaves out turns, never a token of the client's turn, its clip or the answer.
        assert answers == whole[example][2]
        assert tokens[-turn_tokens(chat, example) :] == whole[example][1][-turn_tokens(chat, example) :]
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
        # Trunk and branch share the header of the client's turn.
        assert shown.removesuffix("<|im_start|>user\n").count("<|im_start|>") == 1 + 3
        assert conversation.turns[first.fork - 1].text in shown


def test_the_longest_context_of_all_trees_is_told(chat: ChatText) -> None:
    forks = [branch.fork for one in gather_conversations(EXAMPLES) for branch in one.branches]
    assert encode(chat).context_turns == max(forks) > 8
    windows = encode(chat, 700, 3)
    assert 3 <= windows.context_turns < max(forks)


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
    ids = tree.row
    assert ids.count(4) == len(FEATURES[str(example.clip_sha256)].video)
    assert ids.count(1) == 1 + 2
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
            prompt = text_of(chat, branch.prompt)
            assert prompt.count("Seen and heard: sign ") == 1
            assert f"Seen and heard: sign {place_of[branch.example]}{TURN_END}" in prompt
            assert "sign" not in text_of(chat, branch.answers[0].ids)

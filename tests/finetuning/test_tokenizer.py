"""The tokenizer spells any text, gives control tokens their fixed ids, and is the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from ai_therapist.dataset.render import instructions
from ai_therapist.finetuning.tokenizer import SPECIAL_TOKENS, train_tokenizer

TEXTS = [instructions(), "so the evenings are hard", "the evenings, the long evenings"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 400)


def test_control_tokens_have_the_ids_that_the_base_was_made_with(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))
    assert tokenizer("<video><|im_end|>")["input_ids"] == [4, 2]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)


def test_the_same_texts_give_the_same_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    assert train_tokenizer(TEXTS, 400).backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_it_keeps_to_its_size_and_learns_words(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) <= 400
    assert len(tokenizer(" the evenings")["input_ids"]) == 2


@given(text=st.text(max_size=50))
def test_any_text_comes_back(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS[:1], 320)
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text

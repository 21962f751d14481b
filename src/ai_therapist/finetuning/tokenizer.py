"""A byte-level BPE tokenizer, learned in this process from the text that the tiny model will read."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, TURN_START, TURN_END = "<pad>", "<|im_start|>", "<|im_end|>"

SPECIAL_TOKENS = (PAD, TURN_START, TURN_END, "<image>", "<video>", "<audio>")
"""Control tokens; the place of each is its id, so that the base can be made before the tokenizer."""


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocabulary_size` tokens that can spell any text: all 256 bytes are in it.

    The same texts in the same order give the same tokenizer.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (PAD, TURN_END)],
        clean_up_tokenization_spaces=False,
    )

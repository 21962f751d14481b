"""Tiny random models on disk, as a user's folder holds them: a causal language model and a VideoLLaMA2."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ai_therapist import videollama2
from ai_therapist.finetuning.tokenizer import TURN_END, train_tokenizer
from ai_therapist.records import Task, load_codebook
from ai_therapist.videollama2.chat_templates import CHATML


def texts() -> list[str]:
    """What the tokenizer learns from: the codebook and a few sentences."""
    book = load_codebook()
    categories = [*book.categories(Task.EMOTION), *book.categories(Task.STRATEGY)]
    return [f"{each.name}: {each.definition} {' '.join(each.examples)}" for each in categories] + [
        "You annotate therapy sessions for research. Use exactly one of these labels:"
    ] * 3


def save_causal(folder: Path, *, width: int = 64, layers: int = 2, template: bool = True, seed: int = 0) -> Path:
    """A random Llama with a tokenizer of its own, in fp32."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts(), 700)
    if template:
        tokenizer.chat_template = CHATML
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=8192,
            bos_token_id=None,
            eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
            initializer_range=0.2,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_videollama2(folder: Path) -> Path:
    """A random tiny VideoLLaMA2.1-AV with its processor."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(texts(), 700)
    config = videollama2.tiny_config(len(tokenizer))
    processor = videollama2.VideoLLaMA2Processor.from_config(config, tokenizer)
    processor.align(config)
    videollama2.VideoLLaMA2Qwen2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder

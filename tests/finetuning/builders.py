"""Small parts of a training run: examples with clips that were never filmed, and an untrained tuned model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.render import instructions, target_text
from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.base import random_base
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.finetuning.curve import Point
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.saved_model import save_tuned
from ai_therapist.finetuning.tokenizer import train_tokenizer
from ai_therapist.models.base import open_base
from ai_therapist.models.chat_text import ChatText
from ai_therapist.models.local import silence_progress_bars
from ai_therapist.records import Example, Split
from tests.dataset.builders import make_parts

QUICK = FinetuningConfig(epochs=4, batch_tokens=512, checkpoint_steps=2, max_tokens=512, warmup_steps=1)
TEXT_ONLY = BaseConfig(media="none")


def ignore_step(point: Point, steps: int, seconds: float) -> None:
    """A step that nobody watches."""


def make_examples(split: Split = Split.TRAIN, sessions: int = 2, seed: int = 0, turns: int = 8) -> list[Example]:
    """Examples of alternating talk, each with a clip of its own."""
    return [
        example
        for number in range(seed, seed + sessions)
        for example in build_examples(
            make_parts(f"s{number}", seed=number, turns=turns), split, DatasetConfig()
        ).examples
    ]


def make_features(examples: Sequence[Example]) -> dict[str, ClipFeatures]:
    """Features of the clips of `examples`, of the shapes that the tiny base gives; every other clip is silent."""
    generator = torch.Generator().manual_seed(0)
    return {
        example.clip_sha256: ClipFeatures(
            torch.randn(16, 128, generator=generator) / 10,
            torch.randn(8, 128, generator=generator) / 10 if place % 2 else None,
        )
        for place, example in enumerate(examples)
        if example.clip_sha256 is not None
    }


def placeholders(features: dict[str, ClipFeatures]) -> dict[str, str]:
    """The control tokens that stand for each clip."""
    return {digest: clip.placeholders for digest, clip in features.items()}


def make_chat(examples: Sequence[Example], vocabulary: int = 512) -> ChatText:
    """A tokenizer that has read the examples, with its template."""
    texts = [instructions(), *(target_text(example.labels, example.reply.text) for example in examples)]
    return ChatText(train_tokenizer(texts, vocabulary))


def save_base(folder: Path, base: BaseConfig = QUICK.base) -> Path:
    """A random base in a folder."""
    silence_progress_bars()
    random_base(base).save_pretrained(folder)
    return folder


def randomise_adapter(model: Any) -> None:
    """Give every adapter a random second factor: at the zeros it starts with, the first one has no gradient."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05, generator=torch.Generator().manual_seed(len(name)))


def save_untrained(folder: Path, config: FinetuningConfig = QUICK) -> Path:
    """A tuned model in a folder as fine-tuning leaves it, but with random weights in its adapter."""
    base = save_base(folder / "origin", config.base)
    chat = make_chat(make_examples())
    model = with_adapter(open_base(base, towers=False).model, config)
    randomise_adapter(model)
    save_tuned(folder / "model", base, model, chat.tokenizer, config)
    return folder / "model"

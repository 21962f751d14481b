"""Small parts of a training run: examples with clips that were never filmed, and an untrained tuned model."""

from pathlib import Path

import torch

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.render import instructions, target_text
from ai_therapist.finetuning.base import random_base
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.features import ClipFeatures
from ai_therapist.finetuning.saved_model import save_tuned
from ai_therapist.finetuning.tokenizer import train_tokenizer
from ai_therapist.finetuning.train import with_adapter
from ai_therapist.models.local import load_videollama2, silence_progress_bars
from ai_therapist.records import Example, Split
from tests.dataset.builders import make_parts

QUICK = FinetuningConfig(epochs=3, batch_size=2, checkpoint_steps=2, max_tokens=400)


def make_examples(split: Split = Split.TRAIN, sessions: int = 2, seed: int = 0) -> list[Example]:
    """Examples of alternating talk, each with a clip of its own."""
    return [
        example
        for number in range(seed, seed + sessions)
        for example in build_examples(make_parts(f"s{number}", seed=number), split, DatasetConfig()).examples
    ]


def make_features(examples: list[Example]) -> dict[str, ClipFeatures]:
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


def save_base(folder: Path) -> Path:
    """The base of the preset in a folder."""
    silence_progress_bars()
    random_base(QUICK.base).save_pretrained(folder)
    return folder


def save_untrained(folder: Path) -> Path:
    """A tuned model in a folder as fine-tuning leaves it, but with random weights in its adapter."""
    base = save_base(folder / "origin")
    examples = make_examples()
    texts = [instructions(), *(target_text(example.labels, example.reply.text) for example in examples)]
    model = with_adapter(load_videollama2(base, towers=False), QUICK)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05, generator=torch.Generator().manual_seed(len(name)))
    save_tuned(folder / "model", base, model, train_tokenizer(texts, 512), QUICK)
    return folder / "model"

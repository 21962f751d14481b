"""The models that are tuned: a tiny one of random weights, or a reference to published ones."""

# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2ForCausalLM

from ai_therapist.errors import ConfigError
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.tokenizer import PAD, SPECIAL_TOKENS, TURN_END
from ai_therapist.models.base import located, revision_of
from ai_therapist.models.tuned_folder import BaseReference
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import encode
from ai_therapist.videollama2 import VideoLLaMA2Qwen2Config, VideoLLaMA2Qwen2ForConditionalGeneration
from ai_therapist.videollama2.tiny import tiny_config


def save_base(config: BaseConfig, folder: Path) -> None:
    """Write the base into `folder`: random weights, or a reference to published models at the revisions found now.

    Raises MissingInput where a published model cannot be had.
    """
    if config.is_random:
        random_base(config).save_pretrained(folder)
        return
    language = located(config.language, config.language_revision)
    media = located(config.media, config.media_revision) if config.sees_clips else None
    about = BaseReference(
        language=config.language,
        language_revision=revision_of(config.language, language),
        media=None if media is None else config.media,
        media_revision=None if media is None else revision_of(config.media, media),
        num_frames=config.num_frames,
        tokens_per_clip=config.tokens_per_clip,
        audio_tokens_per_clip=config.audio_tokens_per_clip,
    )
    write_atomically(folder / BaseReference.FILE, encode(about))


def base_config(config: BaseConfig) -> VideoLLaMA2Qwen2Config:
    """The configuration of the tiny model, with the placeholder ids of our tokenizer.

    Raises ConfigError where the token budget cannot be pooled from so many frames.
    """
    try:
        made = tiny_config(
            config.vocabulary_size,
            num_frames=config.num_frames,
            tokens_per_clip=config.tokens_per_clip,
            audio_tokens_per_clip=config.audio_tokens_per_clip,
            **{f"{kind}_token_id": SPECIAL_TOKENS.index(f"<{kind}>") for kind in ("image", "video", "audio")},
        )
    except ValueError as error:
        raise ConfigError(f"finetuning.base: {error}") from None
    for part in (made, made.text, made.vision, made.audio):
        if part is not None:
            part.initializer_range = config.initializer_range
    return made


def random_base(config: BaseConfig) -> Any:
    """The tiny base with weights drawn from its seed, in fp32 on the CPU; the caller's random state stays as it is.

    A VideoLLaMA2Qwen2ForConditionalGeneration, or its language model alone where the base sees no clips.
    """
    made = base_config(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model: Any = (
            VideoLLaMA2Qwen2ForConditionalGeneration(made) if config.sees_clips else Qwen2ForCausalLM(made.text)
        )
    model.eval()
    model.generation_config.eos_token_id = SPECIAL_TOKENS.index(TURN_END)
    model.generation_config.pad_token_id = SPECIAL_TOKENS.index(PAD)
    return model

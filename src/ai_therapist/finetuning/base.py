"""The base of the preset "tiny": a VideoLLaMA2.1-AV model with every size shrunk and random weights."""

# mypy: allow-untyped-calls

from __future__ import annotations

import torch

from ai_therapist.errors import ConfigError
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.tokenizer import PAD, SPECIAL_TOKENS, TURN_END
from ai_therapist.videollama2 import VideoLLaMA2Qwen2Config, VideoLLaMA2Qwen2ForConditionalGeneration
from ai_therapist.videollama2.tiny import tiny_config


def base_config(config: BaseConfig) -> VideoLLaMA2Qwen2Config:
    """The model configuration, with the placeholder ids of our tokenizer.

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


def random_base(config: BaseConfig) -> VideoLLaMA2Qwen2ForConditionalGeneration:
    """The base with weights drawn from its seed, in fp32 on the CPU; the caller's random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = VideoLLaMA2Qwen2ForConditionalGeneration(base_config(config))
    model.eval()
    model.generation_config.eos_token_id = SPECIAL_TOKENS.index(TURN_END)
    model.generation_config.pad_token_id = SPECIAL_TOKENS.index(PAD)
    return model

"""The adapter: LoRA on the language model's projections, and what is trained whole beside it."""

# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.models.base import put_adapter, quiet_peft

_EMBEDDINGS = ("embed_tokens", "lm_head")
_CONNECTORS = ("connector", "audio_projector")


def with_adapter(model: Any, config: FinetuningConfig, start: Path | None = None) -> PeftModel:
    """The model with an adapter on the chosen projections: fresh from the seed, or going on from the one in `start`.

    What is trained whole is saved with it; all else is frozen. What is trained is kept in 32 bits.
    """
    if start is not None:
        tuned: PeftModel = put_adapter(model, start, trainable=True)
    else:
        with quiet_peft(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            tuned = get_peft_model(model, lora_config(model, config))
    for weight in tuned.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return tuned


def lora_config(model: nn.Module, config: FinetuningConfig) -> LoraConfig:
    """PEFT's settings; the pattern names the language model's layers, since towers have projections of these names."""
    sees_clips = any("language_model." in name for name, _ in model.named_modules())
    inside = r".*language_model\.layers" if sees_clips else r".*\blayers"
    whole = (*(_EMBEDDINGS if config.train_embeddings else ()), *(_CONNECTORS if config.train_connector else ()))
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=rf"{inside}\.\d+\.(self_attn|mlp)\.({'|'.join(config.lora_targets)})",
        modules_to_save=[name for name in whole if name in present] or None,
        task_type=None,
    )

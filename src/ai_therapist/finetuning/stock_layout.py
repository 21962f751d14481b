"""A tuned model as stock servers take it: a plain language model, and an adapter whose names fit it.

language_model/   the base's language model with its head, tokenizer included, as transformers' own class
adapter/          LoRA in PEFT's layout, without towers and connectors, named for that class

vLLM and other servers know the language model inside ours (Qwen2) and not the whole. Eyes and ears stay where the
recordings are: see models/prompt_embeds.py. What was trained whole beside the adapter (embedding, head) stands in the
language model itself, because no server takes it from an adapter.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from ai_therapist.errors import RequestError
from ai_therapist.models.base import open_base
from ai_therapist.models.tuned_folder import ADAPTER, BASE, MERGED, PROCESSOR
from ai_therapist.videollama2 import VideoLLaMA2ForConditionalGeneration

LANGUAGE_MODEL = "language_model"

_WEIGHTS, _SETTINGS = "adapter_model.safetensors", "adapter_config.json"
_OURS, _STOCK = "model.language_model.", "model."
_PEFT = "base_model.model."
_PARTS = ("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")


def save_stock_layout(folder: Path, target: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the tuned model of `folder` to `target`, a folder that must not exist yet.

    Raises RequestError where it exists, and what opening the model raises.
    """
    if target.exists():
        raise RequestError(f"{target} exists: name a new folder")
    learned = load_file(folder / ADAPTER / _WEIGHTS)
    adapter = {_renamed(name): weight for name, weight in learned.items() if ".lora_" in name}
    whole = {
        _renamed(name).removeprefix(_PEFT): weight
        for name, weight in learned.items()
        if ".lora_" not in name and ("embed_tokens" in name or "lm_head" in name)
    }
    model = _language_model(open_base(folder / BASE, dtype=dtype).model, whole)
    model.save_pretrained(target / LANGUAGE_MODEL)
    held = folder / MERGED if (folder / MERGED).is_dir() else folder / PROCESSOR
    AutoTokenizer.from_pretrained(held).save_pretrained(target / LANGUAGE_MODEL)
    (target / ADAPTER).mkdir()
    save_file(adapter, target / ADAPTER / _WEIGHTS, metadata={"format": "pt"})
    settings = LoraConfig.from_pretrained(str(folder / ADAPTER))
    settings.base_model_name_or_path = LANGUAGE_MODEL
    settings.modules_to_save = None
    settings.target_modules = {name.split(".lora_")[0].rpartition(".")[2] for name in adapter}
    settings.task_type = "CAUSAL_LM"
    settings.inference_mode = True
    settings.save_pretrained(str(target / ADAPTER))


def rank_of(adapter: Path) -> int:
    """The rank of an adapter, which vLLM must be told (--max-lora-rank)."""
    rank: int = json.loads((adapter / _SETTINGS).read_bytes())["r"]
    return rank


def _language_model(base: Any, whole: dict[str, Tensor]) -> Any:
    """The language model of `base` with its head, as transformers' own class; `whole` replaces weights of it."""
    config = base.config.text if isinstance(base, VideoLLaMA2ForConditionalGeneration) else base.config
    weights = {_renamed(name): weight for name, weight in base.state_dict().items()} | whole
    wanted = {name: weight for name, weight in weights.items() if name.startswith(_PARTS)}
    model = AutoModelForCausalLM.from_config(config, dtype=next(iter(wanted.values())).dtype)
    model.load_state_dict(wanted)
    return model.eval()


def _renamed(name: str) -> str:
    return name.replace(_OURS, _STOCK)

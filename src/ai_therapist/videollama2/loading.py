"""Loading models with their processors, grafting media towers on another language model, and 4-bit settings."""

# mypy: allow-untyped-calls

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig

from .checkpoint_videollama2 import check_tokenizer, checkpoint_files, config_fields, stored_file
from .configuration_videollama2 import VideoLLaMA2Config, VideoLLaMA2MistralConfig, VideoLLaMA2Qwen2Config
from .modeling_videollama2 import (
    VideoLLaMA2ForConditionalGeneration,
    VideoLLaMA2MistralForConditionalGeneration,
    VideoLLaMA2Qwen2ForConditionalGeneration,
)
from .native_models import load_native
from .processing_videollama2 import VideoLLaMA2Processor

LORA_TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
"""`target_modules` for peft: the language model's layers alone (bare names also match the towers)."""

UNQUANTISED_MODULES = ["model.vision_tower", "model.audio_tower", "model.connector", "model.audio_projector", "lm_head"]
"""What stays in 16 bits when the language model is loaded in 4."""

_FAMILIES: dict[str, tuple[type[VideoLLaMA2Config], type[VideoLLaMA2ForConditionalGeneration]]] = {
    "qwen2": (VideoLLaMA2Qwen2Config, VideoLLaMA2Qwen2ForConditionalGeneration),
    "mistral": (VideoLLaMA2MistralConfig, VideoLLaMA2MistralForConditionalGeneration),
}
_MEDIA_NAMES = re.compile(r"model\.(vision_tower|mm_projector|audio_tower|mm_projector_a)\.")


def load(source: str, *, config_overrides: Mapping[str, Any] | None = None, **model_kwargs: Any) -> tuple[Any, Any]:
    """Model and processor of a hub id or folder, their placeholder ids in agreement.

    A published or saved VideoLLaMA2 gives our classes, even where its config.json says plain "mistral" (as
    VideoLLaMA2-7B-16F once did); any other multimodal model gives transformers' own (`load_native`).
    `config_overrides` are fields of the configuration (`tokens_per_clip`, `load_towers`, `audio_config`, ...);
    `model_kwargs` go to `from_pretrained` (`dtype`, `device_map`, `attn_implementation`, `quantization_config`,
    ...). Weights keep their stored type, which is bfloat16 in the published checkpoints.

    Raises:
        ValueError: no model there, or one that takes text alone; no tokenizer; a damaged or missing weight file;
            configuration and checkpoint disagree; `config_overrides` unknown, or for another architecture.
        OSError: no such folder or hub id.
        ImportError: another architecture's processor needs a package that is missing.
    """
    fields = config_fields(source)
    check_tokenizer(source)
    if "mm_vision_tower" not in fields and not fields["model_type"].startswith("videollama2"):
        if config_overrides:
            raise ValueError(f"{source!r} is no VideoLLaMA2; config_overrides have no meaning for it")
        return load_native(source, **model_kwargs)
    config_class, model_class = _FAMILIES[_family(source, fields["model_type"].removeprefix("videollama2_"))]
    own = {name: value for name, value in fields.items() if name != "model_type"}
    config: VideoLLaMA2Config = config_class.from_dict(
        {**own, "name_or_path": source, **_known(config_class, config_overrides)}
    )
    if stored_file(source, "processor_config.json") is not None and not config_overrides:
        processor = VideoLLaMA2Processor.from_pretrained(source)
    else:
        processor = VideoLLaMA2Processor.from_config(config, AutoTokenizer.from_pretrained(source, config=config))
    processor.align(config)
    return model_class.from_pretrained(source, config=config, **model_kwargs), processor


def graft(
    media: str,
    language: str,
    *,
    config_overrides: Mapping[str, Any] | None = None,
    bin_files: Sequence[str] = (),
    allow_pickle: bool = False,
    **model_kwargs: Any,
) -> tuple[VideoLLaMA2ForConditionalGeneration, VideoLLaMA2Processor]:
    """A model of `media`'s towers and connectors and `language`'s language model, with its processor.

    For VideoLLaMA2.1(-AV) and Qwen2.5-7B-Instruct: equal widths are not alignment, so tune the connectors too.
    Both are folders or hub ids with safetensors; `bin_files` name pickled parts (`mm_projector.bin`,
    `audio_tower.bin`, `mm_projector_a.bin`) that replace `media`'s. Weights are bfloat16 unless `dtype` says
    otherwise; `save_pretrained` writes the result in the published layout.

    Raises:
        ValueError: the widths differ, `media` has no media towers, the language model is neither Qwen2 nor
            Mistral, weights are missing or unknown, a file is missing or damaged, `config_overrides` are unknown,
            or pickled parts come without `allow_pickle`.
        OSError: no such folder or hub id.
    """
    config_class, model_class = _FAMILIES[_family(language, config_fields(language)["model_type"])]
    check_tokenizer(language)
    text: Any = AutoConfig.from_pretrained(language)
    fields = config_fields(media)
    if not {"mm_vision_tower", "vision_config"} & fields.keys():
        raise ValueError(f"{media!r} has no vision tower to graft; give a VideoLLaMA2.1 checkpoint")
    width = fields.get("hidden_size", (fields.get("text_config") or {}).get("hidden_size"))
    if width != text.hidden_size:
        raise ValueError(
            f"{media!r} gives features of width {width}, {language!r} takes {text.hidden_size}; "
            "choose a language model of the same width"
        )
    own = {name: value for name, value in fields.items() if name != "model_type"}
    own.update({"name_or_path": media, "text_config": text.to_dict(), **_known(config_class, config_overrides)})
    config: VideoLLaMA2Config = config_class.from_dict(own)
    processor = VideoLLaMA2Processor.from_config(config, AutoTokenizer.from_pretrained(language))
    processor.align(config)
    weights = _read(media, media_only=True)
    for file in bin_files:
        weights.update(read_bin(file, allow_pickle=allow_pickle))
    weights.update(_read(language, media_only=False))
    model_kwargs.setdefault("dtype", torch.bfloat16)
    model: VideoLLaMA2ForConditionalGeneration = model_class.from_pretrained(
        None, config=config, state_dict=weights, **model_kwargs
    )
    return model, processor


def read_bin(file: str, *, allow_pickle: bool) -> dict[str, Tensor]:
    """The weights of a published .bin part by published name, read with `weights_only=True`.

    Raises:
        ValueError: `allow_pickle` is False, the file is no such pickle, or it holds other than named tensors.
        OSError: there is no such file.
    """
    if not allow_pickle:
        raise ValueError(f"{Path(file).name!r} is a pickle; pass allow_pickle=True if you trust its origin")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, IndexError) as error:
        raise ValueError(f"{Path(file).name!r} cannot be read as pickled weights ({type(error).__name__})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{Path(file).name!r} holds more than named tensors; convert it to safetensors first")
    return {name if name.startswith("model.") else f"model.{name}": value for name, value in content.items()}


def four_bit_config() -> BitsAndBytesConfig:
    """NF4 with double quantisation and bfloat16 arithmetic for the language model; all else stays in 16 bits."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=UNQUANTISED_MODULES,
    )


def _family(source: str, model_type: str) -> str:
    """The language model's family, a key of `_FAMILIES`."""
    if model_type not in _FAMILIES:
        raise ValueError(f"{source!r} has a {model_type!r} language model; only {' and '.join(_FAMILIES)} are known")
    return model_type


def _known(config_class: type[VideoLLaMA2Config], overrides: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """`overrides`, each of which is a field of the configuration: a mistyped one would change nothing."""
    unknown = set(overrides or ()) - {field.name for field in dataclass_fields(config_class)}
    if unknown:
        raise ValueError(f"config_overrides hold {min(unknown)!r}, which is no field of {config_class.__name__}")
    return overrides or {}


def _read(source: str, *, media_only: bool) -> dict[str, Tensor]:
    """Weights of a checkpoint by stored name, mapped from disk: those of the media parts, or all."""
    weights: dict[str, Tensor] = {}
    for file in checkpoint_files(source):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (safe_open is no mapping)
                if not media_only or _MEDIA_NAMES.match(name):
                    weights[name] = stored.get_tensor(name)
    return weights

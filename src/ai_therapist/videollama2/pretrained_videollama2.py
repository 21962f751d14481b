"""What all VideoLLaMA2 models share: strict loading, initialisation and what they declare to transformers."""

# mypy: allow-untyped-calls

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .checkpoint_videollama2 import checkpoint_files
from .configuration_videollama2 import VideoLLaMA2Config
from .modeling_beats import BeatsAttention, PositionalConvolution

IGNORED_NAMES = {
    r"audio_tower\.predictor\.",
    r"audio_tower\.layers\.\d+\.self_attn\.relative_attention_bias\.",
}
"""Published weights without a place in the model: BEATs' unused classifier, and copies of the shared bias."""

_SHARED_BIAS = "audio_tower.relative_attention_bias.weight"


class VideoLLaMA2PreTrainedModel(PreTrainedModel):
    """Loading, initialisation and capabilities common to all VideoLLaMA2 models."""

    config: VideoLLaMA2Config
    base_model_prefix = "model"
    input_modalities = ["image", "video", "audio", "text"]  # noqa: RUF012 (transformers reads plain lists)
    supports_gradient_checkpointing = True
    _no_split_modules = ["BeatsLayer", "Bottleneck"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    _keys_to_ignore_on_load_unexpected = IGNORED_NAMES

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        """The model of a folder or hub id, published or saved by us, as in transformers but strict.

        Only safetensors are read; `use_safetensors=False` is the explicit way to a pickled checkpoint, whose
        tensors transformers reads with `weights_only=True`.

        Raises:
            ValueError: weights of the model are missing in the checkpoint or have another shape there, or the
                checkpoint holds weights that the model does not know; the message names them. A folder without
                safetensors, or with a damaged file.
        """
        source = pretrained_model_name_or_path
        load: Any = super().from_pretrained
        plain = not kwargs.keys() & {"state_dict", "subfolder", "variant"}
        if kwargs.setdefault("use_safetensors", True) and plain and source is not None and Path(source).is_dir():
            checkpoint_files(str(source))
        kwargs.update(output_loading_info=True, ignore_mismatched_sizes=True)  # so that they are named below
        model, info = load(source, *args, **kwargs)
        if any(name.endswith(_SHARED_BIAS) for name in info["missing_keys"]):
            model, info = load(source, *args, key_mapping=_bias_elsewhere(source), **kwargs)
        for problem in ("mismatched", "missing", "unexpected"):
            _refuse(source, problem, info[f"{problem}_keys"])
        return (model, info) if output_loading_info else model

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, BeatsAttention):
            init.ones_(module.grep_a)
        elif isinstance(module, PositionalConvolution):
            init.ones_(module.gain)
            init.normal_(module.direction, mean=0.0, std=0.02)
            init.zeros_(module.bias)


def _bias_elsewhere(source: Any) -> dict[str, str]:
    """A renaming for a checkpoint that stores the shared bias once, under another layer than the first."""
    for file in checkpoint_files(str(source)):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (safe_open is no mapping)
                if name.endswith("relative_attention_bias.weight"):
                    return {f"^{re.escape(name)}": "model." + _SHARED_BIAS}
    return {}


def _refuse(source: Any, problem: str, names: Collection[Any]) -> None:
    if names:
        shown = ", ".join(sorted(str(name[0] if isinstance(name, tuple) else name) for name in names)[:3])
        checkpoint = "the given weights" if source is None else repr(str(source))
        raise ValueError(
            f"{checkpoint}: {len(names)} {problem} weights ({shown}{', ...' if len(names) > 3 else ''}); "
            "the configuration does not describe this checkpoint"
        )

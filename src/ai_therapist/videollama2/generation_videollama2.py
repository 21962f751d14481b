"""How `generate` carries media: features go in at prefill only, and follow their row when rows are repeated."""

# mypy: allow-untyped-calls

from typing import Any

from torch import Tensor, nn
from transformers import GenerationMixin, LogitsProcessor, LogitsProcessorList

_RAW_INPUTS = {"image": "pixel_values", "video": "pixel_values_videos", "audio": "input_features"}
_MEDIA_INPUTS = (
    *_RAW_INPUTS.values(),
    *(f"{kind}_features" for kind in _RAW_INPUTS),
    "input_features_mask",
    "mm_encoder_outputs",
)


class NoPlaceholders(LogitsProcessor):
    """Keeps `generate` from choosing a media placeholder, whose rows exist in Qwen2's vocabulary but mean nothing."""

    def __init__(self, token_ids: list[int]) -> None:
        self.token_ids = token_ids

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`scores` (rows, vocabulary) with -inf at the placeholders."""
        inside = [token for token in self.token_ids if token < scores.shape[-1]]
        return scores.index_fill(-1, scores.new_tensor(inside, dtype=input_ids.dtype), float("-inf"))


class MediaGenerationMixin(GenerationMixin):
    """`GenerationMixin` for models whose clips are listed over the whole batch, any number per row."""

    model: nn.Module

    def generate(self, *args: Any, logits_processor: LogitsProcessorList | None = None, **kwargs: Any) -> Any:
        """As transformers; placeholders are never generated. A cache of earlier turns may be passed on, with the
        ids of the whole conversation and the media of the new turns alone."""
        ids = [getattr(self.model.config, f"{kind}_token_id") for kind in _RAW_INPUTS]
        processors = LogitsProcessorList([*(logits_processor or []), NoPlaceholders(ids)])
        return super().generate(*args, logits_processor=processors, **kwargs)  # type: ignore[misc]

    def prepare_inputs_for_generation(self, input_ids: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The inputs of the next forward pass, as in transformers; without media after the first one."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, *args, **kwargs)  # type: ignore[misc]
        if not kwargs.get("is_first_iteration", False) and kwargs.get("use_cache", True):
            for name in _MEDIA_INPUTS:
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Any = None,
        **model_kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Rows repeated `expand_size` times (beams, several answers), each with the clips it refers to."""
        if expand_size > 1 and input_ids is not None:
            model_kwargs = self._expand_media(expand_size, input_ids, model_kwargs)
        expanded: tuple[Any, dict[str, Any]] = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,
            **model_kwargs,
        )
        return expanded

    def _expand_media(self, times: int, input_ids: Tensor, model_kwargs: dict[str, Any]) -> dict[str, Any]:
        media = {name: model_kwargs.pop(name, None) for name in _MEDIA_INPUTS}
        for kind, raw_name in _RAW_INPUTS.items():
            clips = media[f"{kind}_features"]
            encoded = (media["mm_encoder_outputs"] or {}).get(kind)
            if encoded is not None:
                clips = encoded.pooler_output
            elif media[raw_name] is not None:
                extra = {"input_features_mask": media["input_features_mask"]} if kind == "audio" else {}
                clips = getattr(self.model, f"get_{kind}_features")(media[raw_name], **extra).pooler_output
            if clips is not None:
                per_row = (input_ids == getattr(self.model.config, f"{kind}_token_id")).sum(1).tolist()
                model_kwargs[f"{kind}_features"] = _repeat_rows(list(clips), per_row, times)
        return model_kwargs


def _repeat_rows(clips: list[Tensor], tokens_per_row: list[int], times: int) -> list[Tensor]:
    """`clips` in the order of rows that are each repeated `times` times; a row owns clips worth its placeholders."""
    remaining = iter(clips)
    repeated: list[Tensor] = []
    for tokens in tokens_per_row:
        row: list[Tensor] = []
        while sum(clip.shape[0] for clip in row) < tokens:
            clip = next(remaining, None)
            if clip is None:
                break
            row.append(clip)
        repeated.extend(row * times)
    return repeated

"""VideoLLaMA2 (7B, 7B-16F, 2.1-7B-16F, 2.1-7B-AV) as classes native to transformers.

Importing the package loads nothing; the first use of a name below imports torch and transformers and registers
the classes with `AutoConfig`, `AutoProcessor`, `AutoModelForImageTextToText` and `AutoModelForMultimodalLM`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .configuration_videollama2 import (
        BeatsConfig,
        VideoLLaMA2Config,
        VideoLLaMA2MistralConfig,
        VideoLLaMA2Qwen2Config,
    )
    from .layout_videollama2 import register
    from .modeling_videollama2 import (
        VideoLLaMA2ForConditionalGeneration,
        VideoLLaMA2MistralForConditionalGeneration,
        VideoLLaMA2MistralModel,
        VideoLLaMA2Model,
        VideoLLaMA2Qwen2ForConditionalGeneration,
        VideoLLaMA2Qwen2Model,
    )

_HOMES = {
    "BeatsConfig": "configuration_videollama2",
    "VideoLLaMA2Config": "configuration_videollama2",
    "VideoLLaMA2MistralConfig": "configuration_videollama2",
    "VideoLLaMA2Qwen2Config": "configuration_videollama2",
    "VideoLLaMA2ForConditionalGeneration": "modeling_videollama2",
    "VideoLLaMA2MistralForConditionalGeneration": "modeling_videollama2",
    "VideoLLaMA2MistralModel": "modeling_videollama2",
    "VideoLLaMA2Model": "modeling_videollama2",
    "VideoLLaMA2Qwen2ForConditionalGeneration": "modeling_videollama2",
    "VideoLLaMA2Qwen2Model": "modeling_videollama2",
    "register": "layout_videollama2",
}

__all__ = [  # noqa: RUF022 (as in _HOMES)
    "BeatsConfig",
    "VideoLLaMA2Config",
    "VideoLLaMA2MistralConfig",
    "VideoLLaMA2Qwen2Config",
    "VideoLLaMA2ForConditionalGeneration",
    "VideoLLaMA2MistralForConditionalGeneration",
    "VideoLLaMA2MistralModel",
    "VideoLLaMA2Model",
    "VideoLLaMA2Qwen2ForConditionalGeneration",
    "VideoLLaMA2Qwen2Model",
    "register",
]


def __getattr__(name: str) -> object:
    """The public `name`, imported on first use.

    Raises:
        AttributeError: the package has no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f"{__name__}.layout_videollama2")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

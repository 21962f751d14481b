"""VideoLLaMA2 (7B, 7B-16F, 2.1-7B-16F, 2.1-7B-AV) as classes native to transformers.

Importing the package loads nothing; the first use of a name below imports torch and transformers and registers
the classes with `AutoConfig`, `AutoProcessor`, `AutoModelForImageTextToText` and `AutoModelForMultimodalLM`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chat_templates import LLAMA2_SYSTEM_PROMPT
    from .configuration_videollama2 import (
        BeatsConfig,
        VideoLLaMA2Config,
        VideoLLaMA2MistralConfig,
        VideoLLaMA2Qwen2Config,
    )
    from .feature_extraction_videollama2 import VideoLLaMA2FeatureExtractor
    from .layout_videollama2 import register
    from .loading import LORA_TARGETS, UNQUANTISED_MODULES, four_bit_config, graft, load, read_bin
    from .modeling_videollama2 import (
        VideoLLaMA2ForConditionalGeneration,
        VideoLLaMA2MistralForConditionalGeneration,
        VideoLLaMA2MistralModel,
        VideoLLaMA2Model,
        VideoLLaMA2Qwen2ForConditionalGeneration,
        VideoLLaMA2Qwen2Model,
    )
    from .processing_videollama2 import VideoLLaMA2Processor
    from .tiny import tiny_config
    from .video_processing_videollama2 import VideoLLaMA2ImageProcessor, VideoLLaMA2VideoProcessor

_HOMES = {
    "tiny_config": "tiny",
    "read_bin": "loading",
    "load": "loading",
    "graft": "loading",
    "four_bit_config": "loading",
    "UNQUANTISED_MODULES": "loading",
    "LORA_TARGETS": "loading",
    "BeatsConfig": "configuration_videollama2",
    "LLAMA2_SYSTEM_PROMPT": "chat_templates",
    "VideoLLaMA2Config": "configuration_videollama2",
    "VideoLLaMA2FeatureExtractor": "feature_extraction_videollama2",
    "VideoLLaMA2ForConditionalGeneration": "modeling_videollama2",
    "VideoLLaMA2ImageProcessor": "video_processing_videollama2",
    "VideoLLaMA2MistralConfig": "configuration_videollama2",
    "VideoLLaMA2MistralForConditionalGeneration": "modeling_videollama2",
    "VideoLLaMA2MistralModel": "modeling_videollama2",
    "VideoLLaMA2Model": "modeling_videollama2",
    "VideoLLaMA2Processor": "processing_videollama2",
    "VideoLLaMA2Qwen2Config": "configuration_videollama2",
    "VideoLLaMA2Qwen2ForConditionalGeneration": "modeling_videollama2",
    "VideoLLaMA2Qwen2Model": "modeling_videollama2",
    "VideoLLaMA2VideoProcessor": "video_processing_videollama2",
    "register": "layout_videollama2",
}

__all__ = [
    "LLAMA2_SYSTEM_PROMPT",
    "LORA_TARGETS",
    "UNQUANTISED_MODULES",
    "BeatsConfig",
    "VideoLLaMA2Config",
    "VideoLLaMA2FeatureExtractor",
    "VideoLLaMA2ForConditionalGeneration",
    "VideoLLaMA2ImageProcessor",
    "VideoLLaMA2MistralConfig",
    "VideoLLaMA2MistralForConditionalGeneration",
    "VideoLLaMA2MistralModel",
    "VideoLLaMA2Model",
    "VideoLLaMA2Processor",
    "VideoLLaMA2Qwen2Config",
    "VideoLLaMA2Qwen2ForConditionalGeneration",
    "VideoLLaMA2Qwen2Model",
    "VideoLLaMA2VideoProcessor",
    "four_bit_config",
    "graft",
    "load",
    "read_bin",
    "register",
    "tiny_config",
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

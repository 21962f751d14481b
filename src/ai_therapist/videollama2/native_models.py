"""transformers' other multimodal models through the same door, with or without torchvision."""

# mypy: allow-untyped-calls

from typing import Any, ClassVar

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    ProcessorMixin,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils.import_utils import is_torchvision_available

_LOADERS: dict[str, Any] = {
    "tokenizer": lambda source: AutoTokenizer.from_pretrained(source),
    "feature_extractor": lambda source: AutoFeatureExtractor.from_pretrained(source),
    "image_processor": lambda source: AutoImageProcessor.from_pretrained(source, backend="pil"),
    "video_processor": lambda source: NoVideoProcessor(),
}
"""Part of a processor → how it is loaded without torchvision."""


def load_native(source: str, **model_kwargs: Any) -> tuple[Any, Any]:
    """Model and processor of a multimodal model that transformers itself has.

    transformers' video processors need torchvision. Where that is missing, the processor takes text, pictures and
    sound, and refuses clips in one line. `model_kwargs` go to `from_pretrained`.

    Raises:
        ValueError: the model takes text alone, or transformers has no processor for it.
        ImportError: its processor needs another package that is missing; the message names it.
    """
    config: Any = AutoConfig.from_pretrained(source)
    if type(config) not in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        raise ValueError(f"{source!r} is a {config.model_type!r} model, which takes no media; give a multimodal one")
    if type(config) not in PROCESSOR_MAPPING:
        raise ValueError(f"transformers has no processor for a {config.model_type!r} model such as {source!r}")
    processor_class: Any = PROCESSOR_MAPPING[type(config)]
    return AutoModelForMultimodalLM.from_pretrained(source, **model_kwargs), _processor(source, processor_class)


class NoVideoProcessor:
    """Stands where a video processor would, in a processor that takes no clips."""

    model_input_names: ClassVar[list[str]] = []
    num_frames: int | None = None
    fps: float | None = None
    """SmolVLM's processor reads these two for every conversation, with or without clips."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Never returns.

        Raises:
            ImportError: always; it says what to install, or to give pictures.
        """
        raise ImportError("this model's clips need torchvision: install it, or give the frames as image parts")

    fetch_videos = __call__


class WithoutClips(ProcessorMixin):
    """Mixed into a processor class of transformers: its video processor is a `NoVideoProcessor`."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """As transformers, but the stand-in for the video processor passes."""
        if isinstance(argument, NoVideoProcessor):
            return NoVideoProcessor
        return super().check_argument_for_proper_class(argument_name, argument)

    def to_dict(self) -> dict[str, Any]:
        """As transformers, without the stand-in, which holds no settings."""
        settings: dict[str, Any] = super().to_dict()
        settings.pop("video_processor", None)
        return settings


def _processor(source: str, processor_class: Any) -> Any:
    """The model's own processor; without torchvision, its own processor without clips."""
    parts = processor_class.get_attributes()
    if is_torchvision_available() or "video_processor" not in parts or set(parts) - set(_LOADERS):
        return AutoProcessor.from_pretrained(source)
    without_clips: Any = type(processor_class.__name__, (WithoutClips, processor_class), {})
    settings, _ = processor_class.get_processor_dict(source)
    return without_clips.from_args_and_dict([_LOADERS[part](source) for part in parts], settings)

"""Frozen towers run once per clip: what the language model will see of each, kept and read back.

The features are taken behind the frozen connector and projector, so training from them needs neither the clips nor
the towers. One safetensors file holds them all: "<sha256 of the clip>.video" (n, width) and ".audio" (m, width).
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ai_therapist.errors import InvalidRecord
from ai_therapist.models.clip_input import ClipInput
from ai_therapist.videollama2 import VideoLLaMA2Qwen2ForConditionalGeneration
from ai_therapist.videollama2.feature_extraction_videollama2 import VideoLLaMA2FeatureExtractor
from ai_therapist.videollama2.video_processing_videollama2 import VideoLLaMA2VideoProcessor


class ClipFeatures(NamedTuple):
    """Embeddings at the place of a clip: picture (n, width), then sound (m, width) or None."""

    video: Tensor
    audio: Tensor | None

    @property
    def placeholders(self) -> str:
        """The control tokens that stand for the clip in a text, one per embedding."""
        return "<video>" * len(self.video) + "<audio>" * (0 if self.audio is None else len(self.audio))

    def to(self, device: torch.device | str) -> ClipFeatures:
        """The features on a device."""
        return ClipFeatures(self.video.to(device), None if self.audio is None else self.audio.to(device))


class ClipEncoder:
    """Runs the frozen towers, connector and projector of a model."""

    def __init__(self, model: VideoLLaMA2Qwen2ForConditionalGeneration) -> None:
        config = model.config
        self._model = model.eval()
        self._pictures = VideoLLaMA2VideoProcessor(
            num_frames=config.num_frames,
            tower="siglip",
            image_size=config.vision.image_size,
            aspect_ratio=config.image_aspect_ratio,
        )
        self._sounds = VideoLLaMA2FeatureExtractor(audio_padding="longest")

    @torch.no_grad()
    def encode(self, clip: ClipInput) -> ClipFeatures:
        """Features of one decoded clip."""
        pixels = self._pictures([clip.frames], return_tensors="pt")["pixel_values_videos"]
        video: Tensor = self._model.get_video_features(pixels).pooler_output[0]
        if clip.sound is None:
            return ClipFeatures(video, None)
        sound = self._sounds([clip.sound], return_tensors="pt")
        audio = self._model.get_audio_features(sound["input_features"], sound["input_features_mask"]).pooler_output[0]
        return ClipFeatures(video, audio)


def save_features(features: Iterable[tuple[str, ClipFeatures]], path: Path) -> None:
    """Write the features of clips, each under the sha256 of its file."""
    tensors: dict[str, Tensor] = {}
    for digest, clip in features:
        tensors[f"{digest}.video"] = clip.video.contiguous()
        if clip.audio is not None:
            tensors[f"{digest}.audio"] = clip.audio.contiguous()
    save_file(tensors, path)


def load_features(path: Path) -> dict[str, ClipFeatures]:
    """The features of every clip in the file, by the sha256 of the clip. Raises InvalidRecord for another file."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InvalidRecord(f"{path.name} holds no features of clips ({error})") from None
    digests = [name.removesuffix(".video") for name in tensors if name.endswith(".video")]
    return {digest: ClipFeatures(tensors[f"{digest}.video"], tensors.get(f"{digest}.audio")) for digest in digests}

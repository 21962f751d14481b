"""Frozen towers run once per clip: what the language model will see of each, kept and read back.

The features are taken before whatever is trained: behind connector and projector where these are frozen, else as the
towers give them. So training from them needs neither the clips nor the towers. Each clip has a safetensors file of its
own, so that a new clip encodes one clip and a forgotten one takes its features along.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ai_therapist.errors import InvalidRecord
from ai_therapist.models.clip_input import ClipInput
from ai_therapist.videollama2 import VideoLLaMA2Qwen2ForConditionalGeneration
from ai_therapist.videollama2.feature_extraction_videollama2 import VideoLLaMA2FeatureExtractor
from ai_therapist.videollama2.video_processing_videollama2 import VideoLLaMA2VideoProcessor

Taken = Literal["connector", "towers"]
"""Behind what part of the model the features are taken."""


class Places(NamedTuple):
    """How many tokens of the language model a clip takes up: of its picture and of its sound."""

    video: int
    audio: int

    @property
    def text(self) -> str:
        """The control tokens that stand for the clip in a text, one per embedding."""
        return "<video>" * self.video + "<audio>" * self.audio


class ClipFeatures(NamedTuple):
    """What is kept of a clip.

    Behind the connectors: embeddings of the picture (n, width), then of the sound (m, width) or None. Behind the
    towers: (frames, patches, width of the tower) and (steps, width of the tower), and `tokens` says what the
    connectors make of them.
    """

    video: Tensor
    audio: Tensor | None
    tokens: Places | None = None

    @property
    def places(self) -> Places:
        """How many tokens stand for the clip."""
        return self.tokens or Places(len(self.video), 0 if self.audio is None else len(self.audio))

    @property
    def placeholders(self) -> str:
        """The control tokens that stand for the clip in a text, one per embedding."""
        return self.places.text

    def to(self, device: torch.device | str) -> ClipFeatures:
        """The features on a device."""
        return ClipFeatures(self.video.to(device), None if self.audio is None else self.audio.to(device), self.tokens)


class ClipEncoder:
    """Runs the frozen towers of a model, and connector and projector behind them."""

    def __init__(self, model: VideoLLaMA2Qwen2ForConditionalGeneration, taken: Taken = "connector") -> None:
        config = model.config
        self._model = model.eval()
        self._taken = taken
        self.num_frames: int = config.num_frames
        """Frames that a clip is to be decoded to."""
        self._pictures = VideoLLaMA2VideoProcessor(
            num_frames=config.num_frames,
            tower="siglip",
            image_size=config.vision.image_size,
            aspect_ratio=config.image_aspect_ratio,
        )
        self._sounds = VideoLLaMA2FeatureExtractor(audio_padding="longest")

    @torch.no_grad()
    def encode(self, clip: ClipInput) -> ClipFeatures:
        """Features of one decoded clip, in the precision of the model."""
        pixels = self._pictures([clip.frames], return_tensors="pt")["pixel_values_videos"]
        seen = self._model.get_video_features(pixels)
        heard: Any = None
        if clip.sound is not None:
            device = next(self._model.parameters()).device
            sound = self._sounds([clip.sound], return_tensors="pt").to(device)
            heard = self._model.get_audio_features(sound["input_features"], sound["input_features_mask"])
        behind = ClipFeatures(seen.pooler_output[0], None if heard is None else heard.pooler_output[0])
        if self._taken == "connector":
            return behind
        return ClipFeatures(
            seen.last_hidden_state[0], None if heard is None else heard.last_hidden_state[0], behind.places
        )


def save_features(clip: ClipFeatures, path: Path) -> None:
    """Write the features of one clip."""
    tensors = {"video": clip.video} | ({} if clip.audio is None else {"audio": clip.audio})
    places = {name: str(count) for name, count in clip.places._asdict().items()}
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path, metadata=places)


def load_features(path: Path) -> ClipFeatures:
    """The features of one clip. Raises InvalidRecord for another file."""
    places = places_in(path)
    tensors = load_file(path)
    return ClipFeatures(tensors["video"], tensors.get("audio"), places)


def places_in(path: Path) -> Places:
    """How many tokens stand for the clip, without its tensors being read. Raises InvalidRecord for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            known = "video" in set(file.keys())
    except SafetensorError as error:
        raise InvalidRecord(f"{path.name} holds no features of a clip ({error})") from None
    if not known or not told.get("video", "").isdecimal() or not told.get("audio", "").isdecimal():
        raise InvalidRecord(f"{path.name} holds no features of a clip")
    return Places(int(told["video"]), int(told["audio"]))


class KeptFeatures(Mapping[str, ClipFeatures]):
    """The features of clips by sha256 of the clip, each read from its file when it is asked for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)

    def __getitem__(self, clip: str) -> ClipFeatures:
        return load_features(self._files[clip])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def placeholders(self) -> dict[str, str]:
        """The control tokens that stand for each clip."""
        return {clip: places_in(path).text for clip, path in self._files.items()}


def placeholders_of(features: Mapping[str, ClipFeatures]) -> dict[str, str]:
    """The control tokens that stand for each clip, from kept features without reading their tensors."""
    if isinstance(features, KeptFeatures):
        return features.placeholders
    return {clip: one.placeholders for clip, one in features.items()}

"""What a model's towers make of the clips, sounds and pictures of messages: decoded and encoded once."""

# mypy: allow-untyped-calls

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ai_therapist.errors import MissingInput, UnreadableMedia
from ai_therapist.media.frames import load_sound
from ai_therapist.models.clip_input import read_clip
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart

Media = ImagePart | VideoPart | AudioPart

_CLIPS = 64
"""Clips whose features are kept in memory."""
_PICTURES = ("PNG", "JPEG", "WEBP")
"""Formats of pictures that are opened; others only widen what a hostile file can reach."""


class Seen(NamedTuple):
    """A clip, sound or picture as the language model takes it in."""

    tags: str
    """Its placeholders, one per feature."""
    features: dict[str, Any]
    """Features by the name of the model's argument."""


class Towers:
    """The towers and connectors of a VideoLLaMA2, with the features of what they saw last."""

    def __init__(self, model: Any, processor: Any) -> None:
        """`model` is a VideoLLaMA2 with its towers."""
        self._model = model
        self._processor = processor
        named = processor.tokenizer.convert_tokens_to_ids
        self._placeholders = {named(f"<{kind}>"): f"<{kind}>" for kind in ("image", "video", "audio")}
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def look_at(self, part: Media) -> Seen:
        """What the towers make of a part; kept by its content, so that it is decoded once.

        Raises MissingInput for a file that is not there and UnreadableMedia for one that cannot be decoded.
        """
        key = f"{part.kind} {_sha256(Path(part.path))} {isinstance(part, VideoPart) and part.sound}"
        known = self._seen.get(key)
        if known is not None:
            self._seen.move_to_end(key)
            return known
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": [_chat_part(part, self._model.config.num_frames)]}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._model.device)
        made = Seen(
            "".join(
                self._placeholders[token] for token in inputs["input_ids"][0].tolist() if token in self._placeholders
            ),
            self._features(inputs),
        )
        self._seen[key] = made
        while len(self._seen) > _CLIPS:
            self._seen.popitem(last=False)
        return made

    def _features(self, inputs: Any) -> dict[str, Any]:
        model, found = self._model.model, {}
        if "pixel_values" in inputs:
            found["image_features"] = list(model.get_image_features(inputs["pixel_values"]).pooler_output)
        if "pixel_values_videos" in inputs:
            found["video_features"] = list(model.get_video_features(inputs["pixel_values_videos"]).pooler_output)
        if "input_features" in inputs:
            heard = model.get_audio_features(inputs["input_features"], inputs.get("input_features_mask"))
            found["audio_features"] = list(heard.pooler_output)
        return found


def media_of(messages: Sequence[Message]) -> list[Media]:
    """The parts of the messages that are no text, in order."""
    return [part for message in messages for part in message.parts if not isinstance(part, TextPart)]


def file_stamp(path: str) -> tuple[int, int]:
    """What tells a file from another that later takes its name: bytes, and time of change in nanoseconds.

    Raises MissingInput where there is none.
    """
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    return stat.st_size, stat.st_mtime_ns


def as_chat(message: Message, num_frames: int) -> dict[str, Any]:
    """The message as a processor takes it, its files decoded. Raises UnreadableMedia where one cannot be."""
    return {"role": message.role, "content": [_chat_part(part, num_frames) for part in message.parts]}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None


def _chat_part(part: TextPart | Media, num_frames: int) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            return {"type": "image", "image": _read_picture(Path(part.path))}
        case AudioPart():
            return {"type": "audio", "audio": load_sound(Path(part.path))}
        case VideoPart():
            clip = read_clip(Path(part.path), num_frames)
            return {"type": "video", "video": clip.frames, "sound": clip.sound if part.sound else None}


def _read_picture(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=_PICTURES) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableMedia(f"{path}: not a readable picture ({type(error).__name__})") from None

"""What a model on a server is shown: which parts it takes, the bytes of a clip, and how many tokens they can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ai_therapist.errors import CannotTake
from ai_therapist.media.frames import load_sound
from ai_therapist.media.pictures import encode_jpeg, encode_wav
from ai_therapist.models.clip_input import read_clip
from ai_therapist.models.options import ModelOptions
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart

Clips = Literal["none", "frames", "video"]
File = tuple[bytes, str]
"""Content and media type."""

# The large services count 258 to 1,100 tokens a picture and 32 a second of sound, one picture a second of a video.
_TOKENS_A_PICTURE, _TOKENS_A_SECOND = 2_000, 400
_SHORTEST_CLIP_RATE = 20_000
"""No clip has fewer bytes a second: gives the longest time that a file of some size can play."""


def accepted(clips: Clips, options: ModelOptions) -> frozenset[Modality]:
    """What messages may show where clips are sent in this way."""
    if clips == "none":
        return frozenset({Modality.TEXT})
    hears = clips == "video" or options.sound
    return frozenset({Modality.TEXT, Modality.VIDEO} | ({Modality.AUDIO} if hears else set()))


def check_shown(messages: Sequence[Message], accepts: frozenset[Modality], name: str) -> None:
    """Raises ValueError where a message shows more than a model accepts."""
    for message in messages:
        if not message.modalities <= accepts:
            raise ValueError(f"{name} accepts {sorted(accepts)}, a message shows more")


def shows_media(messages: Sequence[Message]) -> bool:
    """Whether the messages show more than words."""
    return any(message.modalities - {Modality.TEXT} for message in messages)


def decoded(part: ImagePart | AudioPart | VideoPart, options: ModelOptions) -> Iterator[File]:
    """Pictures and sound of a part: a picture as it is, sound as WAV, a clip as frames and, where wanted, its sound.

    Raises UnreadableMedia for what cannot be decoded.
    """
    match part:
        case ImagePart():
            yield read_file(Path(part.path), 20), "image/png" if part.path.endswith(".png") else "image/jpeg"
        case AudioPart():
            yield encode_wav(load_sound(Path(part.path))), "audio/wav"
        case VideoPart():
            clip = read_clip(Path(part.path), options.frames)
            yield from ((encode_jpeg(frame), "image/jpeg") for frame in clip.frames)
            if part.sound and options.sound and clip.sound is not None:
                yield encode_wav(clip.sound), "audio/wav"


def read_file(path: Path, most_mb: int) -> bytes:
    """Raises CannotTake where a file is too large to be part of a request."""
    if path.stat().st_size > most_mb << 20:
        raise CannotTake(f"clip larger than {most_mb} MB")
    return path.read_bytes()


def most_tokens(messages: Sequence[Message], options: ModelOptions) -> int:
    """As many tokens as the messages can be, whatever the tokeniser: an upper bound, several times the true number."""
    return 1_000 + sum(_most_tokens(part, options.frames) for message in messages for part in message.parts)


def begun(messages: Sequence[Message], prefix: str) -> Sequence[Message]:
    """The messages with the wish that the answer begin with `prefix`; servers differ in how to begin it for them."""
    if not prefix:
        return messages
    *first, last = messages
    wish = TextPart(text=f"Begin your answer with exactly this and go on from there:\n{prefix}")
    return [*first, last.model_copy(update={"parts": (*last.parts, wish)})]


def _most_tokens(part: TextPart | ImagePart | AudioPart | VideoPart, frames: int) -> int:
    match part:
        case TextPart():
            # No tokeniser makes more tokens than there are bytes.
            return len(part.text.encode("utf-8", "surrogatepass")) + 16
        case ImagePart():
            return _TOKENS_A_PICTURE
        case AudioPart() | VideoPart():
            seconds = Path(part.path).stat().st_size // _SHORTEST_CLIP_RATE + 1
            return frames * _TOKENS_A_PICTURE + seconds * _TOKENS_A_SECOND

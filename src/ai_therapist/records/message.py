"""What is put before a model: messages made of text, image, video and audio parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.records.annotation import Modality
from ai_therapist.records.base import Record


class TextPart(Record):
    """Words."""

    kind: Literal["text"] = "text"
    text: Annotated[str, Field(repr=False)]


class ImagePart(Record):
    """A picture by the path of its file."""

    kind: Literal["image"] = "image"
    path: str


class VideoPart(Record):
    """A clip by the path of its file; `sound` says that its sound track belongs to it."""

    kind: Literal["video"] = "video"
    path: str
    sound: bool = True


class AudioPart(Record):
    """Sound by the path of its file."""

    kind: Literal["audio"] = "audio"
    path: str


Part = Annotated[TextPart | ImagePart | VideoPart | AudioPart, Field(discriminator="kind")]


class Message(Record):
    """One turn of the exchange with a model."""

    role: Literal["system", "user", "assistant"]
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]

    @classmethod
    def of_text(cls, role: Literal["system", "user", "assistant"], text: str) -> Message:
        """A message of one text part."""
        return cls(role=role, parts=(TextPart(text=text),))

    @property
    def text(self) -> str:
        """All text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the message shows; a video with sound counts as video and audio."""
        shown: set[Modality] = set()
        for part in self.parts:
            match part:
                case TextPart():
                    shown.add(Modality.TEXT)
                case ImagePart():
                    shown.add(Modality.VIDEO)
                case VideoPart():
                    shown |= {Modality.VIDEO, Modality.AUDIO} if part.sound else {Modality.VIDEO}
                case AudioPart():
                    shown.add(Modality.AUDIO)
        return frozenset(shown)

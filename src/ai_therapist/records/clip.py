"""The piece of the standardised video that belongs to one turn."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId, content_id
from ai_therapist.records.session import Media
from ai_therapist.records.timespan import TimeSpan


class Fault(StrEnum):
    """Why a clip cannot be shown to a model that sees and hears."""

    TOO_SHORT = "too_short"
    NO_VIDEO = "no_video"
    FRAMES_MISSING = "frames_missing"
    HIDDEN_FRAMES = "hidden_frames"
    NOT_A_KEYFRAME = "not_a_keyframe"


class Clip(Record):
    """A turn's stretch of video. A clip with faults has a record all the same: it routes to text."""

    id: RecordId
    session: RecordId
    utterances: Annotated[tuple[RecordId, ...], Field(min_length=1)]
    span: TimeSpan
    media: Media | None
    faults: frozenset[Fault]

    @model_validator(mode="after")
    def _media_or_fault(self) -> Self:
        if self.media is None and not self.faults:
            raise ValueError("a clip without media needs a fault that says why")
        return self

    @property
    def usable(self) -> bool:
        """Whether a model can be shown the clip."""
        return self.media is not None and not self.faults

    @classmethod
    def of(
        cls,
        session: str,
        utterances: tuple[str, ...],
        span: TimeSpan,
        media: Media | None,
        faults: frozenset[Fault],
    ) -> Clip:
        """A clip with the id that its utterances and span give it."""
        key = content_id("clp", session, *utterances, span.start_ms, span.end_ms)
        return cls(id=key, session=session, utterances=utterances, span=span, media=media, faults=faults)

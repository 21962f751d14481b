"""A stretch of a session in integer milliseconds, half-open: its end is the first moment outside.

    start_ms              end_ms
──────●━━━━━━━━━━━━━━━━━━━━━○──────▶ ms
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record


class TimeSpan(Record):
    """Half-open interval [start_ms, end_ms) with 0 ≤ start < end."""

    start_ms: Annotated[int, Field(ge=0)]
    end_ms: int

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.end_ms <= self.start_ms:
            raise ValueError("end_ms must be greater than start_ms")
        return self

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds, at least 1."""
        return self.end_ms - self.start_ms

    def overlap_ms(self, other: TimeSpan) -> int:
        """Milliseconds that both spans cover; 0 where they only touch."""
        return max(0, min(self.end_ms, other.end_ms) - max(self.start_ms, other.start_ms))

    def contains(self, other: TimeSpan) -> bool:
        """Whether `other` lies wholly inside this span."""
        return self.start_ms <= other.start_ms and other.end_ms <= self.end_ms

    def joined(self, other: TimeSpan) -> TimeSpan:
        """The smallest span that covers both."""
        return TimeSpan(start_ms=min(self.start_ms, other.start_ms), end_ms=max(self.end_ms, other.end_ms))

    def with_offset(self, offset_ms: int) -> TimeSpan:
        """The same length, moved by `offset_ms`. Raises pydantic's ValidationError below zero."""
        return TimeSpan(start_ms=self.start_ms + offset_ms, end_ms=self.end_ms + offset_ms)

    def frames(self, fps: Fraction) -> range:
        """Numbers of the frames whose display time i/fps lies in the span: ceil(start·fps) up to ceil(end·fps).

        Adjacent spans neither share nor lose a frame at any rational rate.
        """
        return range(_ceil_frame(self.start_ms, fps), _ceil_frame(self.end_ms, fps))

    def samples(self, rate_hz: int) -> range:
        """Numbers of the audio samples in the span at `rate_hz`; 1 ms is exactly 16 samples at 16 kHz."""
        return range(-(-self.start_ms * rate_hz // 1000), -(-self.end_ms * rate_hz // 1000))


def _ceil_frame(time_ms: int, fps: Fraction) -> int:
    return -(-time_ms * fps.numerator // (1000 * fps.denominator))

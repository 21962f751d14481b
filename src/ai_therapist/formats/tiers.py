"""Labelled intervals in named tiers: what TextGrid and ELAN hold, and what labels of people travel in.

    A            ├── so how was the week ──┤        ├──── and then ────┤
    A - words    ├so┤├how┤├was┤├the┤├week┤          ├and┤├─then─┤
    A - emotion  ├──────── neutral ────────┤                              vocabulary: anger, sadness, …

A tier that is named "SPEAKER - KIND" says something about that speaker's talk; one without " - " holds the talk itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.text import LONGEST_TEXT, CleanText, clean, clock
from ai_therapist.records import TimeSpan
from ai_therapist.records.base import Record

KIND_MARK = " - "
"""Stands between the speaker and the kind in the name of a tier that is about the speaker's talk."""

_LONGEST_NAME = 200


class Interval(Record):
    """A stretch of time and its label, which may be empty only where the format can show that."""

    span: TimeSpan
    text: Annotated[CleanText, Field(max_length=LONGEST_TEXT, repr=False)]


class Tier(Record):
    """Intervals in order of time, none overlapping another."""

    name: Annotated[CleanText, Field(min_length=1, max_length=_LONGEST_NAME)]
    intervals: tuple[Interval, ...]
    vocabulary: tuple[str, ...] | None = None
    """The labels an annotator may choose from; None for free text. A label outside it is kept, not corrected."""
    participant: Annotated[CleanText, Field(min_length=1)] | None = None
    """Whom the tier is about. ELAN holds it, TextGrid does not."""
    annotator: Annotated[CleanText, Field(min_length=1)] | None = None
    """Who made the intervals. ELAN holds it, TextGrid does not."""

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        ends_ms = 0
        for interval in self.intervals:
            if interval.span.start_ms < ends_ms:
                raise ValueError(f"intervals overlap or are not in order at {interval.span.start_ms} ms")
            ends_ms = interval.span.end_ms
        return self

    @property
    def kind(self) -> str | None:
        """What the tier says about a speaker's talk, as "words" or "emotion"; None for the talk itself."""
        _, mark, kind = self.name.rpartition(KIND_MARK)
        return kind if mark else None

    @property
    def speaker(self) -> str:
        """Whose talk the tier holds or is about: the participant, or else the name without its kind."""
        return self.participant or self.name.rpartition(KIND_MARK)[0] or self.name


def make_tier(
    name: str,
    pieces: Iterable[tuple[int, int, str]],
    where: str,
    vocabulary: tuple[str, ...] | None = None,
    participant: str | None = None,
    annotator: str | None = None,
) -> Tier:
    """A tier from (start_ms, end_ms, text) in any order. Raises InvalidRecord that names `where` for a wrong one."""
    if not 0 < len(clean(name)) <= _LONGEST_NAME:
        raise InvalidRecord(f"{where}: the name of the tier is empty or too long")
    intervals = []
    ends_ms = 0
    for start_ms, end_ms, text in sorted(pieces, key=lambda piece: piece[:2]):
        if not 0 <= start_ms < end_ms:
            raise InvalidRecord(f"{where}: the interval at {clock(start_ms)} does not end after its start")
        if start_ms < ends_ms:
            raise InvalidRecord(f"{where}: two intervals of the tier overlap at {clock(start_ms)}")
        if len(text) > LONGEST_TEXT:
            raise InvalidRecord(f"{where}: the text at {clock(start_ms)} has more than {LONGEST_TEXT:,} characters")
        intervals.append(Interval(span=TimeSpan(start_ms=start_ms, end_ms=end_ms), text=text))
        ends_ms = end_ms
    return Tier(
        name=name,
        intervals=tuple(intervals),
        vocabulary=vocabulary,
        participant=participant or None,
        annotator=annotator or None,
    )

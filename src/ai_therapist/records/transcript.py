"""What was said, by whom, and when."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId, content_id
from ai_therapist.records.timespan import TimeSpan


class Word(Record):
    """One recognised word and its time."""

    text: Annotated[str, Field(min_length=1, repr=False)]
    span: TimeSpan
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


class Utterance(Record):
    """An uninterrupted stretch of speech of one speaker. Its text stays out of `repr`."""

    id: RecordId
    session: RecordId
    index: Annotated[int, Field(ge=0)]
    """Place in the session, counted from 0 in order of time."""
    speaker: Annotated[str, Field(min_length=1)]
    span: TimeSpan
    text: Annotated[str, Field(repr=False)]
    words: Annotated[tuple[Word, ...], Field(repr=False)]
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.text.strip():
            raise ValueError("text is blank")
        if not all(self.span.contains(word.span) for word in self.words):
            raise ValueError("a word lies outside the utterance's span")
        return self

    @classmethod
    def of(
        cls,
        session: str,
        index: int,
        speaker: str,
        span: TimeSpan,
        text: str,
        words: tuple[Word, ...] = (),
        confidence: float | None = None,
    ) -> Utterance:
        """An utterance with the id that its session, speaker, span and text give it."""
        key = content_id("utt", session, speaker, span.start_ms, span.end_ms, text)
        return cls(
            id=key,
            session=session,
            index=index,
            speaker=speaker,
            span=span,
            text=text,
            words=words,
            confidence=confidence,
        )


class Transcript(Record):
    """All utterances of one session in order of time, as one transcriber heard them."""

    session: RecordId
    transcriber: Annotated[str, Field(min_length=1)]
    """Name and version of the recogniser or the file format read."""
    utterances: tuple[Utterance, ...]

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        starts = [utterance.span.start_ms for utterance in self.utterances]
        if starts != sorted(starts):
            raise ValueError("utterances are not in order of time")
        if [utterance.index for utterance in self.utterances] != list(range(len(self.utterances))):
            raise ValueError("utterance indices do not count from 0")
        if any(utterance.session != self.session for utterance in self.utterances):
            raise ValueError("an utterance belongs to another session")
        return self

"""Stretches of speech as files hold them: a span, and speaker, text, word times and confidence where the file has them.

What a file does not say stays absent: a passage without a speaker has None, one without word times has no words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import InvalidRecord
from ai_therapist.formats.text import LONGEST_TEXT, CleanText, clean, clock
from ai_therapist.formats.tiers import KIND_MARK, Tier, make_tier
from ai_therapist.records import TimeSpan, Transcript, Utterance, Word
from ai_therapist.records.base import Record

UNKNOWN_SPEAKER = "UNKNOWN"
"""Label in a transcript of whoever spoke where the file does not say; roles are never given to it."""

NO_SPEAKER = "(no speaker)"
"""Name of the tier that holds what has no speaker, in formats where a tier must have a name."""

_WORDS = f"{KIND_MARK}words"

_LONGEST_LABEL = 100

_PAUSE_MS = 700
"""Words alone, without anything that groups them, become passages at pauses longer than this."""


class Passage(Record):
    """One stretch of speech as a file holds it."""

    span: TimeSpan
    speaker: Annotated[CleanText, Field(min_length=1, max_length=_LONGEST_LABEL)] | None = None
    text: Annotated[CleanText, Field(max_length=LONGEST_TEXT, repr=False)] = ""
    """What was said; empty where the file only says who spoke, as RTTM does."""
    words: Annotated[tuple[Word, ...], Field(repr=False)] = ()
    """Words whose times the file gives. Others are in the text alone: no time is invented."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


def make_passage(
    span: tuple[int, int],
    where: str,
    speaker: str | None = None,
    text: str = "",
    words: Iterable[Word] = (),
    confidence: float | None = None,
) -> Passage:
    """A passage from what a file holds, `span` in milliseconds. Raises InvalidRecord that names `where`.

    Words that reach out of the span widen it: recognisers give the two independently.
    """
    start_ms, end_ms = span
    if not 0 <= start_ms < end_ms:
        raise InvalidRecord(f"{where}: it ends at {clock(max(0, end_ms))}, not after its start at {clock(start_ms)}")
    if len(text) > LONGEST_TEXT:
        raise InvalidRecord(f"{where}: a text of more than {LONGEST_TEXT:,} characters")
    label = None if speaker is None else clean(speaker) or None
    if label is not None and len(label) > _LONGEST_LABEL:
        raise InvalidRecord(f"{where}: a speaker label of more than {_LONGEST_LABEL} characters")
    timed = tuple(sorted(words, key=lambda word: word.span.start_ms))
    whole = TimeSpan(
        start_ms=min([start_ms, *(word.span.start_ms for word in timed)]),
        end_ms=max([end_ms, *(word.span.end_ms for word in timed)]),
    )
    return Passage(span=whole, speaker=label, text=text, words=timed, confidence=confidence)


def make_word(text: str, start_ms: int, end_ms: int, confidence: float | None = None) -> Word | None:
    """A word with its time, or None where the text is blank or the time is not one: it stays in the text alone."""
    bare = clean(text)
    if not bare or not 0 <= start_ms < end_ms:
        return None
    return Word(text=bare, span=TimeSpan(start_ms=start_ms, end_ms=end_ms), confidence=confidence)


def in_order(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """Passages by start, then end; those that are equal keep their order."""
    return tuple(sorted(passages, key=lambda passage: (passage.span.start_ms, passage.span.end_ms)))


def passages_of(transcript: Transcript) -> tuple[Passage, ...]:
    """A transcript as passages."""
    return tuple(
        Passage(
            span=utterance.span,
            speaker=None if utterance.speaker == UNKNOWN_SPEAKER else utterance.speaker,
            text=utterance.text,
            words=tuple(
                word.model_copy(update={"text": bare}) for word in utterance.words if (bare := clean(word.text))
            ),
            confidence=utterance.confidence,
        )
        for utterance in transcript.utterances
    )


def to_transcript(passages: Iterable[Passage], session: str, transcriber: str, where: str) -> Transcript:
    """Passages as the transcript of a session. Whoever has no label is UNKNOWN_SPEAKER.

    Raises InvalidRecord where there are passages and none has a text, as in RTTM.
    """
    ordered = in_order(passages)
    said = [passage for passage in ordered if passage.text]
    if ordered and not said:
        raise InvalidRecord(f"{where}: says who spoke when, but not a word: put a transcript of another format there")
    utterances = tuple(
        Utterance.of(
            session,
            index,
            passage.speaker or UNKNOWN_SPEAKER,
            passage.span,
            passage.text,
            passage.words,
            passage.confidence,
        )
        for index, passage in enumerate(said)
    )
    return Transcript(session=session, transcriber=transcriber, utterances=utterances)


def with_speakers(passages: Sequence[Passage], turns: Sequence[Passage]) -> tuple[Passage, ...]:
    """The passages, each one without a speaker given the one whose `turns` cover most of it; None where none does."""
    named = []
    for passage in passages:
        shares: dict[str, int] = {}
        for turn in turns:
            if turn.speaker is not None:
                shares[turn.speaker] = shares.get(turn.speaker, 0) + passage.span.overlap_ms(turn.span)
        best = max(shares, key=lambda label: shares[label], default=None)
        if passage.speaker is None and best is not None and shares[best]:
            passage = passage.model_copy(update={"speaker": best})
        named.append(passage)
    return tuple(named)


def by_pauses(words: Sequence[tuple[str | None, Word]], where: str) -> tuple[Passage, ...]:
    """Words with their speakers as passages: a change of speaker or a pause of more than 700 ms begins another."""
    groups: list[list[tuple[str | None, Word]]] = [[one] for one in words[:1]]
    for (speaker, word), following in pairwise(words):
        if following[0] != speaker or following[1].span.start_ms - word.span.end_ms > _PAUSE_MS:
            groups.append([])
        groups[-1].append(following)
    return tuple(
        make_passage(
            (group[0][1].span.start_ms, max(word.span.end_ms for _, word in group)),
            where,
            group[0][0],
            " ".join(word.text for _, word in group),
            [word for _, word in group],
        )
        for group in groups
    )


def to_tiers(passages: Sequence[Passage]) -> tuple[Tier, ...]:
    """A tier per speaker in order of appearance, each followed by one of its timed words where it has any.

    Raises InvalidRecord where passages or words of one speaker overlap, which no tier can hold.
    """
    by_label: dict[str, list[Passage]] = {}
    for passage in in_order(passages):
        by_label.setdefault(NO_SPEAKER if passage.speaker is None else passage.speaker, []).append(passage)
    tiers = []
    for label, spoken in by_label.items():
        if KIND_MARK in label:
            raise InvalidRecord(f"speaker {label!r}: {KIND_MARK!r} stands between speaker and kind of a tier: rename")
        who = None if label == NO_SPEAKER else label
        where = f"speaker {label!r}"
        stretches = [(one.span.start_ms, one.span.end_ms, one.text) for one in spoken]
        tiers.append(make_tier(label, stretches, where, participant=who))
        words = [(word.span.start_ms, word.span.end_ms, word.text) for one in spoken for word in one.words]
        if words:
            tiers.append(make_tier(label + _WORDS, words, f"{where}, words", participant=who))
    return tuple(tiers)


def from_tiers(tiers: Sequence[Tier], where: str) -> tuple[Passage, ...]:
    """The speech of a document: its tiers without a kind, with the words of "SPEAKER - words" tiers put inside.

    Tiers of other kinds are labels or the like and no speech. Word tiers alone, as forced aligners write them, become
    passages at pauses. Raises InvalidRecord where nothing is left.
    """
    timed = {tier.speaker: tier for tier in tiers if tier.kind == "words"}
    talk = [tier for tier in tiers if tier.kind is None and tier.vocabulary is None]
    passages: list[Passage] = []
    for tier in talk:
        words = _words_of(timed[tier.speaker]) if tier.speaker in timed else []
        place = 0
        for interval in tier.intervals:
            inside = []
            while place < len(words) and words[place].span.start_ms < interval.span.end_ms:
                if interval.span.contains(words[place].span):
                    inside.append(words[place])
                place += 1
            span = interval.span.start_ms, interval.span.end_ms
            passages.append(make_passage(span, where, _named(tier), interval.text, inside))
    if not talk:
        for tier in timed.values():
            passages += by_pauses([(_named(tier), word) for word in _words_of(tier)], where)
    if tiers and not talk and not timed:
        raise InvalidRecord(f"{where}: no tier holds speech: such a tier is named by its speaker alone")
    return in_order(passages)


def _named(tier: Tier) -> str | None:
    return None if tier.speaker == NO_SPEAKER else tier.speaker


def _words_of(tier: Tier) -> list[Word]:
    return [Word(text=one.text, span=one.span) for one in tier.intervals if one.text]

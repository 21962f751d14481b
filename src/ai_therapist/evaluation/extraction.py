"""How well a session was extracted, against its gold transcript: words, speakers, roles and turn boundaries."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ai_therapist.evaluation.alignment import Timeline, best_mapping
from ai_therapist.evaluation.gold import GoldSession
from ai_therapist.evaluation.word_errors import WordErrors, word_errors
from ai_therapist.records import Role, Session, Transcript
from ai_therapist.records.base import Record

_Count = Annotated[int, Field(ge=0)]
_PARTIES = (Role.THERAPIST, Role.CLIENT)


class SpeakerErrors(Record):
    """Who was taken for whom. A word that no heard utterance touches counts as wrong everywhere."""

    words: _Count
    """Gold words."""
    right_speaker: _Count
    """Gold words whose heard label is mapped to their speaker, under the best one-to-one mapping."""
    uncovered: _Count
    """Gold words at a time when nothing was heard."""
    right_role: _Count
    """Gold words heard from a label with their speaker's role; a third voice is right as other or unknown."""
    parties: _Count
    """Gold speakers who are therapist or client."""
    right_parties: _Count
    """Of these, the speakers whose mapped label carries their role; a speaker without a label counts as wrong."""


class GoldComparison(Record):
    """One session against its gold transcript. Counts add up over sessions."""

    clean: bool
    words: WordErrors
    speakers: SpeakerErrors
    start_errors_ms: tuple[_Count, ...]
    """For every turn, how far its start lies from the nearest start of a gold utterance."""
    end_errors_ms: tuple[_Count, ...]
    """The same for ends."""


def compare(gold: GoldSession, session: Session, heard: Transcript, turns: Transcript) -> GoldComparison:
    """Compare what was heard (`heard`), who speaks (`session`) and the merged `turns` with gold."""
    said = " ".join(utterance.text for utterance in sorted(gold.utterances, key=lambda each: each.start_ms))
    return GoldComparison(
        clean=gold.clean,
        words=word_errors(said, " ".join(utterance.text for utterance in heard.utterances)),
        speakers=speaker_errors(gold, session, heard),
        start_errors_ms=_distances(
            [turn.span.start_ms for turn in turns.utterances], [each.start_ms for each in gold.utterances]
        ),
        end_errors_ms=_distances(
            [turn.span.end_ms for turn in turns.utterances], [each.end_ms for each in gold.utterances]
        ),
    )


def speaker_errors(gold: GoldSession, session: Session, heard: Transcript) -> SpeakerErrors:
    """Follow every gold word to the label heard at its time, and the label to its mapped speaker and its role."""
    timeline = Timeline(heard.utterances)
    words: list[tuple[str, Role, str | None]] = []
    for utterance in gold.utterances:
        for word in utterance.words:
            found = timeline.at(word.span)
            words.append((utterance.speaker, utterance.role, None if found is None else found.speaker))
    mapping = best_mapping(Counter((label, speaker) for speaker, _, label in words if label is not None))
    label_of = {speaker: label for label, speaker in mapping.items()}
    parties = {utterance.speaker: utterance.role for utterance in gold.utterances if utterance.role in _PARTIES}
    return SpeakerErrors(
        words=len(words),
        right_speaker=sum(label is not None and mapping.get(label) == speaker for speaker, _, label in words),
        uncovered=sum(label is None for _, _, label in words),
        right_role=sum(label is not None and _is_right(session.role_of(label), role) for _, role, label in words),
        parties=len(parties),
        right_parties=sum(
            speaker in label_of and session.role_of(label_of[speaker]) is role for speaker, role in parties.items()
        ),
    )


def _is_right(heard: Role, gold: Role) -> bool:
    return heard is gold if gold in _PARTIES else heard not in _PARTIES


def _distances(moments: Sequence[int], references: Sequence[int]) -> tuple[int, ...]:
    ordered = sorted(references)
    return tuple(_distance(moment, ordered) for moment in moments)


def _distance(moment: int, ordered: Sequence[int]) -> int:
    place = bisect_left(ordered, moment)
    return min(abs(moment - reference) for reference in ordered[max(0, place - 1) : place + 1])

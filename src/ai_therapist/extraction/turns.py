"""Utterances become turns, and turns get their place on the 16 FPS grid."""

from __future__ import annotations

from collections.abc import Sequence

from ai_therapist.extraction.config import TurnsConfig
from ai_therapist.formats.passages import UNKNOWN_SPEAKER
from ai_therapist.media.standardise import FPS
from ai_therapist.records import TimeSpan, Transcript, Utterance


def merge_turns(transcript: Transcript, config: TurnsConfig) -> Transcript:
    """The transcript with adjacent utterances of one speaker joined, where the pause is short enough.

    No word is lost: texts are joined by a space, words are kept, confidences averaged. Without `merge` every
    utterance is a turn of its own.
    """
    groups: list[list[Utterance]] = []
    for utterance in transcript.utterances:
        last = groups[-1][-1] if groups else None
        if (
            config.merge
            and last is not None
            and last.speaker == utterance.speaker
            # Two whom nobody named may be two people.
            and utterance.speaker != UNKNOWN_SPEAKER
            and utterance.span.start_ms - last.span.end_ms <= config.max_pause_ms
        ):
            groups[-1].append(utterance)
        else:
            groups.append([utterance])
    turns = tuple(_joined(index, group) for index, group in enumerate(groups))
    return Transcript(session=transcript.session, transcriber=transcript.transcriber, utterances=turns)


def clip_frames(turns: Sequence[Utterance]) -> tuple[range, ...]:
    """Frame numbers at 16 FPS of each turn's clip.

    A clip begins on the grid at or before its turn and ends at or after it, but where the frame would reach back into
    what another person said, or on into it, it gives way: a lost sixteenth of a second is better than a stranger's
    word. Only where people really speak at the same time does a clip hold both.

        frame    |     |     |     |     |     |
        other    ━━━━━━━━┓
        turn              ┗━━━━━━━━━━━━━━━━
        clip                 ├───────────────┤     not from the frame in which the other still speaks
    """
    return tuple(_frames(turn, [other for other in turns if _may_differ(turn, other)]) for turn in turns)


def span_of(frames: range) -> TimeSpan:
    """The span in milliseconds whose frames at 16 FPS are exactly `frames`.

    A frame lasts 62.5 ms; rounding both ends down keeps `TimeSpan.frames` exact.
    """
    return TimeSpan(start_ms=frames.start * 1000 // FPS, end_ms=frames.stop * 1000 // FPS)


def _may_differ(turn: Utterance, other: Utterance) -> bool:
    """Whether another turn is, or may be, another person's."""
    return other.speaker != turn.speaker or (other.speaker == UNKNOWN_SPEAKER and other.id != turn.id)


def _frames(turn: Utterance, others: Sequence[Utterance]) -> range:
    span = turn.span
    ended = max((o.span.end_ms for o in others if o.span.end_ms <= span.start_ms), default=0)
    begun = min((o.span.start_ms for o in others if o.span.start_ms >= span.end_ms), default=None)
    first = max(_floor(span.start_ms), _ceil(ended))
    stop = _ceil(span.end_ms) if begun is None else min(_ceil(span.end_ms), _floor(begun))
    return range(first, max(stop, first + 1))


def _floor(time_ms: int) -> int:
    return time_ms * FPS // 1000


def _ceil(time_ms: int) -> int:
    return -(-time_ms * FPS // 1000)


def _joined(index: int, group: Sequence[Utterance]) -> Utterance:
    span = TimeSpan(start_ms=group[0].span.start_ms, end_ms=max(part.span.end_ms for part in group))
    words = tuple(word for part in group for word in part.words)
    sure = [part.confidence for part in group if part.confidence is not None]
    confidence = sum(sure) / len(sure) if sure else None
    text = " ".join(part.text for part in group)
    return Utterance.of(group[0].session, index, group[0].speaker, span, text, words, confidence)

"""Merging loses nothing, and clips lie on the grid without a stranger's words."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.extraction.config import TurnsConfig
from ai_therapist.extraction.turns import clip_frames, merge_turns, span_of
from ai_therapist.media.standardise import FPS
from ai_therapist.records import TimeSpan, Transcript, Utterance, Word
from ai_therapist.testing import make_session

SESSION = make_session()
Line = tuple[str, int, int]


def said(*lines: Line) -> Transcript:
    """A transcript of (label, start, end); every line is one word that says its place."""
    utterances = []
    for place, (label, start, end) in enumerate(lines):
        span = TimeSpan(start_ms=start, end_ms=end)
        word = Word(text=f"w{place}", span=span)
        utterances.append(Utterance.of(SESSION.id, place, label, span, word.text, (word,), confidence=0.5))
    return Transcript(session=SESSION.id, transcriber="test", utterances=tuple(utterances))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    now, lines = 0, []
    for _ in range(draw(st.integers(0, 12))):
        now += draw(st.integers(0, 5000))
        end = now + draw(st.integers(1, 4000))
        lines.append((draw(st.sampled_from("ABC")), now, end))
        now = end
    return said(*lines)


def test_adjacent_utterances_of_one_speaker_become_a_turn() -> None:
    turns = merge_turns(said(("A", 0, 1000), ("A", 1500, 2000), ("B", 2500, 3000), ("A", 3200, 4000)), TurnsConfig())
    assert [(t.speaker, t.text, t.span.start_ms, t.span.end_ms) for t in turns.utterances] == [
        ("A", "w0 w1", 0, 2000),
        ("B", "w2", 2500, 3000),
        ("A", "w3", 3200, 4000),
    ]


@pytest.mark.parametrize(("pause_ms", "turns"), [(3000, 1), (3001, 2)])
def test_a_long_pause_ends_a_turn(pause_ms: int, turns: int) -> None:
    spoken = said(("A", 0, 1000), ("A", 1000 + pause_ms, 9000))
    assert len(merge_turns(spoken, TurnsConfig()).utterances) == turns


def test_merging_can_be_switched_off() -> None:
    spoken = said(("A", 0, 1000), ("A", 1500, 2000))
    assert merge_turns(spoken, TurnsConfig(merge=False)) == spoken


@given(transcripts())
def test_no_word_is_lost_or_moved(spoken: Transcript) -> None:
    merged = merge_turns(spoken, TurnsConfig())
    assert [w for t in merged.utterances for w in t.words] == [w for u in spoken.utterances for w in u.words]
    assert merge_turns(merged, TurnsConfig()) == merged


@given(transcripts())
def test_clips_hold_no_frame_of_another_speakers_words(spoken: Transcript) -> None:
    turns = merge_turns(spoken, TurnsConfig()).utterances
    for turn, frames in zip(turns, clip_frames(turns), strict=True):
        begin_ms, end_ms = frames.start * 1000 / FPS, frames.stop * 1000 / FPS
        assert abs(begin_ms - turn.span.start_ms) < 62.5
        assert end_ms - turn.span.end_ms < 62.5 or len(frames) == 1
        if turn.span.duration_ms >= 200:
            for other in turns:
                if other.speaker != turn.speaker:
                    assert other.span.end_ms <= begin_ms or other.span.start_ms >= end_ms


def test_a_clip_starts_on_the_grid_at_or_before_its_turn() -> None:
    (frames,) = clip_frames(said(("A", 1010, 2000)).utterances)
    assert frames == range(16, 32)


def test_a_clip_gives_way_to_another_speakers_last_word() -> None:
    _, frames = clip_frames(said(("B", 0, 1005), ("A", 1010, 2000)).utterances)
    assert frames.start == 17


def test_real_overlap_is_kept() -> None:
    _, frames = clip_frames(said(("B", 0, 1500), ("A", 1010, 2000)).utterances)
    assert frames == range(16, 32)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_the_span_of_frames_has_exactly_these_frames(start: int, length: int) -> None:
    frames = range(start, start + length)
    assert span_of(frames).frames(Fraction(FPS)) == frames

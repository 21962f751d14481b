"""Two voices are found and told apart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.extraction.transcribers.speakers import Voiced, tell_apart
from ai_therapist.records import TimeSpan

RATE_HZ = 16_000


def voice(pitch_hz: float, formant_hz: float, duration_ms: int) -> NDArray[np.float32]:
    """A buzz with one resonance and a little vibrato, as different voices differ in both."""
    times = np.arange(duration_ms * 16) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * (times + 0.002 * np.sin(2 * np.pi * 3 * times))
    partials = range(1, int(4000 / pitch_hz))
    weights = [1 / (1 + ((number * pitch_hz - formant_hz) / 300) ** 2) for number in partials]
    tone = sum(weight * np.sin(number * phase) for number, weight in zip(partials, weights, strict=True))
    noise = np.random.default_rng(7).normal(0, 0.01, len(times))
    return np.asarray(0.1 * tone / max(weights) + noise, np.float32)


LOW, HIGH = (100.0, 700.0), (210.0, 1300.0)


def line(*parts: tuple[tuple[float, float], int]) -> tuple[NDArray[np.float32], list[TimeSpan]]:
    """Voices one after another without a pause, and the whole as one stretch of speech."""
    samples = np.concatenate([voice(*kind, length) for kind, length in parts])
    return samples, [TimeSpan(start_ms=0, end_ms=len(samples) // 16)]


def borders(pieces: list[Voiced]) -> list[tuple[int, int, int]]:
    return [(piece.voice, piece.span.start_ms, piece.span.end_ms) for piece in pieces]


@pytest.mark.parametrize(("first", "second"), [(LOW, HIGH), (HIGH, LOW)])
def test_a_change_of_voice_without_a_pause_is_found(first: tuple[float, float], second: tuple[float, float]) -> None:
    samples, speech = line((first, 3300), (second, 2500), (first, 1700))
    found = tell_apart(samples, speech, 2)
    assert [piece.voice for piece in found] == [0, 1, 0]
    assert abs(found[0].span.end_ms - 3300) <= 120
    assert abs(found[1].span.end_ms - 5800) <= 120


def test_pieces_cover_the_speech_and_nothing_else() -> None:
    samples, _ = line((LOW, 3000), (HIGH, 3000))
    speech = [TimeSpan(start_ms=205, end_ms=1733), TimeSpan(start_ms=2101, end_ms=5507)]
    pieces = tell_apart(samples, speech, 2)
    assert pieces[0].span.start_ms == 205
    assert pieces[-1].span.end_ms == 5507
    assert sum(piece.span.duration_ms for piece in pieces) == sum(span.duration_ms for span in speech)


def test_one_speaker_is_asked_for() -> None:
    samples, speech = line((LOW, 2000), (HIGH, 2000))
    assert borders(tell_apart(samples, speech, 1)) == [(0, 0, 4000)]


def test_three_voices_are_found_where_asked_for() -> None:
    samples, speech = line((LOW, 3000), (HIGH, 3000), ((150.0, 2600.0), 3000))
    assert [piece.voice for piece in tell_apart(samples, speech, 3)] == [0, 1, 2]


def test_a_single_word_has_one_voice_and_silence_none() -> None:
    samples, speech = line((LOW, 400))
    assert borders(tell_apart(samples, speech, 2)) == [(0, 0, 400)]
    assert tell_apart(samples, [], 2) == []


def test_the_same_sound_gives_the_same_pieces() -> None:
    samples, speech = line((LOW, 2000), (HIGH, 2000), (LOW, 2000))
    assert tell_apart(samples, speech, 2) == tell_apart(samples, speech, 2)

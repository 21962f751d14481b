"""Two voices are found and told apart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.extraction.transcribers.clustering import cluster
from ai_therapist.extraction.transcribers.speakers import (
    Voiced,
    find_speech,
    find_speech_in_blocks,
    listen,
    tell_apart,
)
from ai_therapist.media.sound import read_sound
from ai_therapist.records import TimeSpan
from tests.extraction.excerpts import SAMPLES

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
    found = tell_apart(listen([samples]), speech, 2)
    assert [piece.voice for piece in found] == [0, 1, 0]
    assert abs(found[0].span.end_ms - 3300) <= 120
    assert abs(found[1].span.end_ms - 5800) <= 120


def test_pieces_cover_the_speech_and_nothing_else() -> None:
    samples, _ = line((LOW, 3000), (HIGH, 3000))
    speech = [TimeSpan(start_ms=205, end_ms=1733), TimeSpan(start_ms=2101, end_ms=5507)]
    pieces = tell_apart(listen([samples]), speech, 2)
    assert pieces[0].span.start_ms == 205
    assert pieces[-1].span.end_ms == 5507
    assert sum(piece.span.duration_ms for piece in pieces) == sum(span.duration_ms for span in speech)


def test_one_speaker_is_asked_for() -> None:
    samples, speech = line((LOW, 2000), (HIGH, 2000))
    assert borders(tell_apart(listen([samples]), speech, 1)) == [(0, 0, 4000)]


def test_three_voices_are_found_where_asked_for() -> None:
    samples, speech = line((LOW, 3000), (HIGH, 3000), ((150.0, 2600.0), 3000))
    assert [piece.voice for piece in tell_apart(listen([samples]), speech, 3)] == [0, 1, 2]


def test_a_single_word_has_one_voice_and_silence_none() -> None:
    samples, speech = line((LOW, 400))
    assert borders(tell_apart(listen([samples]), speech, 2)) == [(0, 0, 400)]
    assert tell_apart(listen([samples]), [], 2) == []


def test_the_same_sound_gives_the_same_pieces() -> None:
    samples, speech = line((LOW, 2000), (HIGH, 2000), (LOW, 2000))
    assert tell_apart(listen([samples]), speech, 2) == tell_apart(listen([samples]), speech, 2)


@pytest.mark.parametrize("voices", [1, 2, 3])
def test_voices_are_counted(voices: int) -> None:
    kinds = (LOW, HIGH, (150.0, 2600.0))[:voices]
    samples, speech = line(*[(kinds[number % voices], 2000) for number in range(6)])
    found = tell_apart(listen([samples]), speech, 0)
    assert len({piece.voice for piece in found}) == voices


def test_a_voice_keeps_its_number_across_blocks() -> None:
    """Long sound is heard in blocks: what is kept of it does not depend on where it was cut."""
    samples, speech = line((LOW, 4000), (HIGH, 4000), (LOW, 4000), (HIGH, 4000))
    whole, cut = listen([samples]), listen(np.array_split(samples, 9))
    assert np.array_equal(whole.timbre, cut.timbre)
    assert np.array_equal(whole.pitch, cut.pitch, equal_nan=True)
    assert [piece.voice for piece in tell_apart(cut, speech, 0)] == [0, 1, 0, 1]


def test_many_windows_are_grouped_by_a_part_of_them() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 10, (3, 25))
    voices = np.arange(5000) % 3
    labels = cluster(centres[voices] + rng.normal(0, 1, (5000, 25)), 0)
    assert len({(a, b) for a, b in zip(voices.tolist(), labels.tolist(), strict=True)}) == 3


def test_speech_in_blocks_is_that_of_the_whole() -> None:
    samples = np.concatenate(list(read_sound(SAMPLES / "exams.mp4")))[: 30 * RATE_HZ]
    whole = find_speech(samples, 200, 50)
    cut = find_speech_in_blocks(np.array_split(samples, 4), 200, 50)
    assert len(whole) == len(cut) > 2
    for one, other in zip(whole, cut, strict=True):
        # The detector has a memory and a grid of 32 ms that begin anew with each block.
        assert abs(one.start_ms - other.start_ms) <= 150
        assert abs(one.end_ms - other.end_ms) <= 150

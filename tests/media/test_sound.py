"""Sound lies where its timestamps say, from the start of the session."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.media.sound import SPEECH_RATE_HZ, UnbrokenSound, extract_speech, load_speech, read_sound
from ai_therapist.testing import RecordingSpec, make_recording


def pitch_hz(samples: NDArray[np.float32], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def frame(start_ms: int, duration_ms: int, value: float = 0.5) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(np.full((1, duration_ms * 16), value, np.float32), "fltp", "mono")
    made.sample_rate, made.pts, made.time_base = 16_000, start_ms * 16, Fraction(1, 16_000)
    return made


def line_of(*frames: av.AudioFrame, start_s: Fraction = Fraction(0)) -> NDArray[np.float32]:
    line = UnbrokenSound(start_s, 16_000, "mono")
    blocks = [block for piece in frames for block in line.push(piece)] + list(line.flush())
    samples: NDArray[np.float32] = np.concatenate(blocks, axis=1)[0]
    return samples


def test_speech_sound_has_the_tone_and_the_length(tmp_path: Path) -> None:
    extract_speech(make_recording(tmp_path / "a.mp4", RecordingSpec(tone_hz=600)), tmp_path / "a.wav")
    samples = load_speech(tmp_path / "a.wav")
    assert abs(len(samples) - 2 * SPEECH_RATE_HZ) < SPEECH_RATE_HZ // 50
    assert pitch_hz(samples, SPEECH_RATE_HZ) == pytest.approx(600, abs=1)
    assert np.sqrt(np.mean(samples[8000:24_000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    source = make_recording(tmp_path / "a.mp4")
    for name in ("one.wav", "two.wav"):
        extract_speech(source, tmp_path / name)
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()


def test_no_sound_gives_an_empty_file(tmp_path: Path) -> None:
    extract_speech(make_recording(tmp_path / "a.mp4", RecordingSpec(tone_hz=None)), tmp_path / "a.wav")
    assert load_speech(tmp_path / "a.wav").size == 0


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    blocks = list(read_sound(make_recording(tmp_path / "a.mp4"), 8000))
    assert pitch_hz(np.concatenate(blocks), 8000) == pytest.approx(440, abs=1)


def test_a_gap_becomes_silence() -> None:
    samples = line_of(frame(0, 100), frame(300, 100))
    assert len(samples) == 400 * 16
    assert not samples[110 * 16 : 290 * 16].any()
    assert np.allclose(samples[310 * 16 : 390 * 16], 0.5, atol=0.01)


def test_sound_that_starts_late_is_preceded_by_silence() -> None:
    samples = line_of(frame(500, 100), start_s=Fraction(1, 10))
    assert len(samples) == 500 * 16
    assert not samples[: 390 * 16].any()


def test_an_overlap_is_dropped() -> None:
    assert len(line_of(frame(0, 200), frame(100, 200))) == 300 * 16


def test_jitter_of_timestamps_is_rounding() -> None:
    assert len(line_of(frame(0, 100), frame(105, 100), frame(195, 100))) == 300 * 16

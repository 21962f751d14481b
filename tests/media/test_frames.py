"""A clip as arrays."""

from pathlib import Path

import numpy as np
import pytest

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.frames import load_frames, load_sound
from ai_therapist.testing import RecordingSpec, make_recording


def test_frames_are_spread_over_the_clip(tmp_path: Path) -> None:
    frames = load_frames(make_recording(tmp_path / "a.mp4"), 4)
    assert frames.shape == (4, 64, 96, 3)
    assert frames.dtype == np.uint8
    numbers = [float(np.median(frame[:, :, 0])) / 12 for frame in frames]
    assert np.allclose(numbers, [6, 18, 31 - 20, 43 - 40], atol=0.4)


def test_a_short_clip_repeats_frames(tmp_path: Path) -> None:
    path = make_recording(tmp_path / "a.mp4", RecordingSpec(duration_ms=80))
    frames = load_frames(path, 4)
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[1], frames[2])


def test_sound_alone_has_no_frames(tmp_path: Path) -> None:
    path = make_recording(tmp_path / "a.m4a", RecordingSpec(picture=False))
    with pytest.raises(UnreadableMedia, match="no picture"):
        load_frames(path, 1)
    with pytest.raises(ValueError, match="at least 1"):
        load_frames(path, 0)


def test_sound_is_mono_float_from_the_first_frame_on(tmp_path: Path) -> None:
    samples = load_sound(make_recording(tmp_path / "a.mp4"))
    assert samples.dtype == np.float32
    assert samples.shape == (len(samples),)
    assert np.sqrt(np.mean(samples[8000:24_000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert load_sound(make_recording(tmp_path / "b.mp4", RecordingSpec(tone_hz=None))).size == 0

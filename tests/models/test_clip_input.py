"""A clip is decoded to the frames and the sound that a model is given."""

from pathlib import Path

import numpy as np
import pytest

from ai_therapist.errors import UnreadableMedia
from ai_therapist.models.clip_input import read_clip
from ai_therapist.testing import RecordingSpec, make_recording


def test_frames_and_sound_of_a_clip(tmp_path: Path) -> None:
    clip = read_clip(make_recording(tmp_path / "clip.mp4"), 4)
    assert clip.frames.shape == (4, 64, 96, 3)
    assert clip.sound is not None
    assert abs(len(clip.sound) - 32_000) < 1600
    assert 0.2 < float(np.abs(clip.sound).max()) <= 1


def test_a_silent_clip_has_no_sound_rather_than_an_empty_one(tmp_path: Path) -> None:
    assert read_clip(make_recording(tmp_path / "clip.mp4", RecordingSpec(tone_hz=None)), 4).sound is None


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"words")
    with pytest.raises(UnreadableMedia):
        read_clip(tmp_path / "clip.mp4", 4)

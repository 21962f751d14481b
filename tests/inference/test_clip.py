"""A clip is checked before the model sees it."""

from pathlib import Path

import pytest

from ai_therapist.inference.clip import refusal
from ai_therapist.records.annotation import Modality
from ai_therapist.testing import RecordingSpec, make_recording

ALL = frozenset(Modality)


def test_a_short_recording_with_picture_is_accepted(tmp_path: Path) -> None:
    assert refusal(make_recording(tmp_path / "clip.mp4"), 60, ALL) is None


def test_a_long_one_is_refused_with_the_name_of_the_setting(tmp_path: Path) -> None:
    refused = refusal(make_recording(tmp_path / "clip.mp4"), 1, ALL)
    assert refused is not None
    assert "inference.max_clip_s" in refused.reason


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    refused = refusal(make_recording(tmp_path / "clip.mp4", RecordingSpec(picture=False)), 60, ALL)
    assert refused is not None
    assert "no picture" in refused.reason


def test_a_model_that_reads_words_only_is_shown_no_clip(tmp_path: Path) -> None:
    refused = refusal(make_recording(tmp_path / "clip.mp4"), 60, frozenset({Modality.TEXT}))
    assert refused is not None
    assert "words only" in refused.reason


@pytest.mark.parametrize("content", [b"", b"not a film", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.mp4"
    path.write_bytes(content)
    assert refusal(path, 60, ALL) is not None


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.mp4", 60, ALL) is not None

"""What a recording is made of, and whether it is whole."""

from pathlib import Path

import pytest

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.probe import probe
from ai_therapist.records import AudioStream, Media, VideoStream
from ai_therapist.testing import RecordingSpec, make_digest, make_recording


def look(path: Path) -> Media:
    return probe(path, "recording", make_digest("x"))


def test_streams_and_duration(tmp_path: Path) -> None:
    media = look(make_recording(tmp_path / "a.mp4"))
    assert media == Media(
        path="recording",
        sha256=make_digest("x"),
        duration_ms=2000,
        video=VideoStream(width_px=96, height_px=64, fps="25/1", codec="h264"),
        audio=AudioStream(rate_hz=48_000, channels=1),
    )


def test_missing_streams_are_told(tmp_path: Path) -> None:
    assert look(make_recording(tmp_path / "a.mp4", RecordingSpec(tone_hz=None))).audio is None
    assert look(make_recording(tmp_path / "b.m4a", RecordingSpec(picture=False))).video is None


def test_a_single_frame_is_no_video(tmp_path: Path) -> None:
    assert look(make_recording(tmp_path / "a.mp4", RecordingSpec(keep=lambda number: number == 0))).video is None
    silent = RecordingSpec(keep=lambda number: number == 0, tone_hz=None)
    with pytest.raises(UnreadableMedia, match="single picture"):
        look(make_recording(tmp_path / "b.mp4", silent))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".m4a"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_half_a_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole = make_recording(tmp_path / f"a{suffix}", RecordingSpec(duration_ms=4000, picture=suffix != ".m4a"))
    look(whole)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableMedia, match=r"breaks off|damaged|not a readable recording"):
        look(whole)

"""What comes with a message is told by its content and checked before the model sees it."""

import os
from pathlib import Path

import av
import pytest

from ai_therapist.inference.clip import look_at
from ai_therapist.inference.events import ClipRefused
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, VideoPart
from ai_therapist.testing import RecordingSpec, make_recording

ALL = frozenset(Modality)
READS = frozenset({Modality.TEXT})
SEES = READS | {Modality.VIDEO}
HEARS = READS | {Modality.AUDIO}


def picture(path: Path, clip: Path) -> Path:
    with av.open(str(clip)) as container:
        next(container.decode(video=0)).to_image().save(path, "PNG")
    return path


def test_a_clip_a_sound_and_a_picture_are_told_apart_by_content(tmp_path: Path) -> None:
    clip = make_recording(tmp_path / "a.mp4")
    silent = make_recording(tmp_path / "b.mp4", RecordingSpec(tone_hz=None))
    sound = make_recording(tmp_path / "c.mp4", RecordingSpec(picture=False))
    still = picture(tmp_path / "d.mp4", clip)
    assert look_at(clip, 60, ALL) == VideoPart(path=str(clip), sound=True)
    assert look_at(silent, 60, ALL) == VideoPart(path=str(silent), sound=False)
    assert look_at(sound, 60, ALL) == AudioPart(path=str(sound))
    assert look_at(still, 60, ALL) == ImagePart(path=str(still))


def test_a_model_gets_of_a_clip_what_it_can_take(tmp_path: Path) -> None:
    clip = make_recording(tmp_path / "a.mp4")
    assert look_at(clip, 60, SEES) == VideoPart(path=str(clip), sound=False)
    assert look_at(clip, 60, HEARS) == AudioPart(path=str(clip))


@pytest.mark.parametrize(
    ("spec", "accepts", "reason"),
    [
        (RecordingSpec(), READS, "words only"),
        (RecordingSpec(tone_hz=None), HEARS, "sees no pictures"),
        (RecordingSpec(picture=False), SEES, "hears no sound"),
    ],
)
def test_what_a_model_cannot_take_is_refused(
    tmp_path: Path, spec: RecordingSpec, accepts: frozenset[Modality], reason: str
) -> None:
    refused = look_at(make_recording(tmp_path / "clip.mp4", spec), 60, accepts)
    assert isinstance(refused, ClipRefused)
    assert reason in refused.reason


def test_a_picture_is_refused_by_a_model_that_only_hears(tmp_path: Path) -> None:
    still = picture(tmp_path / "d.png", make_recording(tmp_path / "a.mp4"))
    assert isinstance(look_at(still, 60, HEARS), ClipRefused)


def test_a_long_one_is_refused_with_the_name_of_the_setting(tmp_path: Path) -> None:
    refused = look_at(make_recording(tmp_path / "clip.mp4"), 1, ALL)
    assert isinstance(refused, ClipRefused)
    assert "inference.max_clip_s" in refused.reason


@pytest.mark.parametrize("content", [b"", b"not a film", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.mp4"
    path.write_bytes(content)
    assert isinstance(look_at(path, 60, ALL), ClipRefused)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert isinstance(look_at(tmp_path / "none.mp4", 60, ALL), ClipRefused)


@pytest.mark.parametrize("name", ["a\0b.mp4", "n" * 300, "."])
def test_a_name_that_is_none_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    assert isinstance(look_at(tmp_path / name, 60, ALL), ClipRefused)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert isinstance(look_at(tmp_path / "pipe.mp4", 60, ALL), ClipRefused)

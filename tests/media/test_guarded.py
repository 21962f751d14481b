"""What is opened, and what is refused before anything is decoded."""

import errno
from pathlib import Path

import av
import pytest

from ai_therapist.errors import MissingInput, UnreadableMedia
from ai_therapist.media import guarded
from ai_therapist.media.guarded import FORMATS, Limits, open_media, tracks_of
from ai_therapist.testing import RecordingSpec, make_recording


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts", ".m4a"])
def test_accepted_containers_open_by_content_whatever_their_name(tmp_path: Path, suffix: str) -> None:
    made = make_recording(tmp_path / f"made{suffix}", RecordingSpec(picture=suffix != ".m4a"))
    renamed = made.rename(tmp_path / "recording")
    with open_media(renamed) as container:
        assert set(container.format.name.split(",")) & set(FORMATS)
        assert tracks_of(container).audio is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"just some text\n" * 50,
        b"<!DOCTYPE html><title>429</title>",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile secret.ts\n",
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,"
        b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
    ],
    ids=["empty", "one-byte", "text", "html", "hls", "concat", "gif"],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    make_recording(tmp_path / "secret.ts")
    path = tmp_path / "session.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableMedia, match="not a readable recording"), open_media(path):
        pass


@pytest.mark.parametrize("name", ["-rf.mp4", "a:b.mp4", "http:x.mp4", "%03d.mp4", "a\nb.mp4", "né 😀.mp4", "$(id).mp4"])
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    path = make_recording(tmp_path / "plain.mp4").rename(tmp_path / name)
    with open_media(path) as container:
        assert container.streams.video


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"nowhere\.mp4"), open_media(tmp_path / "nowhere.mp4"):
        pass


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(pixels=96 * 64 - 1), "96x64 pixels"),
        (Limits(frames=49), "50 frames"),
        (Limits(duration_ms=1999), "minutes"),
    ],
)
def test_excess_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits, reason: str
) -> None:
    path = make_recording(tmp_path / "a.mp4")
    with open_media(path):
        pass
    monkeypatch.setattr(guarded, "LIMITS", limits)
    with pytest.raises(UnreadableMedia, match=reason), open_media(path):
        pass


@pytest.mark.parametrize(("code", "becomes"), [(errno.EPERM, UnreadableMedia), (errno.EACCES, PermissionError)])
def test_what_a_decoder_does_not_permit_is_damage_and_what_the_disk_does_not_permit_is_not(
    tmp_path: Path, code: int, becomes: type[Exception]
) -> None:
    path = make_recording(tmp_path / "a.mp4")
    with pytest.raises(becomes), open_media(path):
        raise av.error.PermissionError(code, "Operation not permitted", "avcodec_send_packet()")

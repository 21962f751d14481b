"""Any recording becomes 16 frames a second, upright, of even size, with keyframes where they are asked for."""

import struct
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media import standardise as standardising
from ai_therapist.media.frames import load_sound
from ai_therapist.media.probe import probe
from ai_therapist.media.standardise import FPS, may_be_copied, standardise
from ai_therapist.records import Media
from ai_therapist.testing import RecordingSpec, make_digest, make_recording


def made(folder: Path, spec: RecordingSpec, *keyframes: int, suffix: str = ".mp4") -> tuple[Path, Media]:
    source = make_recording(folder / f"source{suffix}", spec)
    media = probe(source, "recording", make_digest("x"))
    target = folder / "video.mp4"
    standardise(source, target, media, keyframes)
    return target, probe(target, "video", make_digest("y"))


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in container.decode(video=0)]


def is_grid_frame(picture: NDArray[np.uint8], number: int) -> bool:
    """Whether this is the frame `number` of `make_recording`'s grid, by its red."""
    distance = (float(np.median(picture[:, :, 0])) / 12 - number) % 20
    return min(distance, 20 - distance) < 0.4


@pytest.mark.parametrize("fps", [10, 25, 30, 60])
def test_frame_k_shows_what_the_recording_shows_at_k_sixteenths(tmp_path: Path, fps: int) -> None:
    path, media = made(tmp_path, RecordingSpec(duration_ms=1000, fps=fps))
    assert media.video is not None and media.video.rate == FPS
    shown = pictures(path)
    assert len(shown) == FPS
    assert all(is_grid_frame(picture, number * fps // FPS) for number, picture in enumerate(shown))


def test_a_variable_frame_rate_becomes_constant(tmp_path: Path) -> None:
    path, _ = made(tmp_path, RecordingSpec(duration_ms=2000, fps=30, keep=lambda number: number % 15 not in (3, 4, 5)))
    shown = pictures(path)
    assert len(shown) == 2 * FPS
    for number, picture in enumerate(shown):
        latest = number * 30 // FPS
        while latest % 15 in (3, 4, 5):
            latest -= 1
        assert is_grid_frame(picture, latest)
    with av.open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert len({b - a for a, b in pairwise(times)}) == 1


def test_keyframes_lie_exactly_where_asked_and_no_frame_is_reordered(tmp_path: Path) -> None:
    path, _ = made(tmp_path, RecordingSpec(duration_ms=2000), 5, 13, 14)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 5, 13, 14]
        assert all(packet.pts == packet.dts for packet in packets)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    source = make_recording(tmp_path / "a.mp4")
    media = probe(source, "recording", make_digest("x"))
    for name in ("one.mp4", "two.mp4"):
        standardise(source, tmp_path / name, media, [7])
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_sound_keeps_its_pitch_and_place(tmp_path: Path) -> None:
    path, media = made(tmp_path, RecordingSpec(tone_hz=500))
    assert media.audio is not None and media.audio.rate_hz == 48_000
    samples = load_sound(path)
    assert abs(len(samples) - 32_000) < 400
    spectrum = np.abs(np.fft.rfft(samples[:32_000]))
    assert np.argmax(spectrum) * 16_000 / 32_000 == pytest.approx(500, abs=1)


def test_sides_become_even(tmp_path: Path) -> None:
    _, media = made(tmp_path, RecordingSpec(size_px=(97, 65)), suffix=".mkv")
    assert media.video is not None
    assert (media.video.width_px, media.video.height_px) == (96, 64)


def test_a_rotated_recording_is_turned_upright(tmp_path: Path) -> None:
    source = make_recording(tmp_path / "a.mp4", RecordingSpec(tone_hz=None))
    data = bytearray(source.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    source.write_bytes(bytes(data))
    target = tmp_path / "video.mp4"
    standardise(source, target, probe(source, "recording", make_digest("x")), [])
    picture = pictures(target)[0]
    assert picture.shape == (96, 64, 3)
    # The bar at the left edge of the first frame is at the top after a quarter turn clockwise.
    assert picture[1].mean() > 150 > picture[-2].mean()


def test_the_last_picture_stands_for_half_a_second_at_most(tmp_path: Path) -> None:
    path, _ = made(tmp_path, RecordingSpec(duration_ms=3000, keep=lambda number: number < 25))
    assert len(pictures(path)) == FPS * 3 // 2


def test_sound_alone_cannot_be_standardised(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="no picture"):
        made(tmp_path, RecordingSpec(picture=False), suffix=".m4a")


def test_damaged_pictures_are_refused(tmp_path: Path) -> None:
    source = make_recording(tmp_path / "a.mp4", RecordingSpec(duration_ms=4000, size_px=(320, 240)))
    media = probe(source, "recording", make_digest("x"))
    data = bytearray(source.read_bytes())
    for place in range(2000, len(data) - 6000, 97):
        data[place] ^= 0x5A
    source.write_bytes(bytes(data))
    with pytest.raises(UnreadableMedia):
        standardise(source, tmp_path / "video.mp4", media, [])


def test_sound_that_is_aac_already_is_copied_and_other_sound_is_not(tmp_path: Path) -> None:
    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    path, _ = made(tmp_path, RecordingSpec())
    assert packets(path) == packets(tmp_path / "source.mp4")
    assert may_be_copied(tmp_path / "source.mp4")
    assert not may_be_copied(make_recording(tmp_path / "rounded.mkv"))
    assert not may_be_copied(make_recording(tmp_path / "silent.mp4", RecordingSpec(tone_hz=None)))


def test_leaving_out_frames_that_are_never_shown_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_recording(tmp_path / "a.mp4", RecordingSpec(fps=60, duration_ms=3000))
    media = probe(source, "recording", make_digest("x"))
    standardise(source, tmp_path / "one.mp4", media, [7])
    monkeypatch.setattr(standardising, "_SKIPPING", frozenset())
    standardise(source, tmp_path / "two.mp4", media, [7])
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()

"""A clip holds its own frames and sound and nothing else, and `verify` sees every way in which it might not."""

import random
from pathlib import Path

import av
import numpy as np
import pytest

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.cut import cut, verify
from ai_therapist.media.frames import load_frames, load_sound
from ai_therapist.media.guarded import open_media
from ai_therapist.media.probe import probe
from ai_therapist.media.standardise import standardise
from ai_therapist.records import Fault
from ai_therapist.testing import RecordingSpec, make_digest, make_recording

STARTS = [0, 9, 16, 31]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A standardised recording of three seconds with keyframes at `STARTS`."""
    folder = tmp_path_factory.mktemp("cut")
    source = make_recording(folder / "source.mp4", RecordingSpec(duration_ms=3000))
    standardise(source, folder / "video.mp4", probe(source, "recording", make_digest("x")), STARTS)
    return folder / "video.mp4"


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("length", [1, 7, 17])
def test_a_clip_is_exact(video: Path, tmp_path: Path, start: int, length: int) -> None:
    clip = tmp_path / "clip.mp4"
    cut(video, clip, range(start, start + length))
    assert verify(video, clip, range(start, start + length)) == frozenset()
    assert np.array_equal(load_frames(clip, length), load_frames(video, 48)[start : start + length])


def test_equal_input_gives_equal_bytes(video: Path, tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        cut(video, tmp_path / name, range(9, 30))
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_no_packet_reaches_out_of_the_span_even_past_edit_lists(video: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    cut(video, clip, range(9, 31))
    with open_media(clip, edit_lists=False) as container:
        for packet in container.demux():
            if packet.size:
                assert packet.pts is not None and packet.time_base is not None
                assert packet.pts * packet.time_base >= 0
                assert (packet.pts + (packet.duration or 0)) * packet.time_base <= 22 / 16 + 1e-4


def test_sound_and_picture_start_together(video: Path, tmp_path: Path) -> None:
    cut(video, tmp_path / "clip.mp4", range(16, 48))
    samples = load_sound(tmp_path / "clip.mp4")
    first = int(np.flatnonzero(np.abs(samples) > 0.05)[0]) / 16
    assert first <= 45
    assert 1900 < len(samples) / 16 <= 2000


def test_a_start_between_keyframes_is_seen(video: Path, tmp_path: Path) -> None:
    cut(video, tmp_path / "clip.mp4", range(10, 20))
    assert Fault.NOT_A_KEYFRAME in verify(video, tmp_path / "clip.mp4", range(10, 20))


def test_missing_frames_are_seen(video: Path, tmp_path: Path) -> None:
    cut(video, tmp_path / "clip.mp4", range(31, 60))
    assert verify(video, tmp_path / "clip.mp4", range(31, 60)) == {Fault.FRAMES_MISSING}


def test_surplus_frames_are_seen(video: Path, tmp_path: Path) -> None:
    cut(video, tmp_path / "clip.mp4", range(9, 20))
    assert Fault.HIDDEN_FRAMES in verify(video, tmp_path / "clip.mp4", range(9, 16))


def test_another_stretch_of_the_same_length_is_seen(video: Path, tmp_path: Path) -> None:
    cut(video, tmp_path / "clip.mp4", range(16, 20))
    assert verify(video, tmp_path / "clip.mp4", range(9, 13)) == {Fault.FRAMES_MISSING}


def test_frames_behind_an_edit_list_are_seen(video: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(video)) as reader, av.open(str(clip), "w") as writer:
        source = reader.streams.video[0]
        copy = writer.add_stream_from_template(source)
        for packet in reader.demux(source):
            if packet.size and packet.pts is not None and packet.dts is not None and packet.time_base is not None:
                # The frames before the seventeenth get negative times, which MP4 hides behind an edit list.
                packet.pts -= round(1 / packet.time_base)
                packet.dts -= round(1 / packet.time_base)
                packet.stream = copy
                writer.mux(packet)
    assert Fault.HIDDEN_FRAMES in verify(video, clip, range(16, 48))


def test_every_turned_bit_in_the_pictures_and_the_sound_of_a_clip_is_seen(video: Path, tmp_path: Path) -> None:
    clip, frames = tmp_path / "clip.mp4", range(9, 31)
    cut(video, clip, frames)
    content = clip.read_bytes()
    begin = content.index(b"mdat") + 4
    length = int.from_bytes(content[begin - 8 : begin - 4], "big") - 8
    chance = random.Random(4)
    for _ in range(150):
        place = chance.randrange(length * 8)
        data = bytearray(content)
        data[begin + place // 8] ^= 1 << place % 8
        clip.write_bytes(data)
        assert faults_or_refusal(video, clip, frames)


def faults_or_refusal(video: Path, clip: Path, frames: range) -> bool:
    try:
        return bool(verify(video, clip, frames))
    except UnreadableMedia:
        return True


@pytest.mark.parametrize("name", [b"avcC", b"esds"])
def test_other_settings_of_the_decoder_are_seen(video: Path, tmp_path: Path, name: bytes) -> None:
    clip, frames = tmp_path / "clip.mp4", range(9, 31)
    cut(video, clip, frames)
    data = bytearray(clip.read_bytes())
    # The last byte of the box: of a picture's parameters, or of what says how sound is coded.
    place = data.index(name)
    end = place - 4 + int.from_bytes(data[place - 4 : place], "big")
    data[end - 1 if name == b"avcC" else data.index(bytes((0x05, 0x80, 0x80, 0x80)), place) + 6] ^= 1
    clip.write_bytes(data)
    assert faults_or_refusal(video, clip, frames)


def test_sound_that_is_moved_is_seen(video: Path, tmp_path: Path) -> None:
    clip, frames = tmp_path / "clip.mp4", range(9, 31)
    with av.open(str(video)) as reader, av.open(str(clip), "w") as writer:
        copies = [writer.add_stream_from_template(stream) for stream in reader.streams]
        for packet in reader.demux():
            if packet.size == 0 or packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            begin = round(9 / 16 / packet.time_base)
            if not begin <= packet.pts < round(31 / 16 / packet.time_base) - (packet.duration or 0) // 2:
                continue
            late = 2400 if packet.stream.type == "audio" else 0
            packet.pts += late - begin
            packet.dts += late - begin
            packet.stream = copies[packet.stream_index]
            writer.mux(packet)
    assert verify(video, clip, frames)


def test_an_empty_range_is_refused(video: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        cut(video, tmp_path / "clip.mp4", range(5, 5))

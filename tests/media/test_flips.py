"""One turned bit anywhere in a recording: refused, without effect, or such that no decoder can tell.

H.264 and AAC carry no checksum, and neither does MP4: a turned bit of their payload that decodes to something else says
nothing of itself. Whatever becomes another picture or sound here is held against every strict setting that FFmpeg has,
and every frame is decoded: there must be no error and no flag that we passed over. A few are told in the log of FFmpeg
alone, which healthy recordings fill as well; they are counted.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.frames import load_sound
from ai_therapist.media.probe import probe
from ai_therapist.media.sound import extract_speech, load_speech
from ai_therapist.media.standardise import standardise
from ai_therapist.testing import RecordingSpec, make_digest, make_recording

STRICTEST = {"err_detect": "crccheck+bitstream+buffer+explode+careful+compliant+aggressive", "threads": "1"}
LENGTH_MS = 100
"""Two results that differ by less in length are of the same length."""


@dataclass(frozen=True)
class Result:
    """What a recording became."""

    duration_ms: int
    pictures: NDArray[np.uint8]
    speech: NDArray[np.float32]
    sound: NDArray[np.float32]

    @staticmethod
    def of(source: Path, folder: Path) -> Result | None:
        """None where it is refused."""
        try:
            media = probe(source, "recording", make_digest("x"))
            extract_speech(source, folder / "audio.wav")
            standardise(source, folder / "video.mp4", media, [5])
        except (UnreadableMedia, MemoryError):
            return None
        with av.open(str(folder / "video.mp4")) as container:
            pictures = np.stack([frame.to_ndarray() for frame in container.decode(video=0)]).astype(np.uint8)
        speech = load_speech(folder / "audio.wav")
        return Result(media.duration_ms, pictures, speech, load_sound(folder / "video.mp4"))

    def is_as_long_as(self, other: Result) -> bool:
        """Whether all lengths are those of the other."""
        lengths = (
            (self.duration_ms, other.duration_ms),
            (len(self.pictures) * 62.5, len(other.pictures) * 62.5),
            (len(self.speech) / 16, len(other.speech) / 16),
            (len(self.sound) / 16, len(other.sound) / 16),
        )
        return all(abs(mine - theirs) < LENGTH_MS for mine, theirs in lengths)

    def shows(self, other: Result) -> bool:
        """Whether the pictures are those of the other."""
        return np.array_equal(self.pictures, other.pictures)

    def sounds(self, other: Result) -> bool:
        """Whether the sound is that of the other."""
        return np.array_equal(self.speech, other.speech) and np.array_equal(self.sound, other.sound)


@dataclass
class Tally:
    """What became of many turned bits, by the part of the file that they lie in."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[tuple[str, int, list[str]]] = field(default_factory=list)
    """Changes that a strict decoder flags."""
    logged: list[tuple[str, int, list[str]]] = field(default_factory=list)
    """Changes that are told in the log alone."""
    longer: list[tuple[str, int]] = field(default_factory=list)
    """Changes of a length."""

    def share(self, what: str) -> float:
        """Of all bits, the share of an outcome."""
        return sum(count for (_, told), count in self.counts.items() if told == what) / self.counts.total()


def complaints(path: Path) -> tuple[list[str], list[str]]:
    """Errors and flags of FFmpeg against a file when nothing is let pass and every frame is decoded; then its log."""
    found: list[str] = []
    av.logging.set_level(av.logging.ERROR)
    # Else what one file said before is not said again of the next one.
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as log, av.open(str(path), options={"err_detect": "crccheck"}) as container:
            for stream in (*container.streams.video[:1], *container.streams.audio[:1]):
                stream.codec_context.options = dict(STRICTEST)
            try:
                for packet in container.demux(*container.streams.video[:1], *container.streams.audio[:1]):
                    found += ["packet"] * packet.is_corrupt
                    found += ["frame" for frame in packet.decode() if getattr(frame, "is_corrupt", False)]
            except av.FFmpegError as error:
                found.append(type(error).__name__)
    finally:
        av.logging.set_skip_repeated(True)
        av.logging.set_level(None)
    return found, [message for _, _, message in log]


def part_of(content: bytes, place: int) -> str:
    """The box of an MP4 or MOV file at a place."""
    begin = 0
    while begin + 8 <= len(content):
        length = int.from_bytes(content[begin : begin + 4], "big")
        if begin <= place < begin + length:
            return content[begin + 4 : begin + 8].decode()
        begin += length
    return "all"


def turn_bits(folder: Path, suffix: str, count: int, seed: int) -> Tally:
    """Turn so many bits, one at a time."""
    source = make_recording(folder / f"whole{suffix}", RecordingSpec(duration_ms=2000, size_px=(96, 64)))
    content = source.read_bytes()
    whole = Result.of(source, folder)
    assert whole is not None
    assert complaints(source) == ([], [])
    rng, tally = random.Random(seed), Tally()
    damaged = folder / f"damaged{suffix}"
    for _ in range(count):
        place = rng.randrange(len(content) * 8)
        data = bytearray(content)
        data[place // 8] ^= 1 << place % 8
        damaged.write_bytes(data)
        part = part_of(content, place // 8) if suffix in (".mp4", ".mov") else "all"
        result = Result.of(damaged, folder)
        if result is None:
            tally.counts[part, "refused"] += 1
            continue
        shows, sounds = result.shows(whole), result.sounds(whole)
        told = "same" if shows and sounds else "sound" if shows else "picture"
        tally.counts[part, told] += 1
        if not result.is_as_long_as(whole):
            tally.longer.append((part, place))
        if told != "same":
            flagged, logged = complaints(damaged)
            tally.missed += [(part, place, flagged)] if flagged else []
            tally.logged += [(part, place, logged)] if logged and not flagged else []
    return tally


@pytest.mark.parametrize(("suffix", "count"), [(".mp4", 40), (".mov", 20), (".mkv", 20)])
def test_a_turned_bit_is_refused_or_no_decoder_can_tell(tmp_path: Path, suffix: str, count: int) -> None:
    tally = turn_bits(tmp_path, suffix, count, seed=11)
    assert (tally.missed, tally.longer) == ([], [])
    assert len(tally.logged) <= 1
    assert {part for (part, told), _ in tally.counts.items() if told == "picture"} <= {"mdat"}
    assert tally.share("refused") > (0.9 if suffix == ".mkv" else 0.2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("suffix", "count"), [(".mp4", 1500), (".mov", 500), (".mkv", 500), (".ts", 500), (".avi", 500)]
)
def test_shares_of_turned_bits(tmp_path: Path, suffix: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    tally = turn_bits(tmp_path, suffix, count, seed=1)
    with capsys.disabled():
        print(
            f"\n{suffix} {count}",
            {told: round(tally.share(told), 3) for told in ("refused", "same", "sound", "picture")},
        )
        print(dict(tally.counts), tally.longer, len(tally.logged))
    assert len(tally.missed) <= (count // 100 if suffix in (".ts", ".avi") else 0)
    assert len(tally.longer) <= (count // 100 if suffix in (".ts", ".avi") else 0)
    assert tally.share("picture") <= 0.03
    assert len(tally.logged) <= count // 100
    if suffix == ".mkv":
        assert tally.share("sound") + tally.share("picture") == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (b"soun", b"sotn"),
        (b"stts", b"sttq"),
        (b"edts", b"edtq"),
        (b"trak", b"tral"),
        (b"avc1", b"avq1"),
    ],
)
def test_a_name_in_the_index_that_nobody_knows_is_refused(tmp_path: Path, name: bytes, change: bytes) -> None:
    path = make_recording(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    place = content.index(name, content.index(b"moov"))
    content[place : place + 4] = change
    path.write_bytes(content)
    with pytest.raises(UnreadableMedia, match=r"damaged|not known"):
        probe(path, "recording", make_digest("x"))


@pytest.mark.parametrize(
    ("name", "offset", "reason"),
    [
        (b"stsz", 11, "samples than there are|over each other|outside of the data|filled"),
        (b"stts", 7, "filled"),
        (b"stts", 11, "other samples"),
        (b"stts", 13, "as long as its samples"),
        (b"ctts", 15, "out of line"),
        (b"stco", 9, "outside of the data|over each other"),
        (b"stsc", 19, "description"),
        (b"mdhd", 17, "as long as its samples"),
        (b"mvhd", 17, "longest track"),
        (b"tkhd", 21, "as long as its edits"),
        (b"elst", 9, "as long as its edits|beyond its track"),
        (b"tkhd", 46, "no quarter"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(tmp_path: Path, name: bytes, offset: int, reason: str) -> None:
    path = make_recording(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    # From the end of the name of the box.
    place = content.index(name, content.index(b"moov")) + 4 + offset
    content[place] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UnreadableMedia, match=reason):
        probe(path, "recording", make_digest("x"))


def test_a_file_in_fragments_and_one_with_a_mirrored_picture_are_taken(tmp_path: Path) -> None:
    whole = make_recording(tmp_path / "a.mp4")
    with (
        av.open(str(whole)) as reader,
        av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "frag_keyframe+empty_moov"}) as writer,
    ):
        copies = [writer.add_stream_from_template(stream) for stream in reader.streams]
        for packet in reader.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                writer.mux(packet)
    assert probe(tmp_path / "b.mp4", "recording", make_digest("x")).duration_ms >= 1900
    content = bytearray(whole.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 4] = (-(1 << 16)).to_bytes(4, "big", signed=True)
    whole.write_bytes(content)
    assert probe(whole, "recording", make_digest("x")).video is not None

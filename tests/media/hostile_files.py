"""Recordings that are wrong, odd or hostile, made on the spot, and what is to become of each."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ai_therapist.store.workspace import Status
from ai_therapist.testing import RecordingSpec, make_recording

DONE, REFUSED, LEFT_OUT = Status.DONE, Status.QUARANTINED, Status.SKIPPED
SMALL = RecordingSpec(duration_ms=640, size_px=(64, 48))
SECRET = "secret.mp4"
"""A recording outside the folder, which no case may reach."""


@dataclass(frozen=True)
class Case:
    """One file: how it is made in a folder of its own, and its declared outcome."""

    make: Callable[[Path], object]
    status: Status
    reason: str = ""
    """A pattern that the reason has to match where the file is not done."""
    may: Status | None = None
    """Another outcome that is as good."""


def cases(plain: Path, secret: Path) -> dict[str, Case]:
    """Cases by the name of their file. `plain` is a whole recording of `SMALL`, `secret` one that must not be read."""
    return {
        **_junk(plain),
        **_playlists(plain, secret),
        **_names(plain),
        **_truncated(plain),
        **_flipped(plain),
        **_shapes(),
        **_excess(plain),
    }


def _written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _junk(plain: Path) -> dict[str, Case]:
    rng = random.Random(5)
    head = plain.read_bytes()[:64]
    contents = {
        "empty": b"",
        "one byte": b"\x00",
        "zeros": bytes(5000),
        "random": rng.randbytes(5000),
        "text": b"a plain text\n" * 200,
        "html": b"<!DOCTYPE html><html><title>429 Too Many Requests</title></html>",
        "json": b'{"error": {"code": 403}}',
        "gif": b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,"
        b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "zip": b"PK\x03\x04" + bytes(200),
        "pdf": b"%PDF-1.7\n" + bytes(200),
        "elf": b"\x7fELF" + rng.randbytes(500),
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "ftyp alone": head[:32],
        "ftyp and noise": head[:32] + rng.randbytes(3000),
        "box of 4 GB": struct.pack(">I4s", 0xFFFFFFFF, b"moov") + bytes(64),
        "box of no size": struct.pack(">I4s", 0, b"moov"),
        "boxes in boxes": b"".join(struct.pack(">I4s", 8 * (400 - n), b"moov") for n in range(400)),
        "riff of nothing": b"RIFF\xff\xff\xff\xffWAVEfmt ",
        "ebml of nothing": b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff",
        "flac of nothing": b"fLaC" + bytes(38),
        "ogg of nothing": b"OggS" + bytes(60),
        "id3 of 256 MB": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(50),
    }
    return {
        f"{name}.mp4": Case(_written(content), REFUSED, "recording|damaged|neither picture")
        for name, content in contents.items()
    }


def _playlists(plain: Path, secret: Path) -> dict[str, Case]:
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
    texts = {
        "hls": hls.format(secret.name),
        "hls path": hls.format(secret),
        "hls file": hls.format(f"file:{secret}"),
        "hls http": hls.format("http://127.0.0.1:9/a.ts"),
        "hls key": hls.format(secret).replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="file:{secret}"\n#EXTINF'),
        "hls concat": hls.format(f"concat:{secret}|{secret}"),
        "hls subfile": hls.format(f"subfile,,start,0,end,100,,:{secret}"),
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat url": "ffconcat version 1.0\nfile http://127.0.0.1:9/a.ts\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f"<Representation><BaseURL>file:{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "smil": f'<smil><body><video src="file:{secret}"/></body></smil>',
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        "m3u": f"#EXTM3U\n{secret}\n",
        "ffmetadata": f";FFMETADATA1\ntitle={secret}\n",
        "webvtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
        "asx": f'<asx version="3.0"><entry><ref href="file:{secret}"/></entry></asx>',
    }
    made = {
        f"list {name}.mp4": Case(_written(text.encode()), REFUSED, "not a readable") for name, text in texts.items()
    }
    made["list in front.mp4"] = Case(_written(hls.format(secret).encode() + plain.read_bytes()), REFUSED, "readable")
    made["elsewhere.mov"] = Case(_written(_elsewhere(plain, secret)), REFUSED, may=DONE)
    return made


def _elsewhere(plain: Path, secret: Path) -> bytes:
    """A QuickTime file whose picture is said to lie in another file."""
    data = bytearray(plain.read_bytes())
    place = data.index(b"dref") - 4
    path = str(secret).encode()
    alias = bytes(142) + struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    data[place + 16 : place + 28] = entry
    for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        head = data.rindex(name, 0, place + 8) - 4
        data[head : head + 4] = struct.pack(">I", struct.unpack(">I", data[head : head + 4])[0] + len(entry) - 12)
    return bytes(data)


def _names(plain: Path) -> dict[str, Case]:
    """Names that something might read as more than a name. Each content differs, so that none is a twin by content."""
    names = (
        "-rf.mp4", "--help.mp4", "a:b.mp4", "http:x.mp4", "https:⁄⁄example.org⁄x.mp4", "file:x.mp4", "concat:a|b.mp4",
        "pipe:0.mp4", "%03d.mp4", "%s%n.mp4", "*.mp4", "[a-z].mp4",
        "a\nb.mp4", "a\tb.mp4", "a\x1b[31mb.mp4", "a\x7fb.mp4",
        "né.mp4", "😀.mp4", "\u202egpm.mp4", "שלום.mp4", "'quoted'.mp4", '"quoted".mp4', "$(id).mp4", "`id`.mp4",
        "a;b.mp4", "a&b.mp4", "a|b.mp4", "a>b.mp4", "back\\slash.mp4", " .mp4", "a .mp4", "a..mp4", "~.mp4",
        "CON.mp4", "NUL.mp4", "aux.mp4", "a.mp4.mp4", "x" * 237 + ".mp4", "é" * 118 + ".mp4", "a\u200bb.mp4",
        "\ufeffa.mp4", "a\u0000b".replace("\u0000", "\u2400") + ".mp4", "x..%2fetc%2fpasswd.mp4", "=1+1.mp4",
    )  # fmt: skip
    found = {}
    for number, name in enumerate(names):
        content = plain.read_bytes() + struct.pack(">I4sI", 12, b"free", number)
        found[name] = Case(_written(content), DONE, may=LEFT_OUT, reason="name")
    # As long as a name can be; no consent record fits beside it.
    for name in ("y" * 251 + ".mp4", "é" * 125 + "z.mp4"):
        content = plain.read_bytes() + struct.pack(">I4sI", 12, b"free", 1000 + len(found))
        found[name] = Case(_written(content), LEFT_OUT, "too long for a consent record beside it: rename it")
    return found


def _truncated(plain: Path) -> dict[str, Case]:
    made = {}
    for suffix in (".mp4", ".mkv", ".avi", ".mov"):
        data = make_recording(plain.with_name(f"whole{suffix}"), RecordingSpec(duration_ms=4000, size_px=(64, 48)))
        content = data.read_bytes()
        for share in (5, 20, 35, 50, 65, 80):
            cut = content[: len(content) * share // 100]
            made[f"{suffix[1:]} cut at {share}{suffix}"] = Case(
                _written(cut), REFUSED, "breaks off|damaged|not a readable|decoded|no"
            )
    return made


def _flipped(plain: Path) -> dict[str, Case]:
    """Bits turned over in a row of 16 bytes, and single ones, anywhere in the pictures, the sound and the index."""
    content = make_recording(
        plain.with_name("flips.mp4"), RecordingSpec(duration_ms=2000, size_px=(96, 64))
    ).read_bytes()
    rng, made = random.Random(9), {}
    for number in range(24):
        data = bytearray(content)
        start = 40 + number * (len(data) - 80) // 24
        for place in range(start, start + (16 if number % 2 else 1)):
            data[place] ^= rng.randrange(1, 256)
        made[f"flip {number}.mp4"] = Case(_written(bytes(data)), REFUSED, may=DONE)
    return made


def _shapes() -> dict[str, Case]:
    def spec(**change: Any) -> Callable[[Path], object]:
        return lambda path: make_recording(path, RecordingSpec(**{"duration_ms": 640, "size_px": (64, 48), **change}))

    return {
        "no sound.mp4": Case(spec(tone_hz=None), DONE),
        "no picture.m4a": Case(spec(picture=False), DONE),
        "silent.mp4": Case(spec(tone_hz=0.0), DONE),
        "odd sizes.mkv": Case(spec(size_px=(65, 49)), DONE),
        "eight by eight.mp4": Case(spec(size_px=(8, 8)), DONE),
        # The smallest picture of this chroma format: one sample of colour.
        "two by two.mp4": Case(spec(size_px=(2, 2)), DONE),
        "one frame.mp4": Case(spec(keep=lambda number: number == 0), DONE),
        "one frame, no sound.mp4": Case(spec(keep=lambda number: number == 0, tone_hz=None), REFUSED, "single picture"),
        "two frames.mp4": Case(spec(keep=lambda number: number < 2), DONE),
        "variable rate.mp4": Case(spec(fps=30, keep=lambda number: number % 7 not in (2, 3)), DONE),
        "fast.mp4": Case(spec(fps=240), DONE),
        "slow.mp4": Case(spec(fps=2, duration_ms=2000), DONE),
        "sound outlasts.mp4": Case(spec(duration_ms=2000, keep=lambda number: number < 10), DONE),
        "picture outlasts.mp4": Case(_longer_picture, DONE),
        "two voices.mkv": Case(lambda path: _two_sounds(path, picture=False), DONE),
        "two voices with a picture.mp4": Case(lambda path: _two_sounds(path, picture=True), DONE),
        "transport.mp4": Case(lambda path: _renamed(path, ".ts"), DONE),
        "matroska.mp4": Case(lambda path: _renamed(path, ".mkv"), DONE),
        "turned.mp4": Case(_turned, DONE),
        "late sound.mkv": Case(lambda path: _sparse(path, 0.4), DONE),
    }


def _longer_picture(path: Path) -> None:
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", 25, {"threads": "1"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = writer.add_stream("aac", 48_000, layout="mono")
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), number * 4, np.uint8), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.full((1, 1024), 0.1, np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 48_000, 0
        writer.mux(audio.encode(sound))
        writer.mux(audio.encode(None))


def _two_sounds(path: Path, *, picture: bool) -> None:
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", 25, {"threads": "1"}) if picture else None
        tracks = [writer.add_stream("aac", 48_000, layout="mono") for _ in range(2)]
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for number in range(16):
                frame = av.VideoFrame.from_ndarray(np.full((72, 64), number * 9, np.uint8), "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                writer.mux(video.encode(frame))
            writer.mux(video.encode(None))
        for number in range(30):
            for track in tracks:
                sound = av.AudioFrame.from_ndarray(np.full((1, 1024), 0.1, np.float32), "fltp", "mono")
                sound.sample_rate, sound.pts, sound.time_base = 48_000, number * 1024, Fraction(1, 48_000)
                writer.mux(track.encode(sound))
        for track in tracks:
            writer.mux(track.encode(None))


def _renamed(path: Path, suffix: str) -> None:
    make_recording(path.with_suffix(suffix), SMALL).rename(path)


def _turned(path: Path) -> None:
    data = bytearray(make_recording(path, RecordingSpec(duration_ms=700, size_px=(64, 48))).read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def _sparse(path: Path, second_s: float) -> None:
    """Two frames and two sounds, the later ones at `second_s`."""
    with av.open(str(path), "w", format="matroska") as writer:
        video = writer.add_stream("mpeg4", 25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = writer.add_stream("pcm_s16le", 48_000, layout="mono")
        for at_s in (0.0, second_s):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), 90, np.uint8), "yuv420p")
            frame.pts, frame.time_base = round(at_s * 25), Fraction(1, 25)
            writer.mux(video.encode(frame))
            sound = av.AudioFrame.from_ndarray(np.full((1, 960), 3000, np.int16), "s16", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, round(at_s * 48_000), Fraction(1, 48_000)
            writer.mux(audio.encode(sound))
        writer.mux([*video.encode(None), *audio.encode(None)])


def _excess(plain: Path) -> dict[str, Case]:
    whole = plain.read_bytes()

    def patched(name: bytes, offset: int, value: bytes) -> Callable[[Path], object]:
        data = bytearray(whole)
        place = data.index(name) + 4 + offset
        data[place : place + len(value)] = value
        return _written(bytes(data))

    return {
        "bomb.mkv": Case(_bomb, REFUSED, "pixels"),
        "eleven hours.mkv": Case(lambda path: _sparse(path, 11 * 3600.0), REFUSED, "minutes"),
        "eleven hours.ts.mp4": Case(patched(b"mvhd", 16, struct.pack(">I", 0x7FFFFFFF)), REFUSED, may=DONE),
        "declared 65535 wide.mp4": Case(patched(b"avc1", 24, b"\xff\xff\xff\xff"), REFUSED, may=DONE),
        "sizes of 4 GB.mp4": Case(patched(b"stsz", 12, b"\xff" * 8), REFUSED),
        "4 billion samples.mp4": Case(patched(b"stsz", 8, b"\xff" * 4), REFUSED, may=DONE),
        "no time base.mp4": Case(patched(b"mdhd", 12, bytes(4)), REFUSED, may=DONE),
        "4 billion times.mp4": Case(patched(b"stts", 4, b"\xff" * 4), REFUSED, may=DONE),
        "offsets beyond the end.mp4": Case(patched(b"stco", 8, b"\x7f\xff\xff\xff"), REFUSED),
    }


def _bomb(path: Path) -> None:
    """Two flat frames of 8192 by 8192 in a few kilobytes."""
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", 25, {"threads": "1", "preset": "ultrafast"})
        video.width = video.height = 8192
        video.pix_fmt = "gray"
        frame = av.VideoFrame.from_ndarray(np.full((8192, 8192), 90, np.uint8), "gray")
        for number in range(2):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))

"""Whether the index of an MP4 or MOV file agrees with itself.

Such a file carries no checksum, and FFmpeg takes its index as it is: a turned bit in it shows another picture at a
time, or another length, without a word. But the index says most things twice:

    boxes           fill their parent exactly, and their tables fill them exactly
    samples         as many in the table of sizes as in those of times and of chunks; inside the data; none over another
    durations       of the samples, the track, its edits and the movie
    times of frames in a recording of constant rate one frame out of line, which an encoder does not make
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia

_LARGEST_INDEX = 1 << 27
_TOLERANCE_S = Fraction(1, 50)
_LONGEST_FRAME_S = Fraction(1, 2)
_ONE, _LARGEST_SCALE = 1 << 30, 16 << 16
"""Numbers in the matrix of a track."""

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf"))
_KNOWN = {
    b"moov": b"mvhd iods trak mvex udta meta uuid free skip wide ainf pssh cmov rmra ctab prfl clip",
    b"trak": b"tkhd edts mdia tref udta meta trgr load matt clip kmat tapt imap uuid free skip wide txas",
    b"mdia": b"mdhd hdlr minf elng udta meta uuid free skip",
    b"minf": b"vmhd smhd hmhd nmhd gmhd sthd dinf stbl hdlr uuid free skip",
    b"stbl": b"stsd stts ctts cslg stss stps stsh stdp stsz stz2 stsc stco co64 padb subs sbgp sgpd saiz saio sdtp "
    b"uuid free skip",
}
"""What may lie in these boxes: an unknown name there is a known one that was damaged, and would be passed over."""
_MOST_OUT_OF_LINE = 4

_Numbers = NDArray[np.int64]
_Boxes = dict[bytes, list[memoryview]]


def check_index(path: Path) -> None:
    """Raises UnreadableMedia where the index contradicts itself. A file in fragments is not looked into."""
    index, data = _read(path)
    if index is None:
        return
    movie = _children(b"moov", index)
    if b"mvex" in movie or b"cmov" in movie:
        return
    tracks = [track for box in movie.get(b"trak", ()) if (track := _track(box)) is not None]
    (head,) = _only(movie, b"mvhd")
    scale, length = _clock(head)
    chunks = [piece for track in tracks for piece in track.chunks]
    _check_chunks(chunks, data)
    for track in tracks:
        track.check(scale)
    longest = max((track.shown for track in tracks if track.shown is not None), default=None)
    if (
        scale
        and longest is not None
        and abs(Fraction(longest - length, scale)) > _TOLERANCE_S
        and _all_read(movie, tracks)
    ):
        raise _contradiction("the movie is not as long as its longest track")


def _contradiction(what: str) -> UnreadableMedia:
    return UnreadableMedia(
        f"the recording is damaged: its index contradicts itself ({what}); copy the file again, or if it plays rewrite "
        "it with  ffmpeg -i OLD -c copy NEW"
    )


@dataclass
class _Track:
    """What the tables of one track say, in ticks of its time scale."""

    scale: int
    duration: int
    deltas: _Numbers
    offsets: _Numbers | None
    edits: list[tuple[int, int]] = field(default_factory=list)
    """Duration in ticks of the movie and start in those of the track, -1 for an empty one."""
    shown: int | None = None
    """Its duration in ticks of the movie."""
    chunks: list[tuple[int, int]] = field(default_factory=list)
    """Begin and end of its chunks in the file."""
    is_video: bool = False

    def check(self, movie_scale: int) -> None:
        """Raises UnreadableMedia where durations or times contradict each other."""
        if not self.scale or not movie_scale or not len(self.deltas):
            return
        # Writers disagree on how long the last frame stands.
        slack_s = _TOLERANCE_S + min(Fraction(int(self.deltas.max()), self.scale), _LONGEST_FRAME_S)
        whole_s = Fraction(int(self.deltas.sum()), self.scale)
        said_s = Fraction(self.duration, self.scale)
        if abs(whole_s - said_s) > slack_s:
            raise _contradiction("a track is not as long as its samples")
        if self.shown is not None:
            shown_s = Fraction(self.shown, movie_scale)
            edited_s = Fraction(sum(length for length, _ in self.edits), movie_scale) if self.edits else said_s
            # Some writers count what the decoder needs before the beginning, some do not.
            skipped_s = Fraction(max((start for _, start in self.edits), default=0), self.scale)
            if abs(shown_s - edited_s) > (_TOLERANCE_S + max(skipped_s, Fraction(0)) if self.edits else slack_s):
                raise _contradiction("a track is not as long as its edits")
        # Edits count in the times at which frames are shown, which end later than the track where frames are reordered.
        latest = 0 if self.offsets is None else int(self.offsets.max())
        for length, start in self.edits:
            end_s = Fraction(start - latest, self.scale) + Fraction(length, movie_scale)
            if start < -1 or (start >= 0 and end_s > said_s + slack_s):
                raise _contradiction("an edit reaches beyond its track")
        if self.is_video:
            self._check_times()

    def _check_times(self) -> None:
        step = int(self.deltas[0])
        if step <= 0 or len(self.deltas) < 3 or (self.deltas[:-1] != step).any():
            return
        times = np.cumsum(self.deltas) - self.deltas
        shown = np.sort(times + self.offsets) if self.offsets is not None else times
        gaps = np.diff(shown)
        odd = gaps[gaps != step]
        if not len(odd):
            return
        left_out = bool((odd % step == 0).all()) and int(odd.min()) > 0
        fits = int(shown[-1] - shown[0]) + step <= self.duration + step // 2
        if len(odd) <= _MOST_OUT_OF_LINE and not (left_out and fits):
            raise _contradiction("a frame is out of line")


def _read(path: Path) -> tuple[memoryview | None, list[tuple[int, int]]]:
    """The index, or None where there is none or the file is in fragments, and where in the file its data lie."""
    index: memoryview | None = None
    data: list[tuple[int, int]] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place + 8 <= size:
            file.seek(place)
            length, kind = struct.unpack(">I4s", file.read(8))
            head = 8
            if length == 1 and place + 16 <= size:
                (length,) = struct.unpack(">Q", file.read(8))
                head = 16
            length = length or size - place
            if length < head:
                break
            if kind == b"moof":
                return None, data
            if kind == b"mdat":
                data.append((place + head, place + length))
            if kind == b"moov":
                if index is not None or length > _LARGEST_INDEX:
                    raise _contradiction("there are two of it, or it is too large")
                index = memoryview(file.read(length - head))
            place += length
    return index, data


def _boxes(parent: bytes, body: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    place = 0
    # Four zeros may end a list of boxes in MOV files.
    while place + 8 <= len(body):
        length, kind = struct.unpack_from(">I4s", body, place)
        if length < 8 or place + length > len(body):
            raise _contradiction(f"a box in {parent.decode()} does not fit into it")
        yield kind, body[place + 8 : place + length]
        place += length
    if any(body[place:]):
        raise _contradiction(f"{parent.decode()} is not filled by its boxes")


def _children(parent: bytes, body: memoryview) -> _Boxes:
    found: _Boxes = {}
    known = _KNOWN.get(parent)
    for kind, content in _boxes(parent, body):
        if known is not None and kind not in known.split():
            raise _contradiction(f"{parent.decode()} holds a box without a known name")
        found.setdefault(kind, []).append(content)
    return found


def _only(boxes: _Boxes, kind: bytes) -> list[memoryview]:
    found = boxes.get(kind, [])
    if len(found) != 1:
        raise _contradiction(f"it has {len(found)} boxes {kind.decode()}")
    return found


def _inside(boxes: _Boxes, kind: bytes) -> _Boxes:
    (body,) = _only(boxes, kind)
    return _children(kind, body)


def _clock(head: memoryview) -> tuple[int, int]:
    """Ticks in a second and duration in ticks, from a header of a movie or a track's media."""
    form = ">QQIQ" if _field(head, ">B", 0) == 1 else ">IIII"
    *_, scale, length = _field_all(head, form, 4)
    return scale, length


def _field(body: memoryview, form: str, place: int) -> int:
    return _field_all(body, form, place)[0]


def _field_all(body: memoryview, form: str, place: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, body, place)
    except struct.error:
        raise _contradiction("a box is too short") from None


def _table(boxes: _Boxes, kind: bytes, columns: int, signed: bool = False) -> _Numbers:
    """The entries of a table, one row each."""
    (body,) = _only(boxes, kind)
    flags, count = _field_all(body, ">II", 0)
    width = 8 if kind == b"co64" else 4
    if flags not in (0, 1 << 24) or len(body) != 8 + count * columns * width:
        raise _contradiction(f"{kind.decode()} is not filled by its entries")
    numbers = np.frombuffer(body, f">{'i' if signed else 'u'}{width}", offset=8).astype(np.int64)
    return numbers.reshape(count, columns)


def _track(box: memoryview) -> _Track | None:
    """What a track says, or None for one that is neither sound nor picture or is written in a rare way."""
    boxes = _children(b"trak", box)
    media = _inside(boxes, b"mdia")
    (handler,) = _only(media, b"hdlr")
    kind = bytes(handler[8:12])
    about = _inside(media, b"minf")
    said = {b"vmhd": b"vide", b"smhd": b"soun"}
    if any(name in about and kind != said[name] for name in said):
        raise _contradiction("a track is called what it is not")
    if kind not in (b"vide", b"soun"):
        return None
    samples = _inside(about, b"stbl")
    if b"stz2" in samples:
        return None
    scale, duration = _clock(_only(media, b"mdhd")[0])
    sizes = _sizes(samples)
    times = _table(samples, b"stts", 2)
    offsets = _table(samples, b"ctts", 2, signed=True) if b"ctts" in samples else None
    for rows, name in ((times, "stts"), (offsets, "ctts")):
        if rows is not None and int(rows[:, 0].sum()) != len(sizes):
            raise _contradiction(f"{name} counts other samples than there are")
    track = _Track(
        scale,
        duration,
        np.repeat(times[:, 1], times[:, 0]),
        None if offsets is None else np.repeat(offsets[:, 1], offsets[:, 0]),
        is_video=kind == b"vide",
    )
    track.chunks = _chunks(samples, sizes)
    _read_edits(track, boxes)
    return track


def _sizes(samples: _Boxes) -> _Numbers:
    (body,) = _only(samples, b"stsz")
    flags, each, count = _field_all(body, ">III", 0)
    if flags or len(body) != 12 + (0 if each else 4 * count):
        raise _contradiction("stsz is not filled by its entries")
    return np.full(count, each, np.int64) if each else np.frombuffer(body, ">u4", offset=12).astype(np.int64)


def _chunks(samples: _Boxes, sizes: _Numbers) -> list[tuple[int, int]]:
    """Begin and end of every chunk in the file."""
    kind = b"co64" if b"co64" in samples else b"stco"
    begins = _table(samples, kind, 1)[:, 0]
    runs = _table(samples, b"stsc", 3)
    firsts = np.append(runs[:, 0], len(begins) + 1)
    if len(sizes) and (not len(runs) or runs[0, 0] != 1 or (np.diff(firsts) <= 0).any() or (runs[:, 1] <= 0).any()):
        raise _contradiction("stsc does not go through the chunks")
    described = _field(_only(samples, b"stsd")[0], ">I", 4)
    if len(runs) and not (int(runs[:, 2].min()) >= 1 and int(runs[:, 2].max()) <= described):
        raise _contradiction("stsc names a description that is not there")
    counts = np.repeat(runs[:, 1], np.diff(firsts))
    if int(counts.sum()) != len(sizes):
        raise _contradiction("stsc counts other samples than there are")
    ends = np.concatenate([[0], np.cumsum(sizes)])[np.cumsum(counts)]
    lengths = np.diff(np.concatenate([[0], ends]))
    return list(zip(begins.tolist(), (begins + lengths).tolist(), strict=True))


def _read_edits(track: _Track, boxes: _Boxes) -> None:
    """Enter a track's edits and its length in the movie; checks its matrix, which says how pictures are turned."""
    (head,) = _only(boxes, b"tkhd")
    wide = _field(head, ">B", 0) == 1
    length = _field(head, ">Q", 28) if wide else _field(head, ">I", 20)
    track.shown = None if length in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else length
    a, b, u, c, d, v, _, _, w = _field_all(head, ">9i", 52 if wide else 40)
    oblique = (a or d) and (b or c)
    if track.is_video and (u or v or w != _ONE or oblique or max(map(abs, (a, b, c, d))) > _LARGEST_SCALE):
        raise _contradiction("its pictures are turned by no quarter")
    if b"edts" not in boxes:
        return
    edits = _inside(boxes, b"edts").get(b"elst", [])
    if len(edits) != 1:
        raise _contradiction("its edits are not one list")
    (body,) = edits
    version, count = _field(body, ">B", 0), _field(body, ">I", 4)
    form = ">QqI" if version == 1 else ">IiI"
    if len(body) != 8 + count * struct.calcsize(form):
        raise _contradiction("elst is not filled by its entries")
    track.edits = [(row[0], row[1]) for row in struct.iter_unpack(form, body[8:])]


def _check_chunks(chunks: list[tuple[int, int]], data: list[tuple[int, int]]) -> None:
    previous = 0
    for begin, end in sorted(chunks):
        if end == begin:
            continue
        if begin < previous:
            raise _contradiction("two samples lie over each other")
        if not any(first <= begin and end <= last for first, last in data):
            raise _contradiction("a sample lies outside of the data")
        previous = end


def _all_read(movie: _Boxes, tracks: list[_Track]) -> bool:
    return len(movie.get(b"trak", ())) == len(tracks)

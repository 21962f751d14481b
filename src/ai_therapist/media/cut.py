"""Clips as copies of packets, and the proof that a clip holds its own span and nothing else.

A standardised recording has no frame that needs a later one, and at a keyframe the decoder begins anew. So a clip whose
packets and decoder settings are those of the recording, byte by byte from a keyframe on, decodes to its very frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.guarded import Tracks, open_media, packets_of, reading, seconds, tracks_of
from ai_therapist.media.standardise import BITEXACT, FPS
from ai_therapist.records import Fault

_TICK_S = Fraction(1, 10_000)
"""Timestamps of a container are whole ticks; times closer than this are the same."""

_EDIT_S = Fraction(1, 1000)
"""The tick in which an MP4 says how long after the picture its sound begins."""

_Piece = tuple[int, int, bytes]

_IDR = 5
"""Type of the piece of H.264 at which a decoder can begin."""


@dataclass(frozen=True)
class _Span:
    """A stretch of the recording, in the ticks of each track: whole ticks, as fractions are slow."""

    begin: dict[int, int]
    end: dict[int, int]
    slack: dict[int, int]
    second: dict[int, int]

    @staticmethod
    def of(frames: range, tracks: Tracks) -> _Span:
        """The stretch of these frames."""
        begin_s, end_s = Fraction(frames.start, FPS), Fraction(frames.stop, FPS)
        return _Span(
            {track.index: _ticks(begin_s, track) for track in tracks.streams},
            {track.index: _ticks(end_s, track) for track in tracks.streams},
            {track.index: max(1, _ticks(_TICK_S, track)) for track in tracks.streams},
            {track.index: _ticks(Fraction(1), track) for track in tracks.streams},
        )

    def packets(self, reader: InputContainer, tracks: Tracks) -> Iterator[Packet[Stream]]:
        """The packets that lie wholly inside, with times from its beginning."""
        if tracks.video is None:
            raise UnreadableMedia("the standardised recording has no picture")
        reader.seek(self.begin[tracks.video.index], stream=tracks.video)
        for packet in packets_of(reader, *tracks.streams):
            if packet.size == 0 or packet.pts is None or packet.dts is None:
                continue
            track = packet.stream_index
            begin, end, tick = self.begin[track], self.end[track], self.slack[track]
            if packet.pts < begin - tick or packet.pts + (packet.duration or 0) > end + tick:
                if packet.pts > end + self.second[track]:
                    return
                continue
            packet.pts -= begin
            packet.dts -= begin
            yield packet


def cut(source: Path | InputContainer, target: Path, frames: range) -> None:
    """Copy the packets of these frames of a standardised file, and the sound that lies wholly inside them.

    The first frame should be a keyframe of `source`; whether it is shows `verify`. Equal input gives equal bytes.
    Whoever cuts many clips opens the file once and passes the container.
    Raises UnreadableMedia for a file that shows nothing at these frames, and ValueError for an empty range.
    """
    if not frames:
        raise ValueError("a clip needs at least one frame")
    with reading(source) as reader, av.open(str(target), "w", format="mp4", options=BITEXACT) as writer:
        tracks = tracks_of(reader)
        copies = {track.index: writer.add_stream_from_template(track) for track in tracks.streams}
        copied = 0
        for packet in _Span.of(frames, tracks).packets(reader, tracks):
            copied += tracks.video is not None and packet.stream_index == tracks.video.index
            packet.stream = copies[packet.stream_index]
            writer.mux(packet)
    if not copied:
        raise UnreadableMedia("the recording ends before the clip begins")


def verify(source: Path | InputContainer, clip: Path, frames: range) -> frozenset[Fault]:
    """What is wrong with a clip of these frames of `source`; empty where it is exact.

    Exact means: its packets and decoder settings are those of `source` in this span, byte by byte and at the same
    times, picture and sound; as many pictures as `frames`, a keyframe first, which decodes alone; nothing outside the
    span and nothing kept back by an edit list.
    """
    with reading(source) as reader:
        tracks = tracks_of(reader)
        settings = [_settings(track) for track in tracks.streams]
        expected = _Copied.of(_Span.of(frames, tracks).packets(reader, tracks), tracks)
    with open_media(clip, edit_lists=False) as container:
        held = tracks_of(container)
        everything = _Copied.of(packets_of(container, *held.streams), held)
    faults: set[Fault] = set()
    if len(everything.video) < len(frames):
        faults.add(Fault.FRAMES_MISSING)
    if not everything.begins_anew:
        faults.add(Fault.NOT_A_KEYFRAME)
    if len(everything.video) > len(frames) or everything.end_s > Fraction(len(frames), FPS) + _TICK_S:
        faults.add(Fault.HIDDEN_FRAMES)
    if faults:
        return frozenset(faults)
    with open_media(clip) as container:
        held = tracks_of(container)
        same_settings = settings == [_settings(track) for track in held.streams]
        shown = _Copied.of(packets_of(container, *held.streams), held)
        begins_alone = held.video is not None and _begins_alone(container, held.video)
    if not begins_alone:
        return frozenset({Fault.NOT_A_KEYFRAME})
    if len(shown.video) < len(everything.video) or len(shown.audio) < len(everything.audio):
        return frozenset({Fault.HIDDEN_FRAMES})
    same_sound = _is_moved_copy(shown.audio, expected.audio, 0 if held.audio is None else _ticks(_EDIT_S, held.audio))
    same = same_settings and shown.video == expected.video and same_sound
    return frozenset() if same else frozenset({Fault.FRAMES_MISSING})


def _is_moved_copy(found: list[_Piece], expected: list[_Piece], most: int) -> bool:
    """Whether packets are the same and all later or earlier by the same, at most `most`, ticks."""
    if not found or not expected or abs(found[0][0] - expected[0][0]) > most:
        return not found and not expected
    move = found[0][0] - expected[0][0]
    return found == [(pts + move, dts + move, content) for pts, dts, content in expected]


@dataclass(frozen=True)
class _Copied:
    """Packets of a stretch: time, decoding time and content of each."""

    video: list[_Piece]
    audio: list[_Piece]
    begins_anew: bool
    end_s: Fraction
    """Where the last one ends."""

    @staticmethod
    def of(packets: Iterator[Packet[Stream]], tracks: Tracks) -> _Copied:
        """Those of the tracks that are shown."""
        held: dict[int, list[_Piece]] = {track.index: [] for track in tracks.streams}
        ends = dict.fromkeys(held, 0)
        begins_anew = False
        for packet in packets:
            if packet.size == 0 or packet.is_discard or packet.pts is None or packet.dts is None:
                continue
            content = bytes(packet)
            track = held[packet.stream_index]
            if tracks.video is not None and packet.stream_index == tracks.video.index and not track:
                begins_anew = packet.is_keyframe and _is_idr(content)
            track.append((packet.pts, packet.dts, content))
            ends[packet.stream_index] = max(ends[packet.stream_index], packet.pts + (packet.duration or 0))
        video, audio = tracks.video, tracks.audio
        return _Copied(
            held[video.index] if video is not None else [],
            held[audio.index] if audio is not None else [],
            begins_anew,
            max((seconds(ends[track.index], track.time_base) for track in tracks.streams), default=Fraction(0)),
        )


def _begins_alone(clip: InputContainer, video: VideoStream) -> bool:
    """Whether the first packet alone decodes to a picture."""
    clip.seek(0, stream=video)
    first = next((packet for packet in packets_of(clip, video) if packet.size), None)
    return first is not None and len([*first.decode(), *video.codec_context.decode(None)]) == 1


def _settings(track: Stream) -> tuple[str, bytes | None]:
    """What a decoder has to know."""
    return track.codec_context.name, track.codec_context.extradata


def _is_idr(packet: bytes) -> bool:
    """Whether a picture in a packet of an MP4, where each piece follows its length, is one to begin at."""
    place = 0
    while place + 5 <= len(packet):
        if packet[place + 4] & 31 == _IDR:
            return True
        place += 4 + int.from_bytes(packet[place : place + 4], "big")
    return False


def _ticks(time_s: Fraction, track: Stream) -> int:
    return round(time_s / (track.time_base or Fraction(1)))

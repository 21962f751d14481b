"""Clips as copies of packets, and the proof that a clip holds its own span and nothing else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.guarded import open_media, reading, seconds, tracks_of
from ai_therapist.media.standardise import BITEXACT, FPS
from ai_therapist.records import Fault

_TICK_S = Fraction(1, 10_000)
"""Timestamps of a container are whole ticks; times closer than this are the same."""


def cut(source: Path | InputContainer, target: Path, frames: range) -> None:
    """Copy the packets of these frames of a standardised file, and the sound that lies wholly inside them.

    The first frame should be a keyframe of `source`; whether it is shows `verify`. Equal input gives equal bytes.
    Whoever cuts many clips opens the file once and passes the container.
    Raises UnreadableMedia for a file that shows nothing at these frames, and ValueError for an empty range.
    """
    if not frames:
        raise ValueError("a clip needs at least one frame")
    begin_s, end_s = Fraction(frames.start, FPS), Fraction(frames.stop, FPS)
    with reading(source) as reader, av.open(str(target), "w", format="mp4", options=BITEXACT) as writer:
        tracks = tracks_of(reader)
        if tracks.video is None or tracks.video.time_base is None:
            raise UnreadableMedia("the standardised recording has no picture")
        copies = {track.index: writer.add_stream_from_template(track) for track in tracks.streams}
        # Whole ticks, since a clip has hundreds of packets and fractions are slow.
        bounds = {track.index: (_ticks(begin_s, track), _ticks(end_s, track)) for track in tracks.streams}
        slack = {track.index: max(1, _ticks(_TICK_S, track)) for track in tracks.streams}
        second = {track.index: _ticks(Fraction(1), track) for track in tracks.streams}
        copied = 0
        reader.seek(round(begin_s / tracks.video.time_base), stream=tracks.video)
        for packet in reader.demux(*tracks.streams):
            if packet.size == 0 or packet.pts is None or packet.dts is None:
                continue
            begin, end = bounds[packet.stream_index]
            tick = slack[packet.stream_index]
            if packet.pts < begin - tick or packet.pts + (packet.duration or 0) > end + tick:
                if packet.pts > end + second[packet.stream_index]:
                    break
                continue
            packet.pts -= begin
            packet.dts -= begin
            packet.stream = copies[packet.stream_index]
            writer.mux(packet)
            copied += packet.stream_index == copies[tracks.video.index].index
    if not copied:
        raise UnreadableMedia("the recording ends before the clip begins")


def verify(source: Path | InputContainer, clip: Path, frames: range) -> frozenset[Fault]:
    """What is wrong with a clip of these frames of `source`; empty where it is exact.

    Exact means: as many packets, seen past any edit list, and as many decoded frames as `frames`; a keyframe first;
    that frame decodes to the very picture that `source` shows at `frames.start`; nothing outside the span.
    """
    faults = _packet_faults(clip, frames)
    if faults:
        return faults
    count, first = _decode(clip)
    if count < len(frames):
        return frozenset({Fault.HIDDEN_FRAMES})
    expected = _picture_at(source, frames.start)
    if first is None or expected is None or not np.array_equal(first, expected):
        return frozenset({Fault.FRAMES_MISSING})
    return frozenset()


def _ticks(time_s: Fraction, track: Stream) -> int:
    return round(time_s / (track.time_base or Fraction(1)))


def _packet_faults(clip: Path, frames: range) -> frozenset[Fault]:
    faults: set[Fault] = set()
    with open_media(clip, edit_lists=False) as container:
        tracks = tracks_of(container)
        packets = [packet for packet in container.demux(*tracks.streams) if packet.size]
        video = [packet for packet in packets if tracks.video is not None and packet.stream_index == tracks.video.index]
        if len(video) < len(frames):
            faults.add(Fault.FRAMES_MISSING)
        if not video or not video[0].is_keyframe:
            faults.add(Fault.NOT_A_KEYFRAME)
        last_s = Fraction(len(frames), FPS) + _TICK_S
        ends = {track.index: 0 for track in tracks.streams}
        for packet in packets:
            ends[packet.stream_index] = max(ends[packet.stream_index], (packet.pts or 0) + (packet.duration or 0))
        ends_s = [seconds(ends[track.index], track.time_base) for track in tracks.streams]
        if len(video) > len(frames) or any(end_s > last_s for end_s in ends_s):
            faults.add(Fault.HIDDEN_FRAMES)
    return frozenset(faults)


def _decode(path: Path) -> tuple[int, NDArray[np.uint8] | None]:
    """How many frames a file shows, and the first one."""
    with open_media(path) as container:
        first = next((_planes(frame) for frame in container.decode(video=0)), None)
    with open_media(path) as container:
        # The filter smooths pictures and loses none: frames that are only counted do without it.
        container.streams.video[0].codec_context.options = {"skip_loop_filter": "all"}
        return sum(1 for _ in container.decode(video=0)), first


def _picture_at(source: Path | InputContainer, number: int) -> NDArray[np.uint8] | None:
    """The frame of a standardised file with this number, or None past its end."""
    with reading(source) as container:
        video = container.streams.video[0]
        if video.time_base is None:
            return None
        pts = round(Fraction(number, FPS) / video.time_base)
        container.seek(pts, stream=video)
        return next((_planes(frame) for frame in container.decode(video) if frame.pts == pts), None)


def _planes(frame: VideoFrame) -> NDArray[np.uint8]:
    return cast(NDArray[np.uint8], frame.to_ndarray())

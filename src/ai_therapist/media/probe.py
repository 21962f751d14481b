"""What a recording is made of, and whether it is whole: every packet is read, none is decoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.checksums import check_matroska
from ai_therapist.media.guarded import LIMITS, Tracks, open_media, packets_of, seconds, tracks_of
from ai_therapist.media.index import check_index
from ai_therapist.records import AudioStream, Media, VideoStream

_TOLERANCE_S = Fraction(1, 2)
"""By how much the last packet may end before the duration that the file declares."""

_ESTIMATED = frozenset(("mp3", "mpegts"))
"""Formats that declare no duration: FFmpeg guesses it, so a missing end shows only as a damaged last packet."""


def probe(path: Path, name: str, sha256: str) -> Media:
    """The streams and the measured duration of the recording at `path`; `name` and `sha256` are entered as given.

    A picture of one frame counts as no video. Raises UnreadableMedia for a file that is no recording of an accepted
    format, exceeds `LIMITS`, holds neither picture nor sound, ends before its declared duration, or contradicts its own
    index or checksums.
    """
    with open_media(path) as container:
        tracks = tracks_of(container)
        if "mp4" in container.format.name:
            check_index(path)
        elif "matroska" in container.format.name:
            check_matroska(path)
        if not tracks.streams:
            raise UnreadableMedia("the file holds neither picture nor sound")
        packets, ends = _read_through(container, tracks)
        _refuse_broken(container, tracks, ends)
        video = None
        if tracks.video is not None and packets[tracks.video.index] > 1:
            context = tracks.video.codec_context
            rate = tracks.video.average_rate or tracks.video.guessed_rate or Fraction(25)
            video = VideoStream(
                width_px=context.width,
                height_px=context.height,
                fps=f"{rate.numerator}/{rate.denominator}",
                codec=context.name,
            )
        audio = None
        if tracks.audio is not None and packets[tracks.audio.index] > 0:
            audio = AudioStream(rate_hz=tracks.audio.rate, channels=tracks.audio.channels)
        if video is None and audio is None:
            raise UnreadableMedia("the file holds a single picture and no sound")
        duration_ms = int((max(ends.values()) - tracks.start_s) * 1000)
        # A container that declares no duration shows only now how far its times reach.
        if duration_ms > LIMITS.duration_ms:
            raise UnreadableMedia(
                f"{duration_ms // 60_000} minutes are more than {LIMITS.duration_ms // 60_000}: split the recording"
            )
    return Media(path=name, sha256=sha256, duration_ms=max(1, duration_ms), video=video, audio=audio)


def _read_through(container: InputContainer, tracks: Tracks) -> tuple[dict[int, int], dict[int, Fraction]]:
    """Packets and end time of each track by its index."""
    packets = dict.fromkeys((track.index for track in tracks.streams), 0)
    ends = {track.index: _floor(tracks.start_s, track) for track in tracks.streams}
    for packet in packets_of(container, *tracks.streams):
        if packet.size == 0:
            continue
        index = packet.stream_index
        packets[index] += 1
        ends[index] = max(ends[index], _end(packet))
        if packet.is_corrupt:
            good_s = seconds(ends[index], packet.time_base) - tracks.start_s
            raise UnreadableMedia(f"the recording is damaged after {float(good_s):.1f} s")
        if packets[index] > LIMITS.frames and tracks.video is not None and index == tracks.video.index:
            raise UnreadableMedia(f"more than {LIMITS.frames:,} frames: split the recording")
    return packets, {track.index: seconds(ends[track.index], track.time_base) for track in tracks.streams}


def _floor(time_s: Fraction, track: Stream) -> int:
    return int(time_s / track.time_base) if track.time_base else 0


def _end(packet: Packet[Stream]) -> int:
    """Where a packet ends, in ticks of its track."""
    time = packet.pts if packet.pts is not None else packet.dts
    return (time or 0) + (packet.duration or 0)


def _refuse_broken(container: InputContainer, tracks: Tracks, ends: dict[int, Fraction]) -> None:
    if container.format.name in _ESTIMATED:
        return
    for track in tracks.streams:
        if track.duration is not None:
            _compare(track.type, ends[track.index], seconds((track.start_time or 0) + track.duration, track.time_base))
    # Matroska declares one duration for the whole file, which a track that is not read may fill.
    if container.duration is not None and len(container.streams) == len(tracks.streams):
        _compare("it", max(ends.values()), tracks.start_s + Fraction(container.duration, 1_000_000))


def _compare(what: str, read_s: Fraction, declared_s: Fraction) -> None:
    if read_s + _TOLERANCE_S < declared_s:
        raise UnreadableMedia(
            f"the recording breaks off: {what} ends at {float(read_s):.1f} s of {float(declared_s):.1f} s; "
            "copy the complete file again"
        )

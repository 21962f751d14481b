"""One pass that makes any recording alike: 16 frames a second, upright, even size, H.264 without B-frames, AAC.

Sound that is AAC without a gap already is copied, not encoded a second time.

Keyframes are forced where turns start, so that a clip is later a copy of packets:

    frame   0 . . . . 5 . . . . . . . 13 . . . .       forced at 5 and 13
    packet  I P P P P I P P P P P P P I  P P P P       a clip of 5..13 needs nothing before 5
"""

from __future__ import annotations

import platform
from collections.abc import Collection
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.anonymise import Anonymiser
from ai_therapist.media.guarded import Tracks, open_media, packets_of, seconds, tracks_of
from ai_therapist.media.sound import UnbrokenSound
from ai_therapist.records import Media

FPS = 16
"""Frames per second of all standardised video."""

AUDIO_RATE_HZ = 48_000
AAC_FRAME = 1024
"""Samples in one AAC packet."""

_COPIED_RATES_HZ = (44_100, 48_000)

_JITTER_S = Fraction(1, 50)
"""Sound that starts later than this after the session is preceded by silence, which cannot be copied."""

_SKIPPING = frozenset(("h264", "hevc"))
"""Codecs whose decoders can leave out frames that no other one needs."""

_HOLD_S = Fraction(1, 2)
"""For how long the last picture may stand where the sound outlasts it; later frames count as missing."""

# x264's tree reads memory that nobody wrote where it uses AVX-512, and then gives other bytes in one run of forty. From
# SSE4.2 to AVX2 the bytes are the same on every machine; processors have had the first since 2008.
_INSTRUCTIONS = ":asm=MMX2,SSE2Fast,SSSE3,SSE4.2" if platform.machine().lower() in ("x86_64", "amd64") else ""

X264 = {
    # One thread: x264's bytes differ between thread counts.
    "threads": "1",
    "preset": "superfast",
    "crf": "23",
    "bf": "0",
    "g": str(5 * FPS),
    "forced-idr": "1",
    # No keyframes of x264's own choosing: they would start no turn. The tree over five frames, which the preset leaves
    # out, saves two thirds of the bytes where little moves.
    "x264-params": f"scenecut=0:mbtree=1:rc-lookahead=5:weightp=0{_INSTRUCTIONS}",
}
"""Settings of the encoder."""

_AAC = {
    # The default coder takes twice as long for a difference that is not heard in speech.
    "aac_coder": "fast",
}

BITEXACT = {"fflags": "+bitexact"}
"""Muxer options that keep times and library versions out of the file."""


def standardise(
    source: Path, target: Path, media: Media, keyframes: Collection[int], anonymiser: Anonymiser | None = None
) -> None:
    """Write `source`, a recording with picture, to the MP4 file `target` with keyframes at these frame numbers.

    Frame k shows what the recording shows at k/16 s, as `anonymiser` leaves it. Equal input gives equal bytes.
    Raises UnreadableMedia for pictures or sound that cannot be decoded.
    """
    width_px, height_px, unseen = _survey(source)
    with open_media(source) as reader, av.open(str(target), "w", format="mp4", options=BITEXACT) as writer:
        tracks = tracks_of(reader)
        if tracks.video is None:
            raise UnreadableMedia("the recording has no picture to standardise")
        # Both streams must be there before the first packet: it writes the header.
        stream = _open_video(writer, width_px, height_px)
        picture = _Picture(writer, stream, tracks.video, tracks.start_s, frozenset(keyframes), anonymiser)
        sound: _Sound | _CopiedSound | None = None
        if tracks.audio is not None and anonymiser is None and may_be_copied(source):
            sound = _CopiedSound(writer, tracks.audio, tracks.start_s)
        elif tracks.audio is not None:
            sound = _Sound(writer, tracks.audio, tracks.start_s, anonymiser)
        _transcode(reader, tracks, unseen, picture, sound)
        picture.finish(Fraction(media.duration_ms, 1000))
        if sound is not None:
            sound.finish()


def may_be_copied(source: Path) -> bool:
    """Whether the sound of a recording can be taken as it is: AAC of low complexity from the start on, without a gap.

    Matroska and others round times to milliseconds, so theirs is encoded anew.
    """
    with open_media(source) as reader:
        tracks = tracks_of(reader)
        audio = tracks.audio
        if (
            audio is None
            or (audio.codec_context.name, audio.codec_context.profile) != ("aac", "LC")
            or audio.codec_context.extradata is None
            or audio.rate not in _COPIED_RATES_HZ
            or audio.channels > 2
            or audio.time_base != Fraction(1, audio.rate)
        ):
            return False
        times = [packet.pts for packet in packets_of(reader, audio) if packet.size]
    known = [time for time in times if time is not None]
    late_s = seconds(max(known[0], 0), audio.time_base) - tracks.start_s if known else Fraction(0)
    return (
        len(known) == len(times) > 1
        and abs(late_s) <= _JITTER_S
        and all(after - before == AAC_FRAME for before, after in pairwise(known))
    )


def _transcode(
    reader: InputContainer,
    tracks: Tracks,
    unseen: frozenset[int],
    picture: _Picture,
    sound: _Sound | _CopiedSound | None,
) -> None:
    for packet in packets_of(reader, *tracks.streams):
        if isinstance(sound, _CopiedSound) and tracks.audio is not None and packet.stream_index == tracks.audio.index:
            sound.push(packet)
            continue
        if unseen and tracks.video is not None and packet.stream_index == tracks.video.index:
            # No other frame needs a "non-reference" one, so where it is not shown either nobody misses it.
            tracks.video.codec_context.skip_frame = "NONREF" if packet.pts in unseen else "DEFAULT"
        for frame in packet.decode():
            if isinstance(frame, VideoFrame | AudioFrame) and frame.is_corrupt:
                raise UnreadableMedia("the recording is damaged: a frame cannot be decoded")
            if isinstance(frame, VideoFrame):
                picture.push(frame)
            elif isinstance(frame, AudioFrame) and isinstance(sound, _Sound):
                sound.push(frame)


class _Picture:
    """Samples frames on the 16 FPS grid and encodes them."""

    def __init__(
        self,
        writer: OutputContainer,
        stream: VideoStream,
        source: VideoStream,
        start_s: Fraction,
        keyframes: frozenset[int],
        anonymiser: Anonymiser | None,
    ) -> None:
        self._anonymiser = anonymiser
        self._writer = writer
        self._stream = stream
        self._start_s = start_s
        self._keyframes = keyframes
        self._frame_s = 1 / (source.average_rate or Fraction(FPS))
        self._shown: VideoFrame | None = None
        self._ready: VideoFrame | None = None
        self._next = 0
        self._written = 0
        self._end_s = Fraction(0)

    def push(self, frame: VideoFrame) -> None:
        """Take the next frame of the source; encodes what was shown until it appears."""
        time_s = self._end_s if frame.pts is None else seconds(frame.pts, frame.time_base) - self._start_s
        if self._shown is None:
            self._shown = frame
        self._encode_until(time_s)
        self._shown, self._ready = frame, None
        lasts_s = seconds(frame.duration, frame.time_base) if frame.duration else self._frame_s
        self._end_s = time_s + lasts_s

    def finish(self, duration_s: Fraction) -> None:
        """Encode the rest."""
        self._encode_until(max(self._end_s, min(duration_s, self._end_s + _HOLD_S)))
        self._write(None)
        if self._written != self._next:
            raise UnreadableMedia(f"{self._next} pictures were encoded and {self._written} came out: run it again")

    def _write(self, picture: VideoFrame | None) -> None:
        packets = self._stream.encode(picture)
        self._written += len(packets)
        self._writer.mux(packets)

    def _encode_until(self, time_s: Fraction) -> None:
        # One multiplication instead of a comparison of fractions for each frame.
        until = ceil(time_s * FPS)
        while self._next < until and self._shown is not None:
            if self._ready is None:
                # A recording that changes its size is scaled to the size that it began with.
                self._ready = _upright(self._shown).reformat(self._stream.width, self._stream.height, threads=1)
                if self._anonymiser is not None:
                    self._ready = self._anonymiser.picture(self._ready)
            self._ready.pts = self._next
            self._ready.time_base = Fraction(1, FPS)
            forced = self._next == 0 or self._next in self._keyframes
            self._ready.pict_type = PictureType.I if forced else PictureType.NONE
            self._write(self._ready)
            self._next += 1


def _survey(source: Path) -> tuple[int, int, frozenset[int]]:
    """Width and height of the first frame as it will be encoded, and the times of frames that are never shown.

    Raises UnreadableMedia where no frame can be decoded.
    """
    size: tuple[int, int] | None = None
    times: list[int | None] = []
    with open_media(source) as reader:
        tracks = tracks_of(reader)
        if tracks.video is None:
            raise UnreadableMedia("the recording has no picture to standardise")
        time_base, codec = tracks.video.time_base, tracks.video.codec_context.name
        for packet in packets_of(reader, tracks.video):
            if packet.size:
                times.append(packet.pts)
            for frame in packet.decode() if size is None else ():
                if isinstance(frame, VideoFrame):
                    upright = _upright(frame)
                    size = (upright.width, upright.height)
                    break
    if size is None:
        raise UnreadableMedia("no frame of the recording can be decoded")
    known = sorted(time for time in times if time is not None)
    if codec not in _SKIPPING or time_base is None or len(set(known)) < len(times):
        return (*size, frozenset())
    places = [ceil((seconds(time, time_base) - tracks.start_s) * FPS) for time in known]
    # The first and the last frame may stand for longer than their times say.
    unseen = {known[place] for place in range(1, len(known) - 1) if places[place] == places[place + 1]}
    return (*size, frozenset(unseen))


def _open_video(writer: OutputContainer, width_px: int, height_px: int) -> VideoStream:
    stream = writer.add_stream("libx264", FPS, dict(X264))
    stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, FPS)
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _upright(frame: VideoFrame) -> VideoFrame:
    """The frame as it is meant to be seen: rotated, even sides, yuv420p."""
    width, height = _even(frame.width), _even(frame.height)
    turns = round(frame.rotation / 90) % 4
    if turns == 0:
        return frame.reformat(width, height, "yuv420p", threads=1)
    image = cast(NDArray[np.uint8], frame.reformat(width, height, "rgb24", threads=1).to_ndarray())
    turned = np.ascontiguousarray(np.rot90(image, turns))
    return VideoFrame.from_ndarray(turned, "rgb24").reformat(format="yuv420p", threads=1)


def _even(side_px: int) -> int:
    return max(2, side_px - side_px % 2)


class _CopiedSound:
    """Sound that is taken over packet by packet."""

    def __init__(self, writer: OutputContainer, source: AudioStream, start_s: Fraction) -> None:
        self._writer = writer
        self._stream = writer.add_stream_from_template(source)
        self._start = round(start_s * source.rate)

    def push(self, packet: Packet[Stream]) -> None:
        """Take the next packet of the source."""
        if packet.size == 0 or packet.pts is None:
            return
        packet.pts -= self._start
        packet.dts = packet.pts
        # The last one may be said to be shorter than what it decodes to, and would reach out of a clip.
        packet.duration = AAC_FRAME
        packet.stream = self._stream
        self._writer.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""


class _Sound:
    """Encodes sound as AAC at 48 kHz, unbroken from the session's start."""

    def __init__(
        self, writer: OutputContainer, source: AudioStream, start_s: Fraction, anonymiser: Anonymiser | None
    ) -> None:
        layout = "stereo" if source.channels > 1 else "mono"
        self._voice = anonymiser.voice(AUDIO_RATE_HZ, layout) if anonymiser is not None else None
        self._writer = writer
        self._line = UnbrokenSound(start_s, AUDIO_RATE_HZ, layout)
        self._stream = writer.add_stream("aac", AUDIO_RATE_HZ, dict(_AAC), layout=layout)
        self._stream.codec_context.flags |= Flags.bitexact
        self._layout = layout
        self._rest = np.zeros((2 if layout == "stereo" else 1, 0), np.float32)
        self._encoded = 0

    def push(self, frame: AudioFrame) -> None:
        """Take the next frame of the source."""
        for block in self._line.push(frame):
            self._take(block)

    def finish(self) -> None:
        """Encode the rest."""
        for block in self._line.flush():
            self._take(block)
        for block in self._voice.finish() if self._voice is not None else ():
            self._rest = np.concatenate([self._rest, block], axis=1)
        self._encode_whole()
        if self._rest.shape[1]:
            self._encode(self._rest)
        self._writer.mux(self._stream.encode(None))

    def _take(self, block: NDArray[np.float32]) -> None:
        for changed in (block,) if self._voice is None else self._voice.push(block):
            self._rest = np.concatenate([self._rest, changed], axis=1)
        self._encode_whole()

    def _encode_whole(self) -> None:
        whole = self._rest.shape[1] - self._rest.shape[1] % AAC_FRAME
        for begin in range(0, whole, AAC_FRAME):
            self._encode(self._rest[:, begin : begin + AAC_FRAME])
        self._rest = self._rest[:, whole:]

    def _encode(self, samples: NDArray[np.float32]) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self._layout)
        frame.sample_rate = AUDIO_RATE_HZ
        frame.time_base = Fraction(1, AUDIO_RATE_HZ)
        frame.pts = self._encoded
        self._encoded += samples.shape[1]
        self._writer.mux(self._stream.encode(frame))

"""Decoded sound as one unbroken line of samples from the start of the session."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.guarded import open_media, packets_of, seconds, tracks_of
from ai_therapist.records import TimeSpan

SPEECH_RATE_HZ = 16_000
"""Rate of the sound that recognisers read; one millisecond is exactly 16 samples."""

_OPUS_BITS = 32_000
_WRITTEN_AT_ONCE = 1 << 15

_JUMP_S = Fraction(1, 50)
"""Timestamps further than this from where the sound should go on are a gap or an overlap, not rounding."""


class UnbrokenSound:
    """Resamples frames and puts each where its timestamp says: gaps become silence, overlaps are dropped."""

    def __init__(self, start_s: Fraction, rate_hz: int, layout: str) -> None:
        self._start_s = start_s
        self._rate_hz = rate_hz
        self._resampler = AudioResampler("fltp", layout, rate_hz)
        self._channels = 2 if layout == "stereo" else 1
        self._next_s = Fraction(0)
        self._surplus = 0
        self._steady: tuple[int, int, Fraction] | None = None
        """Where in ticks the next frame begins if it follows the last one, samples since `_next_s`, and the tick."""

    def push(self, frame: AudioFrame) -> Iterator[NDArray[np.float32]]:
        """Blocks of samples in -1 .. 1, each of shape (channels, n), in order."""
        if not self._follows(frame):
            yield from self._placed(frame)
        frame.pts = None
        yield from self._resampled(frame)

    def _follows(self, frame: AudioFrame) -> bool:
        """Whether a frame begins where the last one ended, as nearly all do: this needs no fractions."""
        if self._steady is None or frame.pts != self._steady[0] or frame.time_base != self._steady[2]:
            return False
        self._steady = (frame.pts + frame.samples, self._steady[1] + frame.samples, self._steady[2])
        return True

    def _placed(self, frame: AudioFrame) -> Iterator[NDArray[np.float32]]:
        """Put a frame where its timestamp says; gives the silence before it."""
        if self._steady is not None:
            self._next_s += self._steady[1] * self._steady[2]
            self._steady = None
        begin_s = self._next_s if frame.pts is None else seconds(frame.pts, frame.time_base) - self._start_s
        jump_s = begin_s - self._next_s
        if jump_s > _JUMP_S:
            yield from self._silence(round(jump_s * self._rate_hz))
        elif jump_s < -_JUMP_S:
            self._surplus += round(-jump_s * self._rate_hz)
        else:
            begin_s = self._next_s
        self._next_s = max(self._next_s, begin_s + Fraction(frame.samples, frame.sample_rate))
        if jump_s >= -_JUMP_S and frame.pts is not None and frame.time_base == Fraction(1, frame.sample_rate):
            self._steady = (frame.pts + frame.samples, 0, frame.time_base)

    def flush(self) -> Iterator[NDArray[np.float32]]:
        """What the resampler still holds."""
        yield from self._resampled(None)

    def _silence(self, samples: int) -> Iterator[NDArray[np.float32]]:
        # A gap may last for hours, too long for one block.
        longest = 60 * self._rate_hz
        for begin in range(0, samples, longest):
            yield np.zeros((self._channels, min(longest, samples - begin)), np.float32)

    def _resampled(self, frame: AudioFrame | None) -> Iterator[NDArray[np.float32]]:
        for piece in self._resampler.resample(frame):
            block = piece.to_ndarray().astype(np.float32, copy=False)
            dropped = min(self._surplus, block.shape[1])
            self._surplus -= dropped
            if dropped < block.shape[1]:
                yield block[:, dropped:]


def read_sound(path: Path, rate_hz: int = SPEECH_RATE_HZ) -> Iterator[NDArray[np.float32]]:
    """Blocks of mono samples in -1 .. 1 from the session's start; nothing for a recording without sound.

    Raises UnreadableMedia for sound that cannot be decoded.
    """
    with open_media(path) as container:
        tracks = tracks_of(container)
        if tracks.audio is None:
            return
        line = UnbrokenSound(tracks.start_s, rate_hz, "mono")
        for frame in _frames(container, tracks.audio):
            yield from (block[0] for block in line.push(frame))
        yield from (block[0] for block in line.flush())


def _frames(container: InputContainer, track: AudioStream) -> Iterator[AudioFrame]:
    for packet in packets_of(container, track):
        for frame in packet.decode():
            if isinstance(frame, AudioFrame):
                if frame.is_corrupt:
                    raise UnreadableMedia("the recording is damaged: a piece of its sound cannot be decoded")
                yield frame


def extract_speech(source: Path, target: Path) -> None:
    """Write the sound of `source` as 16 kHz mono 16-bit WAV; an empty one where there is no sound.

    Raises UnreadableMedia for sound that cannot be decoded.
    """
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE_HZ)
        for block in _gathered(read_sound(source), _WRITTEN_AT_ONCE):
            # The header gets its length when the file is closed.
            file.writeframesraw(np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2").tobytes())


def _gathered(blocks: Iterator[NDArray[np.float32]], least: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of at least so many, but for the last; those of a decoder are small."""
    held: list[NDArray[np.float32]] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= least:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def has_sound(path: Path) -> bool:
    """Whether a WAV file that `extract_speech` wrote holds any sample."""
    with wave.open(str(path), "rb") as file:
        return file.getnframes() > 0


def read_speech(path: Path, block_ms: int) -> Iterator[NDArray[np.float32]]:
    """Samples of a WAV file that `extract_speech` wrote, in blocks of `block_ms` or less."""
    with wave.open(str(path), "rb") as file:
        while data := file.readframes(block_ms * SPEECH_RATE_HZ // 1000):
            yield np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def load_part(path: Path, span: TimeSpan) -> NDArray[np.float32]:
    """Samples of a stretch of such a file; fewer where it ends before the stretch does."""
    part = span.samples(SPEECH_RATE_HZ)
    with wave.open(str(path), "rb") as file:
        file.setpos(min(part.start, file.getnframes()))
        data = file.readframes(len(part))
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def load_speech(path: Path) -> NDArray[np.float32]:
    """Samples in -1 .. 1 of a WAV file that `extract_speech` wrote."""
    with wave.open(str(path), "rb") as file:
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def compress_speech(source: Path, target: Path) -> None:
    """Write the 16 kHz mono WAV `source` as Opus in Ogg at 32 kbit/s, an eighth of its size; no metadata goes along."""
    with av.open(str(source), "r") as reader, av.open(str(target), "w", format="ogg") as writer:
        stream = writer.add_stream("libopus", 48_000, layout="mono")
        stream.bit_rate = _OPUS_BITS
        resampler = AudioResampler("flt", "mono", 48_000, frame_size=960)
        for frame in reader.decode(audio=0):
            for piece in resampler.resample(frame):
                writer.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            writer.mux(stream.encode(piece))
        writer.mux(stream.encode(None))

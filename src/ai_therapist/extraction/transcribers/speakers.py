"""Who spoke when: speech is found, cut into short windows, clustered by voice, and the borders are then refined.

    speech     ████████████░░░░░███████████░░██████
    windows    [ 1 ][ 1 ][ 2 ]  [ 2 ][ 2 ]   [ 1 ]     agglomerative clustering of MFCC and pitch statistics
    refined    AAAAAAAABBBB     BBBBBBBBBBB  AAAAAA     Viterbi path over 10 ms frames, one Gaussian per voice

Clear voices are told apart, and counted where their number is not given. Voices alike, more voices than `speakers`, and
speech at the same time are not: a further voice is absorbed by the nearest one. Sound is heard block by block, and what
is kept of it is a tenth of its size, so that one voice stays one over hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ai_therapist.errors import MissingExtra
from ai_therapist.extraction.transcribers.clustering import cluster
from ai_therapist.media.sound import SPEECH_RATE_HZ
from ai_therapist.records import TimeSpan

FRAME_MS = 10
"""Step between feature frames."""

_WINDOW_FRAMES = 100
"""Longest window that is clustered: one second gives stable statistics and seldom holds two voices."""

_SWITCH_COST = 40.0
"""Log-likelihood that a change of voice must gain; neighbouring frames are far from independent."""

_LOWEST_HZ, _HIGHEST_HZ = 70, 400
"""Range in which the pitch of a voice is looked for."""

_VOICED = 0.5
"""Autocorrelation at the pitch period, as a share of the energy, from which a frame counts as voiced."""

_PITCH_HOP, _PITCH_WIDTH = SPEECH_RATE_HZ * FRAME_MS // 1000, SPEECH_RATE_HZ // 25

_REFINEMENTS = 3

_BLOCK_FRAMES = 4
"""Frames between which the path cannot change: borders to 40 ms are as fine as speech has them."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Voiced:
    """A stretch of speech of one voice, numbered from 0 in order of appearance."""

    span: TimeSpan
    voice: int


@dataclass(frozen=True)
class Heard:
    """What is kept of a recording to tell voices apart, one row per 10 ms."""

    timbre: Array
    pitch: Array


def listen(blocks: Iterable[NDArray[np.float32]]) -> Heard:
    """Timbre and pitch of 16 kHz sound that comes in blocks; where it is cut makes no difference.

    Raises MissingExtra without kaldi-native-fbank.
    """
    timbre, pitch = _TimbreStream(), _PitchStream()
    rows: list[Array] = []
    heights: list[Array] = []
    for block in blocks:
        rows.append(timbre.push(block))
        heights.append(pitch.push(block))
    rows.append(timbre.finish())
    heights.append(pitch.finish())
    return Heard(np.concatenate(rows), np.concatenate(heights))


def find_speech_in_blocks(blocks: Iterable[NDArray[np.float32]], min_silence_ms: int, pad_ms: int) -> list[TimeSpan]:
    """Stretches of speech in sound that comes in blocks. One that a block's end cuts is looked at again, whole."""
    found: list[TimeSpan] = []
    rest: NDArray[np.float32] = np.zeros(0, np.float32)
    offset_ms = 0
    for block in blocks:
        samples = np.concatenate([rest, block])
        spans = find_speech(samples, min_silence_ms, pad_ms)
        length_ms = len(samples) * 1000 // SPEECH_RATE_HZ
        cut_ms = length_ms
        # Speech that fills a whole block is taken as it is: nothing may grow without end.
        if spans and length_ms - spans[-1].end_ms < min_silence_ms + pad_ms and spans[-1].start_ms > length_ms // 2:
            cut_ms = spans.pop().start_ms
        found += [span.with_offset(offset_ms) for span in spans]
        rest = samples[cut_ms * SPEECH_RATE_HZ // 1000 :]
        offset_ms += cut_ms
    return found + [span.with_offset(offset_ms) for span in find_speech(rest, min_silence_ms, pad_ms)]


def find_speech(samples: NDArray[np.float32], min_silence_ms: int, pad_ms: int) -> list[TimeSpan]:
    """Stretches of speech in 16 kHz sound by Silero VAD. Raises MissingExtra without faster-whisper."""
    try:
        from faster_whisper.vad import VadOptions, get_speech_timestamps
    except ImportError:
        raise MissingExtra("finding speech", "faster-whisper", "speech") from None
    if samples.size == 0:
        return []
    options = VadOptions(min_silence_duration_ms=min_silence_ms, speech_pad_ms=pad_ms, min_speech_duration_ms=100)
    per_ms = SPEECH_RATE_HZ // 1000
    return [
        TimeSpan(start_ms=found["start"] // per_ms, end_ms=found["end"] // per_ms)
        for found in get_speech_timestamps(samples, options)
        if found["end"] // per_ms > found["start"] // per_ms
    ]


def tell_apart(heard: Heard, speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
    """The stretches of `speech`, split where the voice changes, each with its voice.

    There are at most `speakers` voices; 0 counts them. Raises MissingExtra without scikit-learn.
    """
    if not speech:
        return []
    if speakers == 1:
        return [Voiced(span, 0) for span in speech]
    timbre, pitch = heard.timbre, heard.pitch
    frames = min(len(timbre), len(pitch))
    stretches = [range(s.start_ms // FRAME_MS, min(frames, s.end_ms // FRAME_MS)) for s in speech]
    windows = [window for stretch in stretches for window in _windows(stretch)]
    if len(windows) < 2:
        return [Voiced(span, 0) for span in speech]
    labels = cluster(np.stack([_statistics(timbre, pitch, window) for window in windows]), speakers)
    if labels.max() == 0:
        return [Voiced(span, 0) for span in speech]
    path = np.full(frames, -1)
    for window, label in zip(windows, labels, strict=True):
        path[window.start : window.stop] = label
    for _ in range(_REFINEMENTS):
        before = path.copy()
        voices = _voices(timbre[:frames], pitch[:frames], path)
        for stretch in stretches:
            part = slice(stretch.start, stretch.stop)
            path[part] = _likeliest(_likelihoods(timbre[part], pitch[part], voices))
        if np.array_equal(path, before):
            break
    return _in_order_of_appearance(
        [piece for span, stretch in zip(speech, stretches, strict=True) for piece in _pieces(span, stretch, path)]
    )


class _TimbreStream:
    """Twelve MFCCs per frame, without the one that only measures loudness."""

    def __init__(self) -> None:
        try:
            import kaldi_native_fbank as knf
        except ImportError:
            raise MissingExtra("telling voices apart", "kaldi-native-fbank", "speech") from None
        options = knf.MfccOptions()
        options.frame_opts.dither = 0.0
        options.frame_opts.snip_edges = False
        options.num_ceps = 13
        self._mfcc = knf.OnlineMfcc(options)
        self._taken = 0

    def push(self, samples: NDArray[np.float32]) -> Array:
        """Rows of the frames that are complete by now."""
        # Kaldi takes lists, which are large: a minute at a time.
        for begin in range(0, len(samples), 60 * SPEECH_RATE_HZ):
            piece = samples[begin : begin + 60 * SPEECH_RATE_HZ]
            self._mfcc.accept_waveform(SPEECH_RATE_HZ, (piece * 32768).tolist())
        return self._ready()

    def finish(self) -> Array:
        """Rows of the last frames."""
        self._mfcc.input_finished()
        return self._ready()

    def _ready(self) -> Array:
        ready = self._mfcc.num_frames_ready
        frames = [self._mfcc.get_frame(number)[1:] for number in range(self._taken, ready)]
        # Copied before `pop`: what Kaldi gives are views of memory that it then frees.
        rows = np.array(frames, np.float64).reshape(-1, 12)
        self._mfcc.pop(ready - self._taken)
        self._taken = ready
        return rows


class _PitchStream:
    """Log2 of the pitch in Hz per frame by autocorrelation over 40 ms; NaN where the sound is not voiced."""

    def __init__(self) -> None:
        # The first frame is centred on the first sample.
        self._rest: NDArray[np.float64] = np.zeros(_PITCH_WIDTH // 2)
        self._samples = 0
        self._frames = 0

    def push(self, samples: NDArray[np.float32]) -> Array:
        """Pitch of the frames that are complete by now."""
        self._samples += len(samples)
        self._rest = np.concatenate([self._rest, samples.astype(np.float64)])
        return self._take((len(self._rest) - _PITCH_WIDTH) // _PITCH_HOP + 1)

    def finish(self) -> Array:
        """Pitch of the last frames, beyond whose sound there is silence."""
        self._rest = np.concatenate([self._rest, np.zeros(_PITCH_WIDTH)])
        return self._take(self._samples // _PITCH_HOP - self._frames)

    def _take(self, count: int) -> Array:
        if count <= 0:
            return np.zeros(0)
        frames = np.lib.stride_tricks.sliding_window_view(self._rest, _PITCH_WIDTH)[::_PITCH_HOP][:count]
        pitch = _pitch(frames)
        self._frames += count
        self._rest = self._rest[count * _PITCH_HOP :]
        return pitch


def _pitch(frames: Array) -> Array:
    shortest, longest = SPEECH_RATE_HZ // _HIGHEST_HZ, SPEECH_RATE_HZ // _LOWEST_HZ
    pitch = np.full(len(frames), np.nan)
    for begin in range(0, len(frames), 4096):
        block = frames[begin : begin + 4096]
        spectrum = np.fft.rfft((block - block.mean(axis=1, keepdims=True)) * np.hanning(_PITCH_WIDTH), 2 * _PITCH_WIDTH)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : longest + 1]
        best = shortest + np.argmax(correlation[:, shortest:], axis=1)
        strength = correlation[np.arange(len(block)), best] / np.maximum(correlation[:, 0], 1e-9)
        voiced = strength > _VOICED
        pitch[begin : begin + len(block)][voiced] = np.log2(SPEECH_RATE_HZ / best[voiced])
    return pitch


def _windows(stretch: range) -> list[range]:
    parts = max(1, -(-len(stretch) // _WINDOW_FRAMES))
    edges = [stretch.start + len(stretch) * part // parts for part in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(edges) if b > a]


def _statistics(timbre: Array, pitch: Array, window: range) -> Array:
    """Mean and spread of the timbre, and the median pitch (NaN where nothing is voiced)."""
    part, heights = timbre[window.start : window.stop], pitch[window.start : window.stop]
    voiced = heights[~np.isnan(heights)]
    return np.concatenate([part.mean(axis=0), part.std(axis=0), [np.median(voiced) if voiced.size else np.nan]])


@dataclass(frozen=True)
class _Voice:
    """Gaussians of one voice."""

    mean: Array
    inverse: Array
    log_volume: float
    pitch: tuple[float, float] | None
    """Median and spread, where enough of it is voiced."""


def _voices(timbre: Array, pitch: Array, path: NDArray[np.int64]) -> list[_Voice | float]:
    """A model per voice; where a voice has too few frames for one, the log-likelihood that stands for it."""
    present = set(path[path >= 0].tolist())
    models: list[_Voice | float] = []
    for number in range(max(present) + 1):
        mine = path == number
        if mine.sum() < 2 * timbre.shape[1]:
            models.append(-1e3 if number in present else -np.inf)
            continue
        covariance = np.cov(timbre[mine].T) + np.eye(timbre.shape[1])
        heights = pitch[mine & ~np.isnan(pitch)]
        tone = (float(np.median(heights)), max(float(heights.std()), 0.1)) if heights.size > 1 else None
        volume = float(np.linalg.slogdet(covariance)[1])
        models.append(
            _Voice(timbre[mine].mean(axis=0), np.asarray(np.linalg.inv(covariance), np.float64), volume, tone)
        )
    return models


def _likelihoods(timbre: Array, pitch: Array, voices: Sequence[_Voice | float]) -> Array:
    """Log-likelihood of every frame under each voice; shape (frames, voices)."""
    columns = np.zeros((len(timbre), len(voices)))
    for number, voice in enumerate(voices):
        if isinstance(voice, float):
            columns[:, number] = voice
            continue
        offset = timbre - voice.mean
        distance = np.einsum("ij,jk,ik->i", offset, voice.inverse, offset)
        columns[:, number] = -0.5 * (distance + voice.log_volume)
        if voice.pitch is not None:
            middle, spread = voice.pitch
            score = -0.5 * ((pitch - middle) / spread) ** 2 - np.log(spread)
            columns[:, number] += np.where(np.isnan(pitch), 0.0, np.maximum(score, -8.0))
    return columns


def _likeliest(likelihood: Array) -> NDArray[np.int64]:
    """The likeliest voice per frame by Viterbi's algorithm, where every change costs `_SWITCH_COST`."""
    starts = np.arange(0, len(likelihood), _BLOCK_FRAMES)
    if not starts.size:
        return np.zeros(0, np.int64)
    blocks = np.add.reduceat(likelihood, starts)
    voices = np.arange(blocks.shape[1])
    came_from = np.zeros(blocks.shape, np.int64)
    best = blocks[0]
    for number in range(1, len(blocks)):
        leader = int(np.argmax(best))
        switch = best[leader] - _SWITCH_COST > best
        came_from[number] = np.where(switch, leader, voices)
        best = np.where(switch, best[leader] - _SWITCH_COST, best) + blocks[number]
    path = np.zeros(len(blocks), np.int64)
    path[-1] = int(np.argmax(best))
    for number in range(len(blocks) - 1, 0, -1):
        path[number - 1] = came_from[number, path[number]]
    return np.repeat(path, _BLOCK_FRAMES)[: len(likelihood)]


def _pieces(span: TimeSpan, stretch: range, path: NDArray[np.int64]) -> list[Voiced]:
    """The span, split where the path changes; its outer borders stay as they are."""
    if not stretch:
        return []
    labels = path[stretch.start : stretch.stop]
    changes = [int(place) + 1 for place in np.flatnonzero(np.diff(labels))]
    edges = [span.start_ms, *[(stretch.start + place) * FRAME_MS for place in changes], span.end_ms]
    voices = [int(labels[place]) for place in (0, *changes)]
    return [
        Voiced(TimeSpan(start_ms=a, end_ms=b), voice)
        for (a, b), voice in zip(pairwise(edges), voices, strict=True)
        if b > a
    ]


def _in_order_of_appearance(pieces: list[Voiced]) -> list[Voiced]:
    order: dict[int, int] = {}
    return [Voiced(piece.span, order.setdefault(piece.voice, len(order))) for piece in pieces]

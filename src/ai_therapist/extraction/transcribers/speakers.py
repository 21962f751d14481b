"""Who spoke when: speech is found, cut into short windows, clustered by voice, and the borders are then refined.

    speech     ████████████░░░░░███████████░░██████
    windows    [ 1 ][ 1 ][ 2 ]  [ 2 ][ 2 ]   [ 1 ]     agglomerative clustering of MFCC and pitch statistics
    refined    AAAAAAAABBBB     BBBBBBBBBBB  AAAAAA     Viterbi path over 10 ms frames, one Gaussian per voice

Two clear voices are told apart. Voices alike, more voices than `speakers`, and speech at the same time are not:
a further voice is absorbed by the nearest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ai_therapist.errors import MissingExtra
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

_REFINEMENTS = 3

_BLOCK_FRAMES = 4
"""Frames between which the path cannot change: borders to 40 ms are as fine as speech has them."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Voiced:
    """A stretch of speech of one voice, numbered from 0 in order of appearance."""

    span: TimeSpan
    voice: int


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


def tell_apart(samples: NDArray[np.float32], speech: Sequence[TimeSpan], speakers: int) -> list[Voiced]:
    """The stretches of `speech`, split where the voice changes, each with its voice.

    There are at most `speakers` voices. Raises MissingExtra without kaldi-native-fbank or scikit-learn.
    """
    if not speech:
        return []
    if speakers == 1:
        return [Voiced(span, 0) for span in speech]
    timbre, pitch = _timbre(samples), _pitch(samples)
    frames = min(len(timbre), len(pitch))
    stretches = [range(s.start_ms // FRAME_MS, min(frames, s.end_ms // FRAME_MS)) for s in speech]
    windows = [window for stretch in stretches for window in _windows(stretch)]
    if len(windows) < 2:
        return [Voiced(span, 0) for span in speech]
    labels = _cluster(np.stack([_statistics(timbre, pitch, window) for window in windows]), speakers)
    path = np.full(frames, -1)
    for window, label in zip(windows, labels, strict=True):
        path[window.start : window.stop] = label
    for _ in range(_REFINEMENTS):
        before = path.copy()
        likelihood = _likelihoods(timbre[:frames], pitch[:frames], path)
        for stretch in stretches:
            path[stretch.start : stretch.stop] = _likeliest(likelihood[stretch.start : stretch.stop])
        if np.array_equal(path, before):
            break
    return _in_order_of_appearance(
        [piece for span, stretch in zip(speech, stretches, strict=True) for piece in _pieces(span, stretch, path)]
    )


def _timbre(samples: NDArray[np.float32]) -> Array:
    """Twelve MFCCs per frame, without the one that only measures loudness."""
    try:
        import kaldi_native_fbank as knf
    except ImportError:
        raise MissingExtra("telling voices apart", "kaldi-native-fbank", "speech") from None
    options = knf.MfccOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.num_ceps = 13
    mfcc = knf.OnlineMfcc(options)
    mfcc.accept_waveform(SPEECH_RATE_HZ, (samples * 32768).tolist())
    mfcc.input_finished()
    rows = [mfcc.get_frame(number)[1:] for number in range(mfcc.num_frames_ready)]
    return np.asarray(rows, np.float64).reshape(-1, 12)


def _pitch(samples: NDArray[np.float32]) -> Array:
    """Log2 of the pitch in Hz per frame by autocorrelation over 40 ms; NaN where the sound is not voiced."""
    hop, width = SPEECH_RATE_HZ * FRAME_MS // 1000, SPEECH_RATE_HZ // 25
    padded = np.pad(samples.astype(np.float64), (width // 2, width))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop][: len(samples) // hop]
    shortest, longest = SPEECH_RATE_HZ // _HIGHEST_HZ, SPEECH_RATE_HZ // _LOWEST_HZ
    pitch = np.full(len(frames), np.nan)
    for begin in range(0, len(frames), 4096):
        block = frames[begin : begin + 4096]
        spectrum = np.fft.rfft((block - block.mean(axis=1, keepdims=True)) * np.hanning(width), 2 * width)
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


def _cluster(statistics: Array, speakers: int) -> NDArray[np.int64]:
    try:
        from sklearn.cluster import AgglomerativeClustering
    except ImportError:
        raise MissingExtra("telling voices apart", "scikit-learn", "speech") from None
    pitch = statistics[:, -1]
    known = ~np.isnan(pitch)
    statistics[~known, -1] = np.median(pitch[known]) if known.any() else 0.0
    spread = statistics.std(axis=0)
    scores = (statistics - statistics.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # Pitch is one column of 25, yet says most about who speaks.
    scores[:, -1] *= 4
    # Ward's linkage, since average linkage gives an odd window a cluster of its own.
    grouping = AgglomerativeClustering(n_clusters=min(speakers, len(scores)), linkage="ward")
    return cast(NDArray[np.int64], grouping.fit_predict(scores))


def _likelihoods(timbre: Array, pitch: Array, path: NDArray[np.int64]) -> Array:
    """Log-likelihood of every frame under each voice's Gaussians of timbre and of pitch; shape (frames, voices)."""
    voices = sorted(set(path[path >= 0].tolist()))
    columns = np.zeros((len(path), max(voices) + 1))
    for voice in range(max(voices) + 1):
        mine = path == voice
        if mine.sum() < 2 * timbre.shape[1]:
            columns[:, voice] = -np.inf if voice not in voices else -1e3
            continue
        mean = timbre[mine].mean(axis=0)
        covariance = np.cov(timbre[mine].T) + np.eye(timbre.shape[1])
        offset = timbre - mean
        distance = np.einsum("ij,jk,ik->i", offset, np.linalg.inv(covariance), offset)
        columns[:, voice] = -0.5 * (distance + np.linalg.slogdet(covariance)[1])
        heights = pitch[mine & ~np.isnan(pitch)]
        if heights.size > 1:
            spread = max(float(heights.std()), 0.1)
            score = -0.5 * ((pitch - np.median(heights)) / spread) ** 2 - np.log(spread)
            columns[:, voice] += np.where(np.isnan(pitch), 0.0, np.maximum(score, -8.0))
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

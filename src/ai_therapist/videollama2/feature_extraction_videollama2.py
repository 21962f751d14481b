"""Sound to the log-mel filter banks BEATs hears, through `transformers.audio_utils`."""

# mypy: allow-untyped-calls

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature
from transformers.utils import logging

from .media_videollama2 import read_sound

logger = logging.get_logger(__name__)

AudioMode = Literal["whole", "windows"]
AudioPadding = Literal["longest", "max_length"]
Samples = NDArray[np.float32]

_FRAME = 400
_HOP = 160
_WINDOWS = 8
_WINDOW_S = 2


class VideoLLaMA2FeatureExtractor(SequenceFeatureExtractor):
    """16 kHz sound to Kaldi-style filter banks; deterministic, no random crop.

    Args:
        sampling_rate: of the samples, in Hz.
        num_mel_bins: mel bins per frame of 10 ms.
        max_seconds: longest sound heard; what follows is left out with a warning.
        audio_mode: "whole" hears a sound from its start; "windows" is the original's way with the track of a
            video, 8 windows of 2 s spread over it and joined, which chops words and never hears the end.
        audio_padding: "longest" keeps the true length, rounded up to whole patches of `patch_size` frames;
            "max_length" fills every sound to `max_seconds` with silence, as the original does.
        patch_size: frames of one BEATs patch.

    Raises:
        ValueError: unknown mode or padding.
    """

    model_input_names = ["input_features", "input_features_mask"]  # noqa: RUF012 (transformers reads plain lists)

    def __init__(
        self,
        sampling_rate: int = 16_000,
        num_mel_bins: int = 128,
        max_seconds: int = 30,
        audio_mode: AudioMode = "whole",
        audio_padding: AudioPadding = "max_length",
        patch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        for fixed in ("feature_size", "padding_value"):
            kwargs.pop(fixed, None)
        super().__init__(feature_size=num_mel_bins, sampling_rate=sampling_rate, padding_value=0.0, **kwargs)
        self.num_mel_bins = num_mel_bins
        self.max_seconds = max_seconds
        self.audio_mode = audio_mode
        self.audio_padding = audio_padding
        self.patch_size = patch_size
        _check_choice("audio_mode", audio_mode, ("whole", "windows"))
        _check_choice("audio_padding", audio_padding, ("longest", "max_length"))

    @property
    def max_samples(self) -> int:
        """Samples of the longest sound heard."""
        return self.max_seconds * self.sampling_rate

    def __call__(
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        audio_mode: AudioMode | None = None,
        audio_padding: AudioPadding | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """`input_features` (n, F, mels) float32 and `input_features_mask` (n, F) of sounds of samples in [-1, 1).

        Frames of 25 ms every 10 ms; F is that of the longest sound, shorter rows are zero and masked behind
        their end. A sound holds at least one patch of frames.

        Raises:
            ValueError: another sampling rate, an empty or a many-channel sound.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(f"sound at {sampling_rate} Hz; resample it to {self.sampling_rate} Hz first")
        mode, padding = audio_mode or self.audio_mode, audio_padding or self.audio_padding
        _check_choice("audio_mode", mode, ("whole", "windows"))
        _check_choice("audio_padding", padding, ("longest", "max_length"))
        sounds = raw_speech if isinstance(raw_speech, (list, tuple)) else [raw_speech]
        banks = [self.filter_bank(self._prepared(_mono(sound), mode, padding)) for sound in sounds]
        longest = max(len(bank) for bank in banks)
        features = np.zeros((len(banks), longest, self.num_mel_bins), dtype=np.float32)
        mask = np.zeros((len(banks), longest), dtype=np.int64)
        for row, bank in enumerate(banks):
            features[row, : len(bank)] = bank
            mask[row, : len(bank)] = 1
        data = {"input_features": torch.from_numpy(features), "input_features_mask": torch.from_numpy(mask)}
        return BatchFeature(data, tensor_type=return_tensors)

    def fetch_audio(self, audio_url_or_urls: Any, sampling_rate: int | None = None) -> Any:
        """Samples for every path in a nested list; arrays stay as they are.

        Raises:
            ValueError: a path without readable sound.
        """
        if isinstance(audio_url_or_urls, (list, tuple)):
            return [self.fetch_audio(entry) for entry in audio_url_or_urls]
        if isinstance(audio_url_or_urls, str):
            return self.load(audio_url_or_urls)
        return audio_url_or_urls

    def load(self, path: str) -> Samples:
        """Samples of an audio file: first channel, resampled to `sampling_rate`.

        Raises:
            ValueError: the file has no readable sound.
        """
        samples = read_sound(path, self.sampling_rate, mix=False)
        if samples is None:
            raise ValueError(f"{path!r} has no audio stream that holds sound; leave it out or give it as video")
        return samples

    def filter_bank(self, samples: Samples) -> Samples:
        """Kaldi filter bank (frames, mels) of samples in [-1, 1), frames = (n − 400) // 160 + 1.

        25 ms Povey windows every 10 ms, DC removed, pre-emphasis 0.97, 512-point power spectrum, 20 Hz to
        Nyquist on the Kaldi mel scale, natural log with floor 1.19e-7; no dither, no centring (snip edges).
        """
        bank = spectrogram(
            samples.astype(np.float64) * 2**15,
            window_function(_FRAME, "povey", periodic=False),
            frame_length=_FRAME,
            hop_length=_HOP,
            fft_length=512,
            power=2.0,
            center=False,
            preemphasis=0.97,
            mel_filters=_mel_filters(self.num_mel_bins, self.sampling_rate),
            log_mel="log",
            mel_floor=1.192092955078125e-07,
            remove_dc_offset=True,
        )
        return np.ascontiguousarray(bank.T, dtype=np.float32)

    def _prepared(self, samples: Samples, mode: AudioMode, padding: AudioPadding) -> Samples:
        """`samples` cut to what is heard and filled with silence to whole patches or to `max_seconds`."""
        if mode == "windows":
            ranges = window_ranges(len(samples), self.sampling_rate)
            samples = np.concatenate([samples[start:end] for start, end in ranges])
        if len(samples) > self.max_samples:
            logger.warning(f"a sound of {len(samples) / self.sampling_rate:.1f} s is cut to {self.max_seconds} s")
            samples = samples[: self.max_samples]
        samples = samples[: self._heard_samples(len(samples), padding)]
        return np.pad(samples, (0, self._heard_samples(len(samples), padding) - len(samples)))

    def num_frames(self, samples: int, audio_padding: AudioPadding | None = None) -> int:
        """Frames that `input_features_mask` marks for a sound of `samples` samples heard whole."""
        return self._frames(self._heard_samples(samples, audio_padding or self.audio_padding))

    def _heard_samples(self, samples: int, padding: AudioPadding) -> int:
        if padding == "max_length":
            return self.max_samples
        patches = -(-self._frames(samples) // self.patch_size)
        most = self._frames(self.max_samples) // self.patch_size
        return _FRAME + _HOP * (self.patch_size * max(min(patches, most), 1) - 1)

    @staticmethod
    def _frames(samples: int) -> int:
        return max((samples - _FRAME) // _HOP + 1, 0)


@cache
def _mel_filters(mel_bins: int, rate_hz: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        # at 128 bins the narrowest filters fall between two bins of the spectrum, in Kaldi as here
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        filters: NDArray[np.float64] = mel_filter_bank(
            num_frequency_bins=257,
            num_mel_filters=mel_bins,
            min_frequency=20,
            max_frequency=rate_hz / 2,
            sampling_rate=rate_hz,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return filters


def window_ranges(samples: int, rate_hz: int) -> Sequence[tuple[int, int]]:
    """(start, end) of the original's 8 windows of 2 s, starts spread from 0 to the last 2 s but one step.

        start_i = i · (n − 2 s) // 8; a track of 2 s or less is the same window 8 times

    Ends may lie beyond a shorter track: slicing stops there.
    """
    width = _WINDOW_S * rate_hz
    room = max(samples - width, 0)
    return [(index * room // _WINDOWS, index * room // _WINDOWS + width) for index in range(_WINDOWS)]


def _mono(sound: Any) -> Samples:
    samples = np.asarray(sound, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"a sound of shape {samples.shape} cannot be heard; give one channel (samples,)")
    return samples


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: use one of {', '.join(allowed)}")

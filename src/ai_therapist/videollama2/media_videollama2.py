"""Decoding of clips and sounds with PyAV, which brings its own FFmpeg."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Choose = Callable[[int, float], list[int]]
"""(number of frames, frames per second) → indices of the frames wanted, in order, repeats allowed."""

_FOLDER_FPS = 3.0
_GIF_FPS = 25.0
_PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
_INT16_SCALE = 32768.0


class Window(NamedTuple):
    """Seconds of a recording to use, from `start_s` to `end_s`; either may be None for the recording's own."""

    start_s: float | None = None
    end_s: float | None = None

    def ordered(self) -> "Window":
        """Without negative times, swapped where reversed, one second long where empty (as the original does)."""
        start = max(self.start_s or 0.0, 0.0)
        if self.end_s is None:
            return Window(start, None)
        end = max(self.end_s, 0.0)
        if start > end:
            start, end = end, start
        return Window(start, end + 1.0 if start == end else end)

    def frames(self, count: int, fps: float) -> tuple[int, int]:
        """First and last frame index inside, of `count` frames at `fps`; both included."""
        window = self.ordered()
        first = 0 if self.start_s is None else max(int((window.start_s or 0.0) * fps) - 1, 0)
        last = count - 1 if window.end_s is None else min(int(window.end_s * fps) - 1, count - 1)
        return min(first, count - 1), max(last, min(first, count - 1))


def read_frames(path: str, choose: Choose) -> NDArray[np.uint8]:
    """The chosen frames (T, H, W, 3), RGB, of a video file, a gif or a folder of pictures in order of name.

    Raises:
        ValueError: nothing there, no picture or video stream in it, or it cannot be decoded.
    """
    if Path(path).is_dir():
        return _read_folder(path, choose)
    count, fps = _count_frames(path)
    indices = choose(count, fps)
    frames, decoded = _decode_frames(path, frozenset(indices))
    if any(index not in frames for index in indices):
        # the container promised more frames than decode: choose again among those that do
        indices = choose(decoded, fps) if decoded else []
        frames, _ = _decode_frames(path, frozenset(indices))
    if not indices:
        raise ValueError(f"{path!r} holds no frame that decodes; check the file with ffprobe")
    return np.stack([frames[index] for index in indices])


def read_sound(path: str, rate_hz: int, *, mix: bool) -> NDArray[np.float32] | None:
    """Samples in [-1, 1) at `rate_hz` of the first audio stream, or None where the file has none, or an empty one.

    `mix` averages the channels (as the original does for the track of a video); otherwise the first is taken
    (as it does for an audio file).

    Raises:
        ValueError: the file cannot be opened or decoded.
    """
    try:
        with av.open(path) as container:
            if not container.streams.audio:
                return None
            resampler = av.AudioResampler(format="s16p", layout="mono" if mix else None, rate=rate_hz)
            parts: list[NDArray[np.int16]] = []
            for frame in container.decode(container.streams.audio[0]):
                parts.extend(_first_channel(resampler.resample(frame)))
            if parts:
                parts.extend(_first_channel(resampler.resample(None)))
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path!r} is not readable sound ({type(error).__name__}); give a media file") from error
    if not parts:
        return None
    return np.concatenate(parts).astype(np.float32) / np.float32(_INT16_SCALE)


def _first_channel(frames: Iterable[av.AudioFrame]) -> list[NDArray[np.int16]]:
    return [frame.to_ndarray()[0].astype(np.int16) for frame in frames]


def _read_folder(path: str, choose: Choose) -> NDArray[np.uint8]:
    files = sorted(file for file in Path(path).iterdir() if file.suffix.lower() in _PICTURE_SUFFIXES)
    if not files:
        raise ValueError(f"{path!r} is a folder without pictures ({', '.join(sorted(_PICTURE_SUFFIXES))})")
    pictures: list[NDArray[np.uint8]] = []
    for index in choose(len(files), _FOLDER_FPS):
        with Image.open(files[index]) as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
    if len({picture.shape for picture in pictures}) > 1:
        raise ValueError(f"{path!r} holds pictures of different sizes; one clip needs one size")
    return np.stack(pictures)


def _count_frames(path: str) -> tuple[int, float]:
    """Number of packets of the first video stream, and its average frames per second."""
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise ValueError(f"{path!r} has no video stream; give it as audio instead")
            stream = container.streams.video[0]
            fps = _GIF_FPS if path.lower().endswith(".gif") else float(stream.average_rate or _GIF_FPS)
            return sum(1 for packet in container.demux(stream) if packet.size), fps
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path!r} is not a readable video ({type(error).__name__}); give a media file") from error


def _decode_frames(path: str, wanted: frozenset[int]) -> tuple[dict[int, NDArray[np.uint8]], int]:
    """The wanted frames by index, and how many frames were decoded until the last of them."""
    frames: dict[int, NDArray[np.uint8]] = {}
    decoded = 0
    last = max(wanted, default=-1)
    try:
        with av.open(path) as container:
            for index, frame in enumerate(container.decode(container.streams.video[0])):
                if index > last:
                    break
                decoded = index + 1
                if index in wanted:
                    frames[index] = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except av.error.FFmpegError as error:
        raise ValueError(f"{path!r} breaks off at frame {decoded}; repair or leave it out") from error
    return frames, decoded

"""Makes faces and voices harder to know again, before anything is encoded: areas in squares, a voice at another pitch.

Neither makes a recording anonymous: a person is known by gait, clothes, words and way of speaking, and a shift of pitch
can be turned back. Where faces are is given by hand, or by a finder of the caller's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of width and height, 0 to 1."""

FaceFinder = Callable[[VideoFrame], Sequence[Box]]
"""Says where to hide something in a frame, which is yuv420p at its final size."""


@dataclass(frozen=True)
class Anonymiser:
    """What is done to every picture and to all sound."""

    boxes: tuple[Box, ...] = ()
    """Areas that are shown as squares in every picture."""
    find: FaceFinder | None = None
    """Gives further areas, picture by picture."""
    squares: int = 6
    """Squares along each side of an area."""
    semitones: float = 0.0
    """How much higher (or, below 0, lower) voices sound, formants included; the length stays."""

    def picture(self, frame: VideoFrame) -> VideoFrame:
        """The frame with its areas in squares of their mean colour."""
        boxes = [*self.boxes, *(self.find(frame) if self.find is not None else ())]
        if not boxes:
            return frame
        width, height = frame.width, frame.height
        data = cast(NDArray[np.uint8], frame.to_ndarray()).reshape(-1)
        half = (height // 2, width // 2)
        size, part = width * height, half[0] * half[1]
        planes = [data[:size].reshape(height, width)]
        planes += [data[size + at * part : size + (at + 1) * part].reshape(half) for at in (0, 1)]
        for plane in planes:
            for box in boxes:
                _square(plane, box, self.squares)
        return VideoFrame.from_ndarray(data.reshape(height * 3 // 2, width), "yuv420p")

    def voice(self, rate_hz: int, layout: str) -> VoiceShift | None:
        """What changes the sound of one recording; None where it stays."""
        return VoiceShift(self.semitones, rate_hz, layout) if self.semitones else None


def _square(plane: NDArray[np.uint8], box: Box, squares: int) -> None:
    height, width = plane.shape
    left, top, right, bottom = box
    columns = np.unique(np.linspace(int(left * width), int(np.ceil(right * width)), squares + 1).astype(int))
    rows = np.unique(np.linspace(int(top * height), int(np.ceil(bottom * height)), squares + 1).astype(int))
    for above, below in itertools.pairwise(rows):
        for before, behind in itertools.pairwise(columns):
            area = plane[above:below, before:behind]
            area[:] = np.uint8(area.mean())


class VoiceShift:
    """Plays sound faster or slower and stretches it back to its length (FFmpeg's asetrate and atempo)."""

    def __init__(self, semitones: float, rate_hz: int, layout: str) -> None:
        ratio = 2 ** (semitones / 12)
        self._rate_hz, self._layout = rate_hz, layout
        self._graph = Graph()
        nodes = [
            self._graph.add_abuffer(sample_rate=rate_hz, format="fltp", layout=layout, time_base=Fraction(1, rate_hz)),
            self._graph.add("asetrate", str(round(rate_hz * ratio))),
            self._graph.add("aresample", str(rate_hz)),
            self._graph.add("atempo", f"{1 / ratio:.6f}"),
            self._graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}"),
            self._graph.add("abuffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()
        self._taken = self._given = 0

    def push(self, block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Take (channels, samples); gives what is ready."""
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", self._layout)
        frame.sample_rate, frame.time_base, frame.pts = self._rate_hz, Fraction(1, self._rate_hz), self._taken
        self._taken += block.shape[1]
        self._graph.push(frame)
        yield from self._ready()

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """The rest: in all as many samples as were taken."""
        self._graph.push(None)
        yield from self._ready()
        if self._given < self._taken:
            channels = 2 if self._layout == "stereo" else 1
            yield np.zeros((channels, self._taken - self._given), np.float32)

    def _ready(self) -> Iterator[NDArray[np.float32]]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            samples = cast(NDArray[np.float32], cast(AudioFrame, frame).to_ndarray())
            samples = samples[:, : self._taken - self._given]
            self._given += samples.shape[1]
            yield samples

"""Frames and sound of a clip in the forms that a server takes: JPEG and WAV."""

from __future__ import annotations

import io
import wave
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from ai_therapist.media.sound import SPEECH_RATE_HZ

_LONGEST_SIDE_PX = 768
_ONCE = Fraction(1, 25)


def encode_jpeg(picture: NDArray[np.uint8], longest_side_px: int = _LONGEST_SIDE_PX) -> bytes:
    """A picture of shape (height, width, 3), RGB, as a JPEG file, made smaller where a side is longer than allowed."""
    height, width = picture.shape[:2]
    scale = min(1.0, longest_side_px / max(height, width))
    # The encoder halves the colours, so sides must be even.
    size = [max(2, round(side * scale) // 2 * 2) for side in (width, height)]
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
    encoder = av.VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuvj420p"
    encoder.options = {"qmin": "2", "qmax": "5"}
    encoder.time_base = frame.time_base = _ONCE
    frame.pts = 0
    scaled = frame.reformat(width=size[0], height=size[1], format="yuvj420p")
    return b"".join(bytes(packet) for packet in (*encoder.encode(scaled), *encoder.encode(None)))


def encode_wav(samples: NDArray[np.float32], rate_hz: int = SPEECH_RATE_HZ) -> bytes:
    """Mono samples in -1 to 1 as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
    return buffer.getvalue()

"""What a model that sees and hears is given of a clip: a few frames and its sound, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai_therapist.media.frames import load_frames, load_sound


class ClipInput(NamedTuple):
    """Frames (n, height, width, 3) in RGB, and mono samples at 16 kHz in -1 to 1, or None where there is no sound."""

    frames: NDArray[np.uint8]
    sound: NDArray[np.float32] | None


def read_clip(path: Path, num_frames: int) -> ClipInput:
    """Decode `num_frames` frames, at the middles of equal parts of the clip, and its whole sound.

    Raises UnreadableMedia where the file is no clip or breaks off.
    """
    sound = load_sound(path)
    return ClipInput(load_frames(path, num_frames), sound if sound.size else None)

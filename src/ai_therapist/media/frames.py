"""A clip as a model sees and hears it: a few RGB frames and mono sound."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.guarded import open_media, tracks_of
from ai_therapist.media.sound import SPEECH_RATE_HZ, read_sound


def load_frames(path: Path, count: int) -> NDArray[np.uint8]:
    """`count` frames at the middles of equal parts of the clip, shape (count, height, width, 3), RGB.

    A clip of fewer frames repeats some. Raises UnreadableMedia where no frame can be decoded, and ValueError for a
    count below 1.
    """
    if count < 1:
        raise ValueError("count must be at least 1")
    with open_media(path) as container:
        video = tracks_of(container).video
        if video is None:
            raise UnreadableMedia("the clip has no picture")
        total = sum(1 for packet in container.demux(video) if packet.size)
    wanted = [(2 * place + 1) * total // (2 * count) for place in range(count)]
    pictures: dict[int, NDArray[np.uint8]] = {}
    with open_media(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                pictures[number] = cast(NDArray[np.uint8], frame.to_ndarray(format="rgb24"))
    if not pictures:
        raise UnreadableMedia("no frame of the clip can be decoded")
    # A clip that decodes to fewer frames than it has packets shows its last decoded one.
    last = max(pictures)
    return np.stack([pictures.get(number, pictures[last]) for number in wanted])


def load_sound(path: Path, rate_hz: int = SPEECH_RATE_HZ) -> NDArray[np.float32]:
    """Mono samples of a clip in -1 .. 1 from its first frame on; empty where it has no sound.

    Raises UnreadableMedia for sound that cannot be decoded.
    """
    blocks = list(read_sound(path, rate_hz))
    if not blocks:
        return np.zeros(0, np.float32)
    return np.concatenate(blocks)

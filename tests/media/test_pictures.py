"""Frames and sound in the forms that a server takes."""

import io
import wave

import av
import numpy as np
import pytest

from ai_therapist.media.pictures import encode_jpeg, encode_wav


@pytest.mark.parametrize(("shape", "size"), [((65, 97), (96, 64)), ((8, 8), (8, 8)), ((1080, 1920), (768, 432))])
def test_a_picture_becomes_a_small_even_jpeg_of_the_same_colour(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    picture[..., 0] = 200
    data = encode_jpeg(picture)
    assert data.startswith(b"\xff\xd8")
    with av.open(io.BytesIO(data), "r") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == size
    assert np.abs(frame.to_ndarray(format="rgb24")[4, 4].astype(int) - [200, 0, 0]).max() <= 8


def test_sound_becomes_16_bits_and_what_is_too_loud_is_cut() -> None:
    data = encode_wav(np.array([0.0, 0.5, 2.0, -2.0], np.float32))
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        samples = np.frombuffer(file.readframes(4), "<i2")
    assert samples.tolist() == [0, 16_383, 32_767, -32_767]

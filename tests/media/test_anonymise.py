"""Areas become squares, voices another pitch of the same length; what is not asked for stays as it was."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ai_therapist.media.anonymise import Anonymiser, VoiceShift
from ai_therapist.media.probe import probe
from ai_therapist.media.standardise import standardise
from ai_therapist.testing import RecordingSpec, make_digest, make_recording

RATE_HZ = 48_000


def pitch_hz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE_HZ / len(samples))


@pytest.mark.parametrize("semitones", [-5.0, -2.0, 3.0, 7.0])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_a_voice_is_shifted_and_stays_in_time(semitones: float, layout: str) -> None:
    times = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = np.where(times >= 1, np.sin(2 * np.pi * 300 * times), 0).astype(np.float32)
    sound = np.stack([tone] * (2 if layout == "stereo" else 1))
    shift = VoiceShift(semitones, RATE_HZ, layout)
    pieces = [piece for start in range(0, len(tone), 4096) for piece in shift.push(sound[:, start : start + 4096])]
    changed = np.concatenate([*pieces, *shift.finish()], axis=1)
    assert changed.shape == sound.shape
    assert pitch_hz(changed[0, -RATE_HZ // 2 :]) == pytest.approx(300 * 2 ** (semitones / 12), rel=0.02)
    onset_s = float(np.argmax(np.abs(changed[0]) > 0.2)) / RATE_HZ
    assert abs(onset_s - 1) < 0.06


def test_areas_are_squares_and_the_rest_stays() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (96, 80), np.uint8)
    frame = av.VideoFrame.from_ndarray(np.tile(image, (1, 1)), "yuv420p")
    changed = Anonymiser(boxes=((0.25, 0.25, 0.75, 0.75),), squares=2).picture(frame).to_ndarray()
    luma, before = changed[:64], frame.to_ndarray()[:64]
    assert len(np.unique(luma[16:48, 20:60])) <= 4
    assert np.array_equal(luma[:16], before[:16])
    assert np.array_equal(luma[:, :20], before[:, :20])
    found = Anonymiser(find=lambda _: [(0.0, 0.0, 1.0, 1.0)], squares=1).picture(frame).to_ndarray()
    assert len(np.unique(found[:64])) == 1
    assert Anonymiser().picture(frame) is frame


def test_a_recording_is_changed_before_it_is_encoded(tmp_path: Path) -> None:
    source = make_recording(tmp_path / "source.mp4", RecordingSpec(tone_hz=440.0))
    media = probe(source, "recording", make_digest("x"))
    plain, hidden, again = tmp_path / "plain.mp4", tmp_path / "hidden.mp4", tmp_path / "again.mp4"
    anonymiser = Anonymiser(boxes=((0.0, 0.0, 1.0, 1.0),), squares=1, semitones=5)
    standardise(source, plain, media, [])
    for target in (hidden, again):
        standardise(source, target, media, [], anonymiser)
    assert hidden.read_bytes() == again.read_bytes()
    seen = [probe(path, "video", make_digest("y")) for path in (plain, hidden)]
    assert seen[0].duration_ms == seen[1].duration_ms
    with av.open(str(hidden)) as reader:
        pictures = [frame.to_ndarray(format="gray") for frame in reader.decode(video=0)]
    assert len(pictures) == 32
    assert max(int(np.ptp(picture)) for picture in pictures) <= 6
    with av.open(str(hidden)) as reader:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in reader.decode(audio=0)])
    assert pitch_hz(sound[RATE_HZ // 2 : RATE_HZ]) == pytest.approx(440 * 2 ** (5 / 12), rel=0.02)

"""Frames, pictures and sound become the numbers the original makes of them."""

import json
import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ai_therapist.videollama2 import (
    VideoLLaMA2FeatureExtractor,
    VideoLLaMA2ImageProcessor,
    VideoLLaMA2VideoProcessor,
    feature_extraction_videollama2,
)
from ai_therapist.videollama2.feature_extraction_videollama2 import window_ranges
from ai_therapist.videollama2.media_videollama2 import Window, read_frames, read_sound
from ai_therapist.videollama2.video_processing_videollama2 import per_second_indices, uniform_indices
from tests.videollama2.conftest import FOLDERS, Golden


def write_clip(path: Path, *, frames: int = 24, fps: int = 8, seconds_of_sound: float | None = 3.0) -> Path:
    """A clip whose n-th frame is a flat grey of value 10·n, with a 440 Hz tone as track."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264rgb", rate=fps, options={"crf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "rgb24"
        audio: Any = None
        if seconds_of_sound is not None:
            audio = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for index in range(frames):
            picture = np.full((48, 64, 3), 10 * index, dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if seconds_of_sound:
            time = np.arange(int(48_000 * seconds_of_sound)) / 48_000
            tone = (8192 * np.sin(2 * math.pi * 440 * time)).astype(np.int16)
            stereo = np.stack([tone, np.zeros_like(tone)]).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(stereo), format="s16", layout="stereo")
            frame.sample_rate = 48_000
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A three-second clip with sound."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mkv")


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_frame_indices_equal_the_original(golden_folder: Path, name: str) -> None:
    table = json.loads((golden_folder / FOLDERS[name] / "frame_sampling.json").read_text(encoding="utf-8"))
    assert len(table) == 52
    for key, expected in table.items():
        mode, count, wanted = key.split(":")
        if mode == "uniform":
            assert uniform_indices(int(count), int(wanted)) == expected, key
        else:
            assert per_second_indices(int(count), float(wanted)) == expected, key


def test_sampling_one_frame_per_second_is_capped() -> None:
    assert len(per_second_indices(100 * 25, 25.0)) == 32
    with pytest.raises(ValueError, match="both must be 1 or more"):
        per_second_indices(0, 25.0)
    with pytest.raises(ValueError, match="cannot take 8 frames of 0"):
        uniform_indices(0, 8)


@pytest.mark.parametrize("aspect_ratio", ["none", "pad"])
def test_pixel_values_are_bit_identical(golden: Golden, aspect_ratio: Any) -> None:
    processor = golden.processor
    clip_values = processor.video_processor(golden.inputs["frames_landscape_u8"], aspect_ratio=aspect_ratio)
    stored = golden.inputs[f"pixel_values.landscape.{aspect_ratio}"]
    assert torch.equal(clip_values["pixel_values_videos"][0], stored)
    picture = Image.fromarray(golden.inputs["image_u8"].numpy())
    values = processor.image_processor(picture, aspect_ratio=aspect_ratio)["pixel_values"]
    assert torch.equal(values, golden.inputs[f"image_pixel_values.{aspect_ratio}"])


def test_few_frames_repeat_instead_of_turning_black(golden: Golden) -> None:
    frames = golden.inputs["frames_portrait_u8"].numpy()
    values = golden.processor.video_processor(list(frames))["pixel_values_videos"][0]
    stored = golden.inputs["pixel_values.portrait.pad"]
    indices = uniform_indices(5, 16)
    assert values.shape == stored.shape
    for position, index in enumerate(indices):
        assert torch.equal(values[position], stored[index]), "the first five stored frames are the real ones"


def test_fbank_equals_kaldi_within_bounds(golden_av: Golden) -> None:
    extractor = VideoLLaMA2FeatureExtractor()
    speech, track = golden_av.sound("speech_5s_16k_mono.wav"), golden_av.sound("track_20s_16k_mono.wav")
    unpadded = golden_av.inputs["speech_5s.fbank_f32_unpadded"]
    assert np.abs(extractor.filter_bank(speech) - unpadded.numpy()).max() <= 5e-4
    for sound, mode, stored in (
        (speech, "whole", "audio_file.fbank_bf16"),
        (track, "windows", "audio_from_video.fbank_bf16"),
    ):
        bank = extractor(sound, audio_mode=mode)["input_features"].bfloat16()  # type: ignore[arg-type]
        assert bank.shape == (1, 2998, 128)
        assert int((bank != golden_av.inputs[stored]).sum()) <= 20


def test_the_original_windows(golden_av: Golden) -> None:
    table = golden_av.json("audio_clip_sample_ranges.json")
    for seconds, expected in table.items():
        assert [list(pair) for pair in window_ranges(int(float(seconds) * 16_000), 16_000)] == expected, seconds


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(0.001, 16), (0.03, 16), (1.0, 112), (5.3, 528), (29.99, 2992), (30.0, 2992), (47.0, 2992)],
)
def test_trimmed_sound_keeps_its_length_in_whole_patches(seconds: float, frames: int) -> None:
    extractor = VideoLLaMA2FeatureExtractor(audio_padding="longest")
    output = extractor(np.ones(int(seconds * 16_000), dtype=np.float32))
    assert output["input_features"].shape == (1, frames, 128)
    assert int(output["input_features_mask"].sum()) == frames
    assert extractor.num_frames(min(int(seconds * 16_000), 480_000)) == frames


def test_sound_beyond_thirty_seconds_is_cut_from_the_end_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(feature_extraction_videollama2.logger, "warning", said.append)
    long = np.random.default_rng(0).normal(0, 0.1, 31 * 16_000).astype(np.float32)
    extractor = VideoLLaMA2FeatureExtractor()
    heard, first = (extractor(sound)["input_features"] for sound in (long, long[: 30 * 16_000]))
    assert torch.equal(heard, first)
    assert said == ["a sound of 31.0 s is cut to 30 s"]


def test_a_batch_of_sounds_is_masked_and_deterministic() -> None:
    extractor = VideoLLaMA2FeatureExtractor(audio_padding="longest")
    rng = np.random.default_rng(0)
    short, long = (rng.normal(0, 0.1, size).astype(np.float32) for size in (8_000, 40_000))
    batch = extractor([short, long], sampling_rate=16_000)
    again = extractor([short, long], sampling_rate=16_000)
    assert torch.equal(batch["input_features"], again["input_features"])
    assert batch["input_features_mask"].sum(1).tolist() == [48, 256]
    assert torch.equal(batch["input_features"][0, :48], extractor(short)["input_features"][0])
    assert not batch["input_features"][0, 48:].any()


@pytest.mark.parametrize(
    ("sound", "settings", "words"),
    [
        (np.zeros((2, 100)), {}, "give one channel"),
        (np.zeros(0), {}, "give one channel"),
        (np.zeros(100), {"sampling_rate": 44_100}, "resample it to 16000 Hz"),
        (np.zeros(100), {"audio_mode": "random"}, "audio_mode='random'"),
        (np.zeros(100), {"audio_padding": "shortest"}, "audio_padding='shortest'"),
    ],
)
def test_bad_sound_is_refused(sound: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VideoLLaMA2FeatureExtractor()(sound, **settings)


def test_video_files_are_sampled_as_the_original_does(clip: Path) -> None:
    frames = VideoLLaMA2VideoProcessor(num_frames=8).load(str(clip))
    assert frames.shape == (8, 48, 64, 3)
    assert frames[:, 0, 0, 0].tolist() == [10 * index for index in uniform_indices(24, 8)]
    windowed = VideoLLaMA2VideoProcessor(num_frames=2).load(str(clip), Window(1.0, 2.0))
    first, last = Window(1.0, 2.0).frames(24, 8.0)
    assert (first, last) == (7, 15)
    assert windowed[:, 0, 0, 0].tolist() == [10 * (first + index) for index in uniform_indices(9, 2)]
    assert len(VideoLLaMA2VideoProcessor(num_frames=None).load(str(clip))) == 3


@pytest.mark.parametrize(
    ("window", "ordered"),
    [
        (Window(-2.0, 3.0), Window(0.0, 3.0)),
        (Window(4.0, 1.0), Window(1.0, 4.0)),
        (Window(2.0, 2.0), Window(2.0, 3.0)),
        (Window(2.0, None), Window(2.0, None)),
        (Window(), Window(0.0, None)),
    ],
)
def test_windows_are_put_in_order(window: Window, ordered: Window) -> None:
    assert window.ordered() == ordered


def test_a_folder_of_pictures_is_a_clip(tmp_path: Path) -> None:
    for index in (2, 0, 1):
        Image.new("RGB", (8, 6), (50 * index, 0, 0)).save(tmp_path / f"{index}.png")
    frames = VideoLLaMA2VideoProcessor(num_frames=3).load(str(tmp_path))
    assert frames[:, 0, 0, 0].tolist() == [0, 50, 100]
    Image.new("RGB", (4, 4)).save(tmp_path / "3.png")
    with pytest.raises(ValueError, match="different sizes"):
        VideoLLaMA2VideoProcessor(num_frames=4).load(str(tmp_path))


def test_a_clip_that_holds_fewer_frames_than_promised_is_sampled_again(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_therapist.videollama2 import media_videollama2

    monkeypatch.setattr(media_videollama2, "_count_frames", lambda path: (48, 8.0))
    frames = read_frames(str(clip), lambda count, fps: uniform_indices(count, 4))
    assert frames[:, 0, 0, 0].tolist() == [10 * index for index in uniform_indices(24, 4)]


def test_tracks_are_mixed_and_files_give_their_first_channel(clip: Path) -> None:
    mixed, first = read_sound(str(clip), 16_000, mix=True), read_sound(str(clip), 16_000, mix=False)
    assert mixed is not None
    assert first is not None
    assert len(mixed) == pytest.approx(48_000, abs=50)
    assert np.abs(first).max() == pytest.approx(0.25, abs=0.01)
    assert np.abs(mixed).max() == pytest.approx(0.125, abs=0.06), "the second channel is silent"


def test_unreadable_media_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"broken\.mp4' is not a readable video"):
        VideoLLaMA2VideoProcessor().load(str(broken))
    with pytest.raises(ValueError, match=r"broken\.mp4' is not readable sound"):
        read_sound(str(broken), 16_000, mix=True)
    silent = write_clip(tmp_path / "silent.mkv", frames=4, seconds_of_sound=None)
    assert read_sound(str(silent), 16_000, mix=True) is None
    with pytest.raises(ValueError, match="has no audio stream"):
        VideoLLaMA2FeatureExtractor().load(str(silent))
    empty_track = write_clip(tmp_path / "empty.mkv", frames=4, seconds_of_sound=0.0)
    assert read_sound(str(empty_track), 16_000, mix=True) is None
    unseen = write_clip(tmp_path / "unseen.mkv", frames=0)
    with pytest.raises(ValueError, match=r"unseen\.mkv' "):
        VideoLLaMA2VideoProcessor().load(str(unseen))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="folder without pictures"):
        VideoLLaMA2VideoProcessor().load(str(tmp_path / "empty"))


def test_bad_pictures_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="give \\(H, W, 3\\) uint8 RGB"):
        VideoLLaMA2ImageProcessor()(np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match="no picture given"):
        VideoLLaMA2ImageProcessor()([])
    with pytest.raises(ValueError, match="use 'clip' or 'siglip'"):
        VideoLLaMA2ImageProcessor(tower="dino")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="use 'pad' or 'none'"):
        VideoLLaMA2ImageProcessor(aspect_ratio="crop")  # type: ignore[arg-type]
    short, long = np.zeros((2, 4, 4, 3), dtype=np.uint8), np.zeros((3, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"one number of frames, got \[2, 3\]"):
        VideoLLaMA2VideoProcessor(num_frames=None)([short, long])

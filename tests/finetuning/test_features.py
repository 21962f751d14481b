"""What is kept of a clip is what the model would see of it live."""

from pathlib import Path

import pytest
import torch

from ai_therapist.finetuning.base import random_base
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.features import ClipEncoder, load_features, save_features
from ai_therapist.finetuning.tokenizer import SPECIAL_TOKENS, train_tokenizer
from ai_therapist.models.clip_input import ClipInput, read_clip
from ai_therapist.testing import RecordingSpec, make_digest, make_recording
from ai_therapist.videollama2 import VideoLLaMA2Processor, VideoLLaMA2Qwen2ForConditionalGeneration

Model = VideoLLaMA2Qwen2ForConditionalGeneration


@pytest.fixture(scope="module")
def model() -> Model:
    made: Model = random_base(BaseConfig())
    return made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipInput:
    return read_clip(make_recording(tmp_path_factory.mktemp("clip") / "clip.mp4"), 8)


def test_kept_features_give_the_logits_of_the_live_clip(model: Model, clip: ClipInput, tmp_path: Path) -> None:
    processor = VideoLLaMA2Processor.from_config(model.config, train_tokenizer(["words"], 320))
    content = [{"type": "video", "video": clip.frames, "sound": clip.sound}, {"type": "text", "text": "words"}]
    live = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    save_features([("a" * 64, ClipEncoder(model).encode(clip))], tmp_path / "features")
    kept = load_features(tmp_path / "features")["a" * 64]
    assert kept.audio is not None
    with torch.no_grad():
        expected = model(**live).logits
        given = model(input_ids=live["input_ids"], video_features=[kept.video], audio_features=[kept.audio]).logits
    assert torch.allclose(given, expected, atol=1e-6)


def test_a_clip_stands_for_as_many_placeholders_as_it_has_embeddings(model: Model, clip: ClipInput) -> None:
    encoder = ClipEncoder(model)
    assert encoder.encode(clip).placeholders == "<video>" * 16 + "<audio>" * 8
    assert encoder.encode(ClipInput(clip.frames, None)).placeholders == "<video>" * 16
    assert {"<video>", "<audio>"} < set(SPECIAL_TOKENS)


def test_features_survive_their_file(model: Model, clip: ClipInput, tmp_path: Path) -> None:
    encoder = ClipEncoder(model)
    made = {make_digest("a"): encoder.encode(clip), make_digest("b"): encoder.encode(ClipInput(clip.frames, None))}
    save_features(made.items(), tmp_path / "features")
    read = load_features(tmp_path / "features")
    assert read.keys() == made.keys()
    assert all(torch.equal(read[digest].video, made[digest].video) for digest in made)
    assert read[make_digest("b")].audio is None


def test_no_clips_is_a_file_too(tmp_path: Path) -> None:
    save_features([], tmp_path / "features")
    assert load_features(tmp_path / "features") == {}


def test_picture_and_sound_both_count(model: Model, clip: ClipInput, tmp_path: Path) -> None:
    higher = read_clip(make_recording(tmp_path / "other.mp4", RecordingSpec(tone_hz=1200.0)), 8)
    one, other = (ClipEncoder(model).encode(ClipInput(clip.frames, sound)) for sound in (clip.sound, higher.sound))
    assert torch.equal(one.video, other.video)
    assert one.audio is not None
    assert other.audio is not None
    assert not torch.allclose(one.audio, other.audio, atol=1e-4)
    darker = ClipEncoder(model).encode(ClipInput(clip.frames // 4, clip.sound))
    assert not torch.allclose(one.video, darker.video, atol=1e-4)

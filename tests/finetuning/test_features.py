"""What is kept of a clip is what the model would see of it live."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ai_therapist.errors import InvalidRecord
from ai_therapist.finetuning.base import random_base
from ai_therapist.finetuning.config import BaseConfig
from ai_therapist.finetuning.features import (
    ClipEncoder,
    ClipFeatures,
    KeptFeatures,
    Places,
    load_features,
    save_features,
)
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
    save_features(ClipEncoder(model).encode(clip), tmp_path / "features")
    kept = load_features(tmp_path / "features")
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


def test_features_survive_their_files(model: Model, clip: ClipInput, tmp_path: Path) -> None:
    encoder = ClipEncoder(model)
    made = {make_digest("a"): encoder.encode(clip), make_digest("b"): encoder.encode(ClipInput(clip.frames, None))}
    for digest, one in made.items():
        save_features(one, tmp_path / digest)
    read = KeptFeatures({digest: tmp_path / digest for digest in made})
    assert list(read) == list(made)
    assert len(read) == 2
    assert all(torch.equal(read[digest].video, made[digest].video) for digest in made)
    assert read[make_digest("b")].audio is None
    assert read.placeholders == {digest: one.placeholders for digest, one in made.items()}


def test_what_the_towers_give_becomes_the_same_behind_the_connectors(
    model: Model, clip: ClipInput, tmp_path: Path
) -> None:
    """Kept before the connectors where these are trained; run through them it is what would have been kept behind."""
    save_features(ClipEncoder(model, "towers").encode(clip), tmp_path / "features")
    kept, behind = load_features(tmp_path / "features"), ClipEncoder(model).encode(clip)
    assert kept.places == behind.places == Places(16, 8)
    assert kept.audio is not None
    assert behind.audio is not None
    assert kept.video.shape[0] == 8
    with torch.no_grad():
        video = model.get_video_features(tower_features=kept.video[None]).pooler_output
        audio = model.get_audio_features(tower_features=[kept.audio]).pooler_output
    assert video is not None
    assert audio is not None
    assert torch.allclose(video[0], behind.video, atol=1e-6)
    assert torch.allclose(audio[0], behind.audio, atol=1e-6)


def test_features_have_the_precision_of_the_model(clip: ClipInput, tmp_path: Path) -> None:
    half = random_base(BaseConfig()).to(torch.bfloat16)
    whole: ClipFeatures = ClipEncoder(random_base(BaseConfig())).encode(clip)
    save_features(ClipEncoder(half).encode(clip), tmp_path / "features")
    kept = load_features(tmp_path / "features")
    assert kept.audio is not None
    assert kept.video.dtype == kept.audio.dtype == torch.bfloat16
    assert torch.allclose(kept.video.float(), whole.video, atol=0.1 * float(whole.video.abs().max()))


def test_picture_and_sound_both_count(model: Model, clip: ClipInput, tmp_path: Path) -> None:
    higher = read_clip(make_recording(tmp_path / "other.mp4", RecordingSpec(tone_hz=1200.0)), 8)
    one, other = (ClipEncoder(model).encode(ClipInput(clip.frames, sound)) for sound in (clip.sound, higher.sound))
    assert torch.equal(one.video, other.video)
    assert one.audio is not None
    assert other.audio is not None
    assert not torch.allclose(one.audio, other.audio, atol=1e-4)
    darker = ClipEncoder(model).encode(ClipInput(clip.frames // 4, clip.sound))
    assert not torch.allclose(one.video, darker.video, atol=1e-4)


def test_a_file_of_something_else_is_no_features(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"\xff" * 20)
    save_file({"weight": torch.zeros(1)}, tmp_path / "other")
    for name in ("cut", "other"):
        with pytest.raises(InvalidRecord, match=f"{name} holds no features of a clip"):
            load_features(tmp_path / name)

"""Bases that are named, not drawn: a language model alone, and one with grafted towers; whole and in 4 bits.

The checkpoints are tiny and random, saved as published ones are; no published weights were loaded.
"""

from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from ai_therapist.errors import ConfigError, MissingInput
from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.attention import plant
from ai_therapist.finetuning.base import save_base
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.finetuning.curve import Point
from ai_therapist.finetuning.loss import ForestLoss
from ai_therapist.finetuning.saved_model import save_tuned
from ai_therapist.finetuning.train import Tuned, tune_on
from ai_therapist.finetuning.verify import probe, save_proof, verify_tuned
from ai_therapist.models.base import open_base, read_reference
from ai_therapist.models.local import open_tuned
from ai_therapist.records import Modality
from ai_therapist.records.message import Message
from ai_therapist.videollama2 import VideoLLaMA2Processor, VideoLLaMA2Qwen2ForConditionalGeneration, tiny_config
from tests.finetuning.builders import QUICK, ignore_step, make_chat, make_examples, make_features

EXAMPLES = make_examples(sessions=1)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 with a tokenizer, as on the Hub."""
    folder = tmp_path_factory.mktemp("language")
    torch.manual_seed(1)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(vocab_size=576, num_key_value_heads=2, max_position_embeddings=4096, **sizes)  # type: ignore[arg-type]
    Qwen2ForCausalLM(config).save_pretrained(folder)
    make_chat(EXAMPLES).tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VideoLLaMA2.1-AV whose towers and connectors are wanted."""
    folder = tmp_path_factory.mktemp("media")
    torch.manual_seed(2)
    model = VideoLLaMA2Qwen2ForConditionalGeneration(tiny_config(576))
    model.save_pretrained(folder)
    VideoLLaMA2Processor.from_config(model.config, make_chat(EXAMPLES).tokenizer).save_pretrained(folder)
    return folder


def make_config(language: Path, media: Path | None = None, **changes: object) -> FinetuningConfig:
    base = BaseConfig(
        language=str(language), media="none" if media is None else str(media), tokens_per_clip=16, num_frames=8
    )
    fields = {**QUICK.model_dump(), "base": base.model_dump(), "train_embeddings": False, "merge": False}
    return FinetuningConfig.model_validate({**fields, **changes})


def tune(folder: Path, config: FinetuningConfig) -> tuple[Tuned, Path]:
    base = folder / "base"
    base.mkdir()
    save_base(config.base, base)
    features = make_features(EXAMPLES) if config.base.sees_clips else {}
    return tune_on(EXAMPLES, features, base, config, folder, ignore_step), base


QLORA = {
    "quantisation": "nf4",
    "precision": "bf16",
    "optimizer": "paged_adamw_8bit",
    "learning_rate": 0.01,
    "epochs": 2,
}


@pytest.mark.parametrize("changes", [{}, QLORA], ids=["whole", "qlora"])
@pytest.mark.parametrize("sees", [False, True], ids=["text", "multimodal"])
def test_a_named_base_is_tuned_saved_proved_and_answers(
    language: Path, media: Path, tmp_path: Path, changes: dict[str, object], sees: bool
) -> None:
    """With qlora: real NF4 layers with double quantisation and real 8-bit AdamW of bitsandbytes, on the processor."""
    config = make_config(language, media if sees else None, **changes)
    tuned, base = tune(tmp_path, config)
    kinds = {type(layer).__name__ for layer in tuned.model.modules()}
    assert ("Linear4bit" in kinds) is (config.quantisation == "nf4")
    assert all(weight.dtype == torch.float32 for weight in tuned.model.parameters() if weight.requires_grad)
    assert not hasattr(tuned.loss.causal.model, "vision_tower")
    assert float(str(tuned.account["loss_last"])) < float(str(tuned.account["loss_first"]))
    save_tuned(tmp_path / "model", base, tuned.model, tuned.processor, config)
    save_proof(tuned.loss, tmp_path / "model")
    assert all(check.holds for check in verify_tuned(tmp_path / "model"))
    model = open_tuned(tmp_path / "model")
    assert (Modality.VIDEO in model.accepts) is sees
    assert sum(model.score([Message.of_text("user", "hello")], ["joy", "fear"]).values()) == pytest.approx(1)


def test_quantised_training_resumes_bit_for_bit(language: Path, tmp_path: Path) -> None:
    def stop(point: Point, steps: int, seconds: float) -> None:
        if point.step == 2:
            raise KeyboardInterrupt

    config = make_config(language, None, **QLORA, checkpoint_steps=1)
    (tmp_path / "a").mkdir()
    whole, base = tune(tmp_path / "a", config)
    with pytest.raises(KeyboardInterrupt):
        tune_on(EXAMPLES, {}, base, config, tmp_path, stop)
    resumed = tune_on(EXAMPLES, {}, base, config, tmp_path, ignore_step)
    assert resumed.curve == whole.curve


def test_connectors_can_be_trained_on_features_of_the_towers(language: Path, media: Path, tmp_path: Path) -> None:
    config = make_config(language, media, train_connector=True)
    (tmp_path / "base").mkdir()
    save_base(config.base, tmp_path / "base")
    model = with_adapter(open_base(tmp_path / "base", towers=False).model, config)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    parts = ("connector", "audio_projector", "language_model")
    assert {part for name in names for part in parts if f".{part}." in name} == set(parts)
    assert all("tower" not in name for name in names)
    loss = ForestLoss(model.get_base_model(), "segments", 64, tower_features=True)
    tree = probe(500)
    assert loss(plant([tree]), {}).isfinite()


def test_the_base_is_remembered_by_name_and_revision(language: Path, media: Path, tmp_path: Path) -> None:
    save_base(make_config(language, media).base, tmp_path)
    about = read_reference(tmp_path)
    assert (about.language, about.media) == (str(language), str(media))
    assert about.language_revision.startswith("files:")
    assert about.language_revision != about.media_revision
    assert [path.name for path in tmp_path.iterdir()] == ["base.json"]


def test_what_cannot_be_had_or_does_not_fit_is_a_clear_error(
    language: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingInput, match="nobody/nothing: no folder"):
        save_base(BaseConfig(language="nobody/nothing", media="none"), tmp_path)
    save_base(make_config(language, language).base, tmp_path)
    with pytest.raises(ConfigError, match=r"finetuning\.base: .*no vision tower"):
        open_base(tmp_path)

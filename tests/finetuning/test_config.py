"""Every preset is a full set of values, each described, each open to change within its range."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ai_therapist.cli.settings import resolve
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.finetuning.presets import PRESETS


@pytest.mark.parametrize("model", [FinetuningConfig, BaseConfig])
def test_every_field_has_a_default_and_a_description(model: type[BaseConfig] | type[FinetuningConfig]) -> None:
    model()
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_states_every_field(name: str) -> None:
    preset = PRESETS[name]
    assert set(preset) == set(FinetuningConfig.model_fields) - {"preset"}
    assert set(preset["base"]) == set(BaseConfig.model_fields)
    config = FinetuningConfig.model_validate({"preset": name})
    assert config.model_dump(exclude={"preset"}) == preset
    assert FinetuningConfig.model_validate_json(config.model_dump_json()) == config


def test_original_is_the_published_recipe() -> None:
    config = FinetuningConfig(preset="original")
    assert (config.base.language, config.base.media, config.quantisation) == (
        "Qwen/Qwen2.5-7B-Instruct",
        "none",
        "nf4",
    )
    assert (config.lora_rank, config.lora_alpha, len(set(config.lora_targets))) == (16, 16, 7)
    assert (config.optimizer, config.learning_rate, config.schedule, config.warmup_steps) == (
        "adamw_8bit",
        2e-4,
        "linear",
        5,
    )
    assert (config.batch_size, config.accumulation, config.epochs, config.max_tokens) == (2, 4, 1, 2048)
    assert (config.seed, config.layout) == (3407, "turn")


def test_every_field_of_a_preset_can_be_overridden_from_the_command_line() -> None:
    settings = resolve(
        None,
        [
            "finetuning.preset=multimodal",
            "finetuning.epochs=3",
            "finetuning.base.tokens_per_clip=32",
            'finetuning.lora_targets=["q_proj", "v_proj"]',
        ],
    ).settings.finetuning
    assert (settings.epochs, settings.base.tokens_per_clip, settings.lora_targets) == (3, 32, ("q_proj", "v_proj"))
    assert settings.base.media == PRESETS["multimodal"]["base"]["media"]
    assert settings.max_tokens == 4096


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "huge"},
        {"preset": ["tiny"]},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"batch": 4},
        {"base": {"vocabulary_size": 256}},
        {"base": {"num_frames": 1}},
        {"base": {"language": "Qwen/Qwen2.5-7B-Instruct"}},
        {"lora_targets": ["lm_head"]},
        {"batch_tokens": 100},
        {"base": {"media": "none"}, "train_connector": True},
        {"preset": "text", "train_embeddings": True},
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FinetuningConfig.model_validate_json(json.dumps(wrong))

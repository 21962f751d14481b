"""The published weight names: every one has a place in our models, and saving gives the same names back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import rename_source_key

from ai_therapist import videollama2
from tests.videollama2.conftest import Golden, tiny_model

_PUBLISHED = [
    ("VideoLLaMA2-7B-16F.config.json", "VideoLLaMA2-7B_and_7B-16F", 795, 0, 8_034_428_160),
    ("VideoLLaMA2.1-7B-16F.config.RECONSTRUCTED.json", "VideoLLaMA2.1-7B-16F", 900, 0, 8_420_731_360),
    ("VideoLLaMA2.1-7B-AV.config.RECONSTRUCTED.json", "VideoLLaMA2.1-7B-AV", 1156, 13, 8_526_647_888),
]


@pytest.mark.parametrize(("config_file", "layout", "stored", "ignored", "parameters"), _PUBLISHED)
def test_every_published_name_and_shape_has_its_place(
    golden_folder: Path, config_file: str, layout: str, stored: int, ignored: int, parameters: int
) -> None:
    folder = golden_folder / "published_layouts"
    shapes = json.loads((folder / f"{layout}.state_dict_shapes.json").read_text(encoding="utf-8"))
    fields = json.loads((folder / config_file).read_text(encoding="utf-8"))
    mistral = "mistral" in fields["model_type"]
    family = videollama2.VideoLLaMA2MistralConfig if mistral else videollama2.VideoLLaMA2Qwen2Config
    with torch.device("meta"):
        model: Any = AutoModelForMultimodalLM.from_config(family.from_dict(fields))
    ours = {name: list(weight.shape) for name, weight in model.state_dict().items()}
    renamings: Any = get_model_conversion_mapping(model)
    renamed = {rename_source_key(name, renamings, [], "model", ours)[0]: shape for name, shape in shapes.items()}
    left_over = set(renamed) - set(ours)
    assert len(shapes) == stored
    assert len(left_over) == ignored
    assert all("predictor" in name or "relative_attention_bias" in name for name in left_over)
    assert {name: renamed[name] for name in ours} == ours
    assert sum(weight.numel() for weight in model.parameters()) == parameters


def test_saving_gives_the_published_names_and_the_same_weights(golden: Golden, tmp_path: Path) -> None:
    golden.model.save_pretrained(tmp_path)
    golden.processor.save_pretrained(tmp_path)
    before = load_file(golden.folder / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    dropped = set(before) - set(after)
    assert set(after) <= set(before)
    assert all("predictor" in name or "relative_attention_bias" in name for name in dropped)
    assert len(dropped) == (4 if golden.name == "c" else 0)
    assert all(torch.equal(after[name], before[name].float()) for name in after)
    model, processor = videollama2.load(str(tmp_path), dtype=torch.float32)
    state = golden.model.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert model.config.video_token_id == processor.video_token_id == golden.processor.video_token_id


def test_auto_classes_find_model_configuration_and_processor(golden: Golden) -> None:
    folder = str(golden.folder)
    videollama2.register()
    config = AutoConfig.from_pretrained(folder, **golden.overrides)
    assert type(config) is type(golden.model.config)
    for auto in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
        model = auto.from_pretrained(folder, **golden.overrides)
        assert type(model) is type(golden.model)
        assert model.dtype == torch.bfloat16, "stored type is kept"
    base = AutoModel.from_pretrained(folder, **golden.overrides, dtype=torch.float32)
    weight = golden.model.model.connector.sampler.weight
    assert torch.equal(base.connector.sampler.weight, weight)
    if golden.name != "c":  # the tiny BEATs of c is not described by its config.json, as in published ones
        assert isinstance(AutoProcessor.from_pretrained(folder), videollama2.VideoLLaMA2Processor)


def _with_weights(source: Golden, target: Path, change: Any) -> Path:
    """A copy of a golden checkpoint whose weights went through `change`."""
    weights = load_file(source.folder / "model.safetensors")
    change(weights)
    source.model.config.save_pretrained(target)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_missing_weight_is_an_error_that_names_it(golden: Golden, tmp_path: Path) -> None:
    _with_weights(golden, tmp_path, lambda weights: weights.pop("model.mm_projector.readout.2.bias"))
    with pytest.raises(ValueError, match=r"1 missing weights \(model\.connector\.readout\.2\.bias\)"):
        type(golden.model).from_pretrained(tmp_path)


def test_an_unknown_weight_is_an_error_that_names_it(golden: Golden, tmp_path: Path) -> None:
    _with_weights(golden, tmp_path, lambda weights: weights.update({"model.mm_extra.weight": torch.ones(2)}))
    with pytest.raises(ValueError, match=r"1 unexpected weights \(model\.mm_extra\.weight\)"):
        type(golden.model).from_pretrained(tmp_path)


def test_the_shared_bias_is_found_under_any_layer(golden_av: Golden, tmp_path: Path) -> None:
    def keep_last(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if "relative_attention_bias" in name and "layers.2." not in name]:
            del weights[name]

    _with_weights(golden_av, tmp_path, keep_last)
    model = type(golden_av.model).from_pretrained(tmp_path, dtype=torch.float32)
    expected = golden_av.model.model.audio_tower.relative_attention_bias.weight
    assert torch.equal(model.model.audio_tower.relative_attention_bias.weight, expected)


def test_a_tiny_model_saves_under_published_names(tmp_path: Path) -> None:
    model, _ = tiny_model()
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as stored:
        names = set(stored.keys())
    assert "model.audio_tower.encoder.layers.0.self_attn.relative_attention_bias.weight" in names
    assert "model.mm_projector.s1.b1.downsample.bn.weight" in names
    assert not any("connector" in name or "$" in name for name in names)


def test_a_16f_checkpoint_that_calls_itself_mistral_is_not_loaded_as_plain_mistral(
    golden_folder: Path, tmp_path: Path
) -> None:
    source = golden_folder / "a_v2_clip_stc_mistral"
    for file in source.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    tower = tmp_path / "clip-vit-tiny-patch14-56"
    tower.mkdir()
    for file in (source / tower.name).iterdir():
        (tower / file.name).write_bytes(file.read_bytes())
    fields = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**fields, "model_type": "mistral"}), encoding="utf-8")
    model, processor = videollama2.load(str(tmp_path))
    assert isinstance(model, videollama2.VideoLLaMA2MistralForConditionalGeneration)
    assert isinstance(processor, videollama2.VideoLLaMA2Processor)

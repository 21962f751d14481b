"""Configurations: the published fields fold into sub-configurations, and contradictions are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.videollama2 import (
    BeatsConfig,
    VideoLLaMA2MistralConfig,
    VideoLLaMA2Qwen2Config,
    tiny_config,
)

_SIGLIP = "google/siglip-so400m-patch14-384"


@pytest.mark.parametrize(
    ("file", "video_tokens", "audio_tokens", "first_media_id"),
    [
        ("VideoLLaMA2-7B.config.json", 845, None, 32000),
        ("VideoLLaMA2-7B-16F.config.json", 1521, None, 32000),
        ("VideoLLaMA2.1-7B-16F.config.RECONSTRUCTED.json", 1352, None, 151646),
        ("VideoLLaMA2.1-7B-AV.config.RECONSTRUCTED.json", 1352, 1496, 151646),
    ],
)
def test_published_configurations_give_the_published_token_counts(
    golden_folder: Path, file: str, video_tokens: int, audio_tokens: int | None, first_media_id: int
) -> None:
    fields = json.loads((golden_folder / "published_layouts" / file).read_text(encoding="utf-8"))
    family = VideoLLaMA2MistralConfig if "mistral" in fields["model_type"] else VideoLLaMA2Qwen2Config
    config = family.from_dict(fields)
    assert config.num_video_tokens() == video_tokens
    if audio_tokens is None:
        assert config.audio is None
    else:
        assert config.num_audio_tokens(2998) == audio_tokens
    assert config.image_token_id == first_media_id
    for name in ("hidden_size", "num_hidden_layers", "vocab_size", "rms_norm_eps", "num_key_value_heads"):
        assert getattr(config.text, name) == fields[name]
    assert config.text.rope_parameters["rope_theta"] == 1e6
    assert config.text.sliding_window is None, "both families attend to everything"
    assert not hasattr(config, "num_hidden_layers"), "text fields belong to text_config alone"


def test_a_saved_configuration_reloads_equal(tmp_path: Path) -> None:
    config = tiny_config(300, tokens_per_clip=8, audio_tokens_per_clip=16)
    config.save_pretrained(tmp_path)
    again = VideoLLaMA2Qwen2Config.from_pretrained(tmp_path)
    assert isinstance(again.audio_config, BeatsConfig)
    again.name_or_path = config.name_or_path
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mm_projector_type": "mlp2x_gelu"}, "mm_projector_type='mlp2x_gelu' is not supported"),
        ({"mm_projector_type": "spatial_pool"}, "stc_connector_v35"),
        ({"mm_vision_select_feature": "cls_patch"}, "use 'patch'"),
        ({"mm_projector_a_type": "linear"}, "mlp2x_gelu"),
        ({"image_aspect_ratio": "anyres"}, "use 'pad' or 'none'"),
        ({"mm_hidden_size": 1024}, "the vision tower has 64"),
        ({"mm_hidden_size_a": 768}, "the audio tower has 64"),
        ({"mm_vision_select_layer": -9}, "the tower has 2 layers"),
        ({"num_frames": 1}, "use 2 frames or more"),
        ({"tokens_per_clip": 17}, "tokens_per_clip=17 cannot be pooled from a connector grid of 4x2x2"),
        ({"tokens_per_clip": 0}, "tokens_per_clip=0"),
        ({"audio_tokens_per_clip": 0}, "use 1 or more, or None"),
    ],
)
def test_contradictions_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny_config(300, **fields)


def test_an_unknown_tower_is_refused() -> None:
    with pytest.raises(ValueError, match="only CLIP and SigLIP"):
        VideoLLaMA2Qwen2Config(mm_vision_tower="facebook/dinov2-base")


def test_beats_sizes_must_divide() -> None:
    with pytest.raises(ValueError, match="hidden_size=50 is not a multiple of num_attention_heads=4"):
        BeatsConfig(hidden_size=50, num_attention_heads=4)


def test_a_model_without_audio_tower_has_no_audio_tokens() -> None:
    config = VideoLLaMA2Qwen2Config(mm_vision_tower=_SIGLIP, num_frames=16)
    with pytest.raises(ValueError, match="no audio tower"):
        config.num_audio_tokens(100)


@pytest.mark.parametrize(("budget", "grid"), [(32, (8, 2, 2)), (64, (8, 2, 4)), (96, (8, 3, 4)), (None, (8, 13, 13))])
def test_budgets_keep_time_and_squareness(budget: int | None, grid: tuple[int, int, int]) -> None:
    config = VideoLLaMA2Qwen2Config(mm_vision_tower=_SIGLIP, num_frames=16, tokens_per_clip=budget)
    assert config.video_grid(16) == grid

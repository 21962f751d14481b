"""Token budgets, features computed once and reused, and models without towers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ai_therapist import videollama2
from ai_therapist.videollama2.connector_videollama2 import pool_grid, pooling_matrix
from tests.videollama2.conftest import Golden, tiny_model

_FRAMES = np.random.default_rng(0).integers(0, 255, (8, 20, 30, 3), dtype=np.uint8)
_SOUND = np.random.default_rng(1).normal(0, 0.1, 40_000).astype(np.float32)


def _inputs(processor: Any) -> Any:
    parts = [{"type": "video", "video": _FRAMES, "sound": _SOUND}, {"type": "image", "image": _FRAMES[0]}]
    user = {"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}
    return processor.apply_chat_template(
        [user, {"role": "assistant", "content": "Fear."}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def _cached(model: Any, inputs: Any) -> dict[str, Any]:
    """`inputs` with features in place of pixels and filter banks."""
    with torch.no_grad():
        features = {
            "video_features": model.get_video_features(inputs["pixel_values_videos"]).pooler_output,
            "image_features": model.get_image_features(inputs["pixel_values"]).pooler_output,
            "audio_features": model.get_audio_features(
                inputs["input_features"], inputs["input_features_mask"]
            ).pooler_output,
        }
    return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], **features}


def test_a_pooling_matrix_averages_windows() -> None:
    like = torch.zeros(())
    expected = torch.nn.functional.adaptive_avg_pool1d(torch.eye(7)[None], 3)[0].T
    torch.testing.assert_close(pooling_matrix(7, 3, like), expected)
    assert torch.equal(pooling_matrix(4, 4, like), torch.eye(4))
    torch.testing.assert_close(pooling_matrix(5, 8, like).sum(1), torch.ones(8))
    with pytest.raises(ValueError, match="cannot pool 0 entries to 3"):
        pooling_matrix(0, 3, like)


def test_pooling_a_grid_equals_adaptive_average_pooling() -> None:
    hidden = torch.randn(2, 8, 13, 13, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.adaptive_avg_pool3d(hidden.movedim(-1, 1), (8, 3, 4)).movedim(1, -1)
    torch.testing.assert_close(pool_grid(hidden, (8, 3, 4)), expected)


@pytest.mark.parametrize("budget", [None, 4, 8, 16])
def test_budgets_hold_for_processor_and_model_alike(budget: int | None) -> None:
    model, processor = tiny_model(tokens_per_clip=budget, audio_tokens_per_clip=budget)
    inputs = _inputs(processor)
    video = 16 if budget is None else budget
    ids = inputs["input_ids"][0].tolist()
    assert ids.count(processor.video_token_id) == ids.count(processor.image_token_id) == video
    assert ids.count(processor.audio_token_id) == (1496 if budget is None else budget)
    with torch.no_grad():
        assert model(**inputs).logits.shape[1] == len(ids)


def test_the_whole_grid_as_budget_changes_nothing() -> None:
    unpooled, processor = tiny_model()
    pooled, _ = tiny_model(tokens_per_clip=16)
    pixels = _inputs(processor)["pixel_values_videos"]
    with torch.no_grad():
        full, same = (m.get_video_features(pixels).pooler_output for m in (unpooled, pooled))
    torch.testing.assert_close(full, same)


@pytest.mark.parametrize("budget", [None, 8])
def test_padding_in_a_batch_changes_no_sound(budget: int | None) -> None:
    model, processor = tiny_model(audio_tokens_per_clip=budget)
    extract = processor.feature_extractor
    sounds = [_SOUND, _SOUND[:9_000], _SOUND[:400]]
    batch = extract(sounds, audio_padding="longest")
    with torch.no_grad():
        together = model.get_audio_features(**batch).pooler_output
        for sound, features in zip(sounds, together, strict=True):
            alone = model.get_audio_features(**extract(sound, audio_padding="longest")).pooler_output[0]
            torch.testing.assert_close(features, alone, atol=2e-6, rtol=1e-5)
    assert [len(one) for one in together] == ([budget] * 3 if budget else [128, 32, 8])


def test_an_original_checkpoint_accepts_trimmed_sound(golden_av: Golden) -> None:
    speech = golden_av.sound("speech_5s_16k_mono.wav")
    extract = golden_av.processor.feature_extractor
    with torch.no_grad():
        trimmed = golden_av.model.get_audio_features(**extract(speech, audio_padding="longest")).pooler_output[0]
        filled = golden_av.model.get_audio_features(**extract(speech)).pooler_output[0]
    assert len(trimmed) == 264
    assert len(filled) == 1496
    assert torch.isfinite(trimmed).all()


def test_cached_features_give_the_same_logits_without_towers(tmp_path: Path) -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    cached = _cached(model, inputs)
    model.save_pretrained(tmp_path)
    light = videollama2.VideoLLaMA2Qwen2ForConditionalGeneration.from_pretrained(tmp_path, load_towers=False)
    assert not hasattr(light.model, "vision_tower")
    assert not hasattr(light.model, "audio_tower")
    with torch.no_grad():
        live = model(**inputs).logits
        assert torch.equal(model(**cached).logits, live)
        assert torch.equal(light(**cached).logits, live)
    with pytest.raises(ValueError, match="load_towers=False"):
        light(**inputs)
    with pytest.raises(ValueError, match="load_towers=False"):
        light.get_audio_features(**processor.feature_extractor(_SOUND))


def test_connectors_are_trained_from_cached_tower_features() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    with torch.no_grad():
        video = model.get_video_features(inputs["pixel_values_videos"])
        audio = model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
    again = model.get_video_features(tower_features=video.last_hidden_state).pooler_output
    torch.testing.assert_close(again, video.pooler_output)
    heard = model.get_audio_features(tower_features=audio.last_hidden_state).pooler_output
    torch.testing.assert_close(heard[0], audio.pooler_output[0])
    (again.sum() + heard[0].sum()).backward()
    assert model.model.connector.sampler.weight.grad.abs().sum() > 0
    assert model.model.audio_projector[0].weight.grad.abs().sum() > 0
    assert model.model.audio_tower.post_extract_proj.weight.grad is None


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    model.config.audio.layerdrop = 0.0
    inputs = _inputs(processor)
    model.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any("audio_tower.layers.0" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_layers_drop_only_while_training_with_gradients() -> None:
    model, processor = tiny_model()
    model.config.audio.layerdrop = 0.999
    bank = processor.feature_extractor(_SOUND, audio_padding="longest")
    with torch.no_grad():
        evaluated = model.get_audio_features(**bank).pooler_output[0]
        model.train()
        cached = model.get_audio_features(**bank).pooler_output[0]
    assert torch.equal(evaluated, cached)
    torch.manual_seed(0)
    assert not torch.allclose(model.get_audio_features(**bank).pooler_output[0], evaluated)


def test_labels_at_placeholders_do_not_count() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    labels = inputs["input_ids"]
    hidden = labels.masked_fill(model.model.media_mask(labels), -100)
    with torch.no_grad():
        assert torch.equal(model(**inputs, labels=labels).loss, model(**inputs, labels=hidden).loss)


def test_wrong_inputs_are_named() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    cached = _cached(model, inputs)
    with pytest.raises(ValueError, match="4 video placeholders but 3 video features"):
        model(**{**cached, "video_features": cached["video_features"][:, :3]})
    with pytest.raises(ValueError, match="4 image placeholders but 0 image features"):
        model(input_ids=inputs["input_ids"])
    with pytest.raises(ValueError, match="video input came both raw and as features"):
        model(**inputs, video_features=cached["video_features"])
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()
    embeds = torch.zeros(1, 4, 128)
    with pytest.raises(ValueError, match="media beside inputs_embeds"):
        model(inputs_embeds=embeds, video_features=cached["video_features"])
    with pytest.raises(ValueError, match="fewer than 16 frames"):
        model.get_audio_features(torch.zeros(1, 32, 128), torch.zeros(1, 32))
    with pytest.raises(ValueError, match="16 or more frames"):
        model.get_audio_features(torch.zeros(1, 8, 128))
    with pytest.raises(ValueError, match="exactly one of pixel_values_videos"):
        model.get_video_features()
    with pytest.raises(ValueError, match="exactly one of input_features"):
        model.get_audio_features()
    deaf, _ = tiny_model(audio_config=None)
    with pytest.raises(ValueError, match="no audio tower"):
        deaf.get_audio_features(torch.zeros(1, 32, 128))

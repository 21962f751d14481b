"""Loading and grafting, pickled parts behind a flag, LoRA and 4-bit, and other models through the same door."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from ai_therapist import videollama2
from tests.videollama2.conftest import tiny_model, tiny_tokenizer
from tests.videollama2.test_features import _inputs

_PEFT_ASKS_AN_OLD_NAME = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A saved tiny AV model with its processor."""
    folder = tmp_path / "media"
    model, processor = tiny_model()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _language_model(folder: Path, *, tied: bool = False, **changes: Any) -> Path:
    """A saved tiny Qwen2 of the media model's width but with other layers and vocabulary."""
    torch.manual_seed(5)
    fields: dict[str, Any] = {
        "vocab_size": 320,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    Qwen2ForCausalLM(Qwen2Config(**{**fields, **changes})).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [False, True])
def test_a_graft_takes_media_from_one_and_language_from_another(media: Path, tmp_path: Path, tied: bool) -> None:
    language = _language_model(tmp_path / "language", tied=tied)
    model, processor = videollama2.graft(
        str(media), str(language), config_overrides={"tokens_per_clip": 4, "audio_tokens_per_clip": 6}
    )
    assert model.dtype == torch.bfloat16
    source, _ = videollama2.load(str(media))
    state, media_state = model.state_dict(), source.state_dict()
    from_media = [name for name in state if name.startswith("model.") and "language_model" not in name]
    assert len(from_media) > 100
    assert all(torch.equal(state[name], media_state[name].bfloat16()) for name in from_media)
    plain: Any = Qwen2ForCausalLM.from_pretrained(language, dtype=torch.bfloat16)
    text_only = processor(text="I feel tired", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(model(**text_only).logits, plain(**text_only).logits), "it is the other language model"
        assert torch.isfinite(model(**_inputs(processor)).logits).all()
    model.save_pretrained(tmp_path / "grafted")
    processor.save_pretrained(tmp_path / "grafted")
    again, _ = videollama2.load(str(tmp_path / "grafted"))
    reloaded = again.state_dict()
    assert all(torch.equal(reloaded[name], weight) for name, weight in state.items())


def test_a_graft_of_other_width_or_kind_is_refused(media: Path, tmp_path: Path) -> None:
    wide = _language_model(tmp_path / "wide", hidden_size=192)
    with pytest.raises(ValueError, match=r"features of width 128, .*wide' takes 192"):
        videollama2.graft(str(media), str(wide))
    LlamaConfig(hidden_size=128).save_pretrained(tmp_path / "llama")
    with pytest.raises(ValueError, match="'llama' model; graft a qwen2 or mistral one"):
        videollama2.graft(str(media), str(tmp_path / "llama"))


def test_pickled_parts_need_a_flag_and_hold_tensors_only(media: Path, tmp_path: Path) -> None:
    language = _language_model(tmp_path / "language")
    stored = load_file(media / "model.safetensors")
    part = {name: weight + 1 for name, weight in stored.items() if name.startswith("model.mm_projector_a.")}
    torch.save(part, tmp_path / "mm_projector_a.bin")
    files = [str(tmp_path / "mm_projector_a.bin")]
    with pytest.raises(ValueError, match="allow_pickle=True"):
        videollama2.graft(str(media), str(language), bin_files=files)
    model, _ = videollama2.graft(str(media), str(language), bin_files=files, allow_pickle=True, dtype=torch.float32)
    changed = model.state_dict()["model.audio_projector.0.weight"]
    assert torch.equal(changed, part["model.mm_projector_a.0.weight"])
    torch.save({"model": [1, 2]}, tmp_path / "odd.bin")
    with pytest.raises(ValueError, match="holds more than named tensors"):
        videollama2.read_bin(str(tmp_path / "odd.bin"), allow_pickle=True)


def test_a_checkpoint_without_safetensors_is_refused(media: Path, tmp_path: Path) -> None:
    language = _language_model(tmp_path / "language")
    (media / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="give a safetensors checkpoint"):
        videollama2.graft(str(media), str(language))


def test_overrides_change_model_and_processor_together(media: Path) -> None:
    model, processor = videollama2.load(str(media), config_overrides={"tokens_per_clip": 4, "load_towers": False})
    assert processor.num_video_tokens(8) == model.config.num_video_tokens() == 4
    assert processor.video_token_id == model.config.video_token_id
    assert not hasattr(model.model, "vision_tower")


@_PEFT_ASKS_AN_OLD_NAME
def test_lora_touches_the_language_model_only(media: Path, tmp_path: Path) -> None:
    import peft

    model, processor = videollama2.load(str(media), dtype=torch.float32)
    settings: Any = {"r": 4, "lora_alpha": 8, "target_modules": videollama2.LORA_TARGETS}
    tuned: Any = peft.get_peft_model(model, peft.LoraConfig(**settings))
    trained = {name for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * 7 * 2, "two layers, seven matrices, A and B"
    assert all("language_model.layers" in name for name in trained)
    inputs = _inputs(processor)
    optimizer = torch.optim.AdamW([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.02)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = tuned(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    tuned.eval()
    tuned.save_pretrained(tmp_path / "adapter")
    base, _ = videollama2.load(str(media), dtype=torch.float32)
    again: Any = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        expected = tuned(**inputs).logits
        torch.testing.assert_close(again(**inputs).logits, expected)
        torch.testing.assert_close(again.merge_and_unload()(**inputs).logits, expected, atol=1e-4, rtol=1e-4)


@_PEFT_ASKS_AN_OLD_NAME
def test_four_bit_language_model_with_towers_in_sixteen(media: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed; 4-bit loading is not tried")
    import peft

    model, processor = videollama2.load(
        str(media), dtype=torch.bfloat16, quantization_config=videollama2.four_bit_config()
    )
    kinds = {name: type(module).__name__ for name, module in model.named_modules() if "Linear" in type(module).__name__}
    quantised = {name for name, kind in kinds.items() if kind == "Linear4bit"}
    assert len(quantised) == 2 * 7
    assert all("language_model.layers" in name for name in quantised)
    weight = model.model.connector.readout[0].weight
    assert weight.dtype == model.model.audio_projector[0].weight.dtype == torch.bfloat16
    assert model.model.vision_tower.encoder.layers[0].mlp.fc1.weight.dtype == torch.bfloat16
    prepared = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    settings: Any = {"r": 4, "target_modules": videollama2.LORA_TARGETS}
    tuned: Any = peft.get_peft_model(prepared, peft.LoraConfig(**settings))
    inputs = _inputs(processor)
    optimizer = torch.optim.AdamW([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.02)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = tuned(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_another_native_model_loads_through_the_same_door(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        bos_token_id=None,
        eos_token_id=None,
    )
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    template = (
        "{% for m in messages %}{% for p in m['content'] %}"
        "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}{% endfor %}"
    )
    LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(tmp_path)
    model, processor = videollama2.load(str(tmp_path))
    assert isinstance(model, LlavaForConditionalGeneration)
    picture = np.zeros((20, 30, 3), dtype=np.uint8)
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "What is it?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert model.generate(**inputs, max_new_tokens=2, min_new_tokens=2).shape[1] == inputs["input_ids"].shape[1] + 2
    with pytest.raises(ValueError, match="no VideoLLaMA2"):
        videollama2.load(str(tmp_path), config_overrides={"tokens_per_clip": 4})

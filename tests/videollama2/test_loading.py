"""Loading and grafting, pickled parts behind a flag, LoRA and 4-bit, and a clear line for every bad folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, Qwen2Config, Qwen2ForCausalLM

from ai_therapist import videollama2
from tests.videollama2.conftest import tiny_model, tiny_tokenizer
from tests.videollama2.test_features import _inputs

_MEDIA_PARTS = ("vision_tower", "audio_tower", "connector", "audio_projector")
_PEFT_ASKS_AN_OLD_NAME = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny AV model with its processor."""
    folder = tmp_path_factory.mktemp("saved")
    model, processor = tiny_model(audio_tokens_per_clip=16)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def media(saved: Path, tmp_path: Path) -> Path:
    """A copy of the saved model that a test may change."""
    return Path(shutil.copytree(saved, tmp_path / "media"))


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


def test_a_graft_without_audio_tower_hears_nothing(tmp_path: Path) -> None:
    deaf, processor = tiny_model(audio_config=None)
    deaf.save_pretrained(tmp_path / "deaf")
    processor.save_pretrained(tmp_path / "deaf")
    model, grafted = videollama2.graft(str(tmp_path / "deaf"), str(_language_model(tmp_path / "language")))
    assert not grafted.hears
    assert not hasattr(model.model, "audio_tower")
    kept = deaf.model.connector.sampler.weight
    assert torch.equal(model.model.connector.sampler.weight, kept.bfloat16())


def test_a_graft_of_other_width_or_kind_is_refused(media: Path, tmp_path: Path) -> None:
    wide = _language_model(tmp_path / "wide", hidden_size=192)
    with pytest.raises(ValueError, match=r"features of width 128, .*wide' takes 192"):
        videollama2.graft(str(media), str(wide))
    LlamaConfig(hidden_size=128).save_pretrained(tmp_path / "llama")
    with pytest.raises(ValueError, match="'llama' language model; only qwen2 and mistral are known"):
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
    (tmp_path / "odd.bin").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match=r"odd\.bin' cannot be read as pickled weights"):
        videollama2.read_bin(str(tmp_path / "odd.bin"), allow_pickle=True)


def test_pickled_checkpoints_are_read_only_on_request(media: Path, tmp_path: Path) -> None:
    language = _language_model(tmp_path / "language")
    weights = load_file(media / "model.safetensors")
    torch.save(weights, media / "pytorch_model.bin")
    (media / "model.safetensors").unlink()
    for read in (lambda: videollama2.load(str(media)), lambda: videollama2.graft(str(media), str(language))):
        with pytest.raises(ValueError, match="give a safetensors checkpoint"):
            read()
    model, _ = videollama2.load(str(media), use_safetensors=False)
    assert torch.equal(model.lm_head.weight, weights["lm_head.weight"])


def _without(pattern: str) -> Callable[[Path], object]:
    """Deletes the files of a folder that match."""

    def delete(folder: Path) -> None:
        for file in folder.glob(pattern):
            file.unlink()

    return delete


def _config(**fields: Any) -> Callable[[Path], object]:
    """Changes fields of a folder's config.json; None takes one away."""

    def change(folder: Path) -> None:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kept = {name: value for name, value in {**stored, **fields}.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept), encoding="utf-8")

    return change


def _cut_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def _lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without("*"), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "config.json of .* is no JSON"),
        (_config(model_type=None), "names no model_type"),
        (_config(model_type="videollama2_mixtral"), "'mixtral' language model; only qwen2 and mistral are known"),
        (_without("tokenizer*"), "holds no tokenizer; copy tokenizer.json"),
        (_without("model.safetensors"), "give a safetensors checkpoint"),
        (_cut_weights, "'model.safetensors' of .* is damaged"),
        (_lose_a_shard, "lacks 'model-00002-of-00002.safetensors', which its index names"),
        (_config(num_frames=1), "use 2 frames or more"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_line(media: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(media)
    with pytest.raises(ValueError, match=words) as caught:
        videollama2.load(str(media))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(media: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"missing' is no folder and no hub id"):
        videollama2.load(missing)
    with pytest.raises(FileNotFoundError, match=r"missing' is no folder and no hub id"):
        videollama2.graft(str(media), missing)
    language = _language_model(tmp_path / "language")
    with pytest.raises(ValueError, match="has no vision tower to graft"):
        videollama2.graft(str(language), str(language))


def test_mistyped_overrides_are_refused(media: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'token_per_clip', which is no field of VideoLLaMA2Qwen2Config"):
        videollama2.load(str(media), config_overrides={"token_per_clip": 4})
    language = _language_model(tmp_path / "language")
    with pytest.raises(ValueError, match="'frames', which is no field"):
        videollama2.graft(str(media), str(language), config_overrides={"frames": 4})


def test_weights_of_another_shape_are_named(media: Path) -> None:
    stored = json.loads((media / "config.json").read_text(encoding="utf-8"))["text_config"]
    _config(text_config={**stored, "intermediate_size": 320})(media)
    with pytest.raises(ValueError, match=r"6 mismatched weights \(model\.language_model\.layers\.0\.mlp"):
        videollama2.load(str(media))


def test_overrides_change_model_and_processor_together(media: Path) -> None:
    model, processor = videollama2.load(str(media), config_overrides={"tokens_per_clip": 4, "load_towers": False})
    assert processor.num_video_tokens(8) == model.config.num_video_tokens() == 4
    assert processor.video_token_id == model.config.video_token_id
    assert not hasattr(model.model, "vision_tower")


@_PEFT_ASKS_AN_OLD_NAME
def test_lora_touches_the_language_model_only(media: Path, tmp_path: Path) -> None:
    import peft

    model, processor = videollama2.load(str(media), dtype=torch.float32)
    torch.manual_seed(0)
    settings: Any = {"r": 4, "lora_alpha": 8, "target_modules": videollama2.LORA_TARGETS}
    tuned: Any = peft.get_peft_model(model, peft.LoraConfig(**settings))
    trained = {name for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * 7 * 2, "two layers, seven matrices, A and B"
    assert all("language_model.layers" in name for name in trained)
    inputs = _inputs(processor)
    optimizer = torch.optim.AdamW([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.005)
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
    import peft

    model, processor = videollama2.load(
        str(media), dtype=torch.bfloat16, quantization_config=videollama2.four_bit_config()
    )
    kinds = {name: type(module).__name__ for name, module in model.named_modules() if "Linear" in type(module).__name__}
    quantised = {name for name, kind in kinds.items() if kind == "Linear4bit"}
    assert len(quantised) == 2 * 7
    assert all("language_model.layers" in name for name in quantised)
    for part in (*(getattr(model.model, name) for name in _MEDIA_PARTS), model.lm_head):
        assert {weight.dtype for weight in part.parameters()} == {torch.bfloat16}
    torch.manual_seed(0)
    prepare: Any = peft.prepare_model_for_kbit_training
    prepared = prepare(model, use_gradient_checkpointing=False)
    settings: Any = {"r": 4, "target_modules": videollama2.LORA_TARGETS}
    tuned: Any = peft.get_peft_model(prepared, peft.LoraConfig(**settings))
    trained = [name for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 7 * 2
    assert all("language_model.layers" in name and "lora_" in name for name in trained)
    inputs = _inputs(processor)
    optimizer = torch.optim.AdamW([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.005)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = tuned(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]

"""What leaves for a stock server gives the logits of the native path: language model, adapter, prompt as vectors."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from ai_therapist.errors import RequestError
from ai_therapist.finetuning.stock_layout import LANGUAGE_MODEL, rank_of, save_stock_layout
from ai_therapist.models.base import quiet_peft
from ai_therapist.models.local import TunedModel, open_tuned
from ai_therapist.models.prompt_embeds import completion_request
from ai_therapist.models.tuned_folder import ADAPTER
from ai_therapist.records.message import ImagePart, Message, TextPart, VideoPart
from ai_therapist.testing import make_recording
from tests.finetuning.builders import save_untrained

PREFIX = "Client emotion: sadness\nReply: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def target(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stock") / "out"
    save_stock_layout(folder, target)
    return target


@pytest.fixture(scope="module")
def model(folder: Path) -> TunedModel:
    return open_tuned(folder)


@pytest.fixture(scope="module")
def served(target: Path) -> Any:
    """The language model and the adapter as anybody opens them with plain transformers and peft."""
    base = AutoModelForCausalLM.from_pretrained(target / LANGUAGE_MODEL)
    with quiet_peft():
        return PeftModel.from_pretrained(base, str(target / ADAPTER)).eval()


def talk(clip: Path | None) -> list[Message]:
    seen = () if clip is None else (VideoPart(path=str(clip)),)
    return [
        Message.of_text("system", "Be kind."),
        Message.of_text("user", "hello there"),
        Message.of_text("assistant", "how are you"),
        Message(role="user", parts=(*seen, TextPart(text="not so well"))),
    ]


def vectors(request: dict[str, object]) -> torch.Tensor:
    data = base64.b64decode(str(request["prompt_embeds"]))
    tensor: torch.Tensor = torch.load(io.BytesIO(data), weights_only=True)
    return tensor


@pytest.mark.parametrize("with_clip", [False, True])
def test_the_vectors_give_the_logits_of_the_native_path(
    model: TunedModel, served: Any, tmp_path: Path, with_clip: bool
) -> None:
    messages = talk(make_recording(tmp_path / "clip.mp4") if with_clip else None)
    request = completion_request(
        model, messages, served_as="counsel", max_tokens=20, prefix=PREFIX, dtype=torch.float32
    )
    with torch.inference_mode():
        expected = model._continued(model._prompt(messages).fork(), model._ids(PREFIX.rstrip(" "))).logits
        found = served(inputs_embeds=vectors(request)[None]).logits[0, -1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_without_the_adapter_the_logits_are_others(model: TunedModel, served: Any) -> None:
    request = completion_request(model, talk(None), served_as="counsel", max_tokens=20, dtype=torch.float32)
    with torch.inference_mode(), served.disable_adapter():
        bare = served(inputs_embeds=vectors(request)[None]).logits[0, -1]
    with torch.inference_mode():
        tuned = served(inputs_embeds=vectors(request)[None]).logits[0, -1]
    assert not torch.allclose(bare, tuned, atol=1e-3)


def test_nothing_of_towers_is_in_the_layout_and_no_file_of_a_clip_in_the_request(
    model: TunedModel, target: Path, tmp_path: Path
) -> None:
    clip = make_recording(tmp_path / "clip.mp4")
    request = completion_request(model, talk(clip), served_as="counsel", max_tokens=20)
    assert vectors(request).dtype == torch.bfloat16
    assert str(clip) not in json.dumps(request)
    config = json.loads((target / LANGUAGE_MODEL / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    settings = json.loads((target / ADAPTER / "adapter_config.json").read_text())
    assert settings["modules_to_save"] is None
    assert set(settings["target_modules"]) <= {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert rank_of(target / ADAPTER) == settings["r"]
    assert AutoTokenizer.from_pretrained(target / LANGUAGE_MODEL)("hello")["input_ids"]


def test_what_exists_is_not_written_over(folder: Path, target: Path) -> None:
    with pytest.raises(RequestError, match="name a new folder"):
        save_stock_layout(folder, target)


def test_a_picture_is_embedded_and_control_words_are_refused(model: TunedModel, tmp_path: Path) -> None:
    import av

    with av.open(str(make_recording(tmp_path / "a.mp4"))) as container:
        next(container.decode(video=0)).to_image().save(tmp_path / "a.png")
    shown = [Message(role="user", parts=(ImagePart(path=str(tmp_path / "a.png")), TextPart(text="look")))]
    with torch.inference_mode():
        expected = model._prompt(shown).logits
        found = model._model(inputs_embeds=model.embed(shown)[None]).logits[0, -1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="control token"):
        model.embed([Message.of_text("user", "look <video>")])


def test_a_model_of_text_alone_refuses_a_clip_in_one_line(target: Path, tmp_path: Path) -> None:
    words = TunedModel(
        "words",
        AutoModelForCausalLM.from_pretrained(target / LANGUAGE_MODEL),
        AutoTokenizer.from_pretrained(target / LANGUAGE_MODEL),
    )
    assert words.embed(talk(None)).shape[1] == 128
    with pytest.raises(ValueError, match="a message shows more"):
        words.embed(talk(make_recording(tmp_path / "clip.mp4")))

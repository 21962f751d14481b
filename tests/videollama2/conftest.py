"""The golden data of the three tiny reference models, and a tiny tokenizer trained in process."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ai_therapist import videollama2

_DEFAULT = Path(__file__).parents[3] / "shared" / "golden"
GOLDEN = Path(os.environ.get("AI_THERAPIST_GOLDEN", _DEFAULT)) / "videollama2"
TINY_BEATS = {
    "hidden_size": 48,
    "patch_embed_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
FOLDERS = {
    "a": "a_v2_clip_stc_mistral",
    "b": "b_v21_siglip_stcv35_qwen2",
    "c": "c_v21_av_siglip_stcv35_beats_qwen2",
}


class Golden:
    """One reference model: its folder, tensors and our model and processor of it in float32."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = GOLDEN / FOLDERS[name]
        self.inputs: dict[str, Tensor] = load_file(self.folder / "inputs.safetensors")
        self.outputs: dict[str, Tensor] = load_file(self.folder / "outputs.safetensors")
        self.texts: dict[str, Any] = self.json("texts.json")
        self.overrides = {"audio_config": TINY_BEATS} if name == "c" else {}
        self.model, self.processor = videollama2.load(
            str(self.folder), config_overrides=self.overrides, dtype=torch.float32
        )
        self.model.eval()

    def json(self, file: str) -> Any:
        """The content of a JSON file of the folder."""
        return json.loads((self.folder / file).read_text(encoding="utf-8"))

    def sound(self, file: str) -> Any:
        """Samples of a wav file of the folder."""
        return self.processor.feature_extractor.load(str(self.folder / file))

    def part(self, kind: str, *, track: bool = False) -> dict[str, Any]:
        """A content part of the reference's picture, clip (with its track) or sound."""
        if kind == "image":
            return {"type": "image", "image": self.inputs["image_u8"].numpy()}
        if kind == "audio":
            return {"type": "audio", "audio": str(self.folder / "speech_5s_16k_mono.wav")}
        part = {"type": "video", "video": self.inputs["frames_landscape_u8"].numpy()}
        return {**part, "sound": self.sound("track_20s_16k_mono.wav")} if track else part

    def turn(self, text: str, *, track: bool = False) -> list[dict[str, Any]]:
        """Content parts of a text of the reference, its tag replaced by the medium."""
        for kind in ("image", "video", "audio"):
            tag = f"<{kind}>"
            if tag in text:
                return [self.part(kind, track=track), {"type": "text", "text": text.replace(tag, "").strip()}]
        return [{"type": "text", "text": text}]

    def case(self, case: str) -> Any:
        """Model inputs of a reference case, prepared by our processor in the original's inference mode."""
        content = self.turn(self.texts[case]["messages"][-1]["content"], track=case == "video_audio")
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.name == "a":
            messages.insert(0, {"role": "system", "content": videollama2.LLAMA2_SYSTEM_PROMPT})
        return self.processor.apply_chat_template(
            messages,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={
                "images_kwargs": {"aspect_ratio": "none"},
                "videos_kwargs": {"aspect_ratio": "none"},
                "audio_kwargs": {"audio_mode": "windows" if case == "video_audio" else "whole"},
            },
        )


@cache
def load_golden(name: str) -> Golden:
    """The reference model `name`, loaded once per test run."""
    return Golden(name)


@pytest.fixture
def golden_folder() -> Path:
    """Where the golden data lie; tests that need them are skipped where they are not."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden data at {GOLDEN}; set AI_THERAPIST_GOLDEN to the folder that holds videollama2/")
    return GOLDEN


@pytest.fixture(params=sorted(FOLDERS))
def golden(request: pytest.FixtureRequest, golden_folder: Path) -> Golden:
    """Each of the three reference models in turn."""
    return load_golden(request.param)


@pytest.fixture
def golden_av(golden_folder: Path) -> Golden:
    """The reference model with sound."""
    return load_golden("c")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML tokens, trained on two sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["I feel anxious and tired.", "That sounds hard; tell me more."], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None
    )


def tiny_model(**overrides: Any) -> tuple[Any, Any]:
    """A seeded tiny AV model in eval mode, and its processor."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = videollama2.tiny_config(len(tokenizer), **overrides)
    processor = videollama2.VideoLLaMA2Processor.from_config(config, tokenizer)
    processor.align(config)
    model: Any = videollama2.VideoLLaMA2Qwen2ForConditionalGeneration(config)
    return model.eval(), processor

"""transformers' other multimodal models load and take our messages, as far as their processors can be built."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.utils.import_utils import is_num2words_available, is_torchvision_available

from ai_therapist import videollama2
from tests.videollama2.conftest import tiny_tokenizer

_MEDIA: dict[str, Any] = {
    "image": np.full((30, 40, 3), 90, dtype=np.uint8),
    "video": np.full((4, 30, 40, 3), 90, dtype=np.uint8),
    "audio": np.linspace(-0.5, 0.5, 16_000, dtype=np.float32),
}
_QWEN_TOKENS = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
_OMNI_TOKENS = {"image": "<|IMAGE|>", "video": "<|VIDEO|>", "audio": "<|AUDIO|>"}
_PLAIN_TOKENS = {"image": "<image>", "video": "<video>"}
_MARKS = ("<|vision_start|>", "<|vision_end|>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
_TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6}}
_QWEN_VISION: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "window_size": 56,
    "fullatt_block_indexes": [0],
}
_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_QWEN_PIXELS = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}


class Saved:
    """A folder in the layout in which such a model is published, filled part by part."""

    def __init__(self, folder: Path, tokens: dict[str, str]) -> None:
        self.folder = folder
        self.tokens = tokens
        tokenizer = tiny_tokenizer()
        tokenizer.add_tokens([*tokens.values(), *_MARKS], special_tokens=True)
        self.ids: dict[str, Any] = {kind: tokenizer.convert_tokens_to_ids(token) for kind, token in tokens.items()}
        self.marks = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in _MARKS}
        self.text = {**_TEXT, "vocab_size": len(tokenizer)}
        self.tokenizer: Any = tokenizer

    def save(self, model_class: Any, config: Any, *parts: Any, **settings: Any) -> None:
        """Write model, tokenizer, chat template, processor parts (together, as published) and processor settings."""
        torch.manual_seed(0)
        model_class(config).save_pretrained(self.folder)
        self.tokenizer.save_pretrained(self.folder)
        branches = "".join(f"{{% if p['type'] == '{kind}' %}}{self.framed(kind)}{{% endif %}}" for kind in self.tokens)
        template = f"{{% for m in messages %}}{{% for p in m['content'] %}}{branches}{{{{ p['text'] or '' }}}}"
        (self.folder / "chat_template.jinja").write_text(template + "{% endfor %}{% endfor %}", encoding="utf-8")
        together = {name: value for part in parts for name, value in part.to_dict().items()}
        (self.folder / "preprocessor_config.json").write_text(json.dumps(together, default=list), encoding="utf-8")
        if settings:
            (self.folder / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")

    def framed(self, kind: str) -> str:
        """The placeholder as the model's template writes it: Qwen models frame pictures and clips."""
        start, end = ("<|vision_start|>", "<|vision_end|>") if self.tokens is _QWEN_TOKENS else ("", "")
        return f"{start}{self.tokens[kind]}{end}"


def _qwen(saved: Saved, name: str, vision: dict[str, Any]) -> None:
    config = getattr(transformers, f"{name}Config")(
        text_config={**saved.text, **_ROPE},
        vision_config=vision,
        image_token_id=saved.ids["image"],
        video_token_id=saved.ids["video"],
        vision_start_token_id=saved.marks["<|vision_start|>"],
        vision_end_token_id=saved.marks["<|vision_end|>"],
    )
    model_class = getattr(transformers, f"{name}ForConditionalGeneration")
    saved.save(model_class, config, Qwen2VLImageProcessorPil(size=_QWEN_PIXELS))


def _qwen2_5_vl(folder: Path) -> None:
    _qwen(Saved(folder, _QWEN_TOKENS), "Qwen2_5_VL", _QWEN_VISION)


def _qwen2_vl(folder: Path) -> None:
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2, "num_heads": 2}
    _qwen(Saved(folder, _QWEN_TOKENS), "Qwen2VL", vision)


def _qwen2_5_omni(folder: Path) -> None:
    saved = Saved(folder, _OMNI_TOKENS)
    names = {f"{kind}_token": token for kind, token in saved.tokens.items()}
    frames = {f"vision_{end}_token": f"<|vision_{word}|>" for end, word in (("bos", "start"), ("eos", "end"))}
    sound = {f"audio_{end}_token": f"<|vision_{word}|>" for end, word in (("bos", "start"), ("eos", "end"))}
    saved.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=saved.tokenizer._tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={**names, **frames, **sound},
    )
    audio = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    thinker = {
        "text_config": {**saved.text, **_ROPE},
        "vision_config": _QWEN_VISION,
        "audio_config": {**audio, "output_dim": 64, "num_mel_bins": 32},
        **{f"{kind}_token_id": token for kind, token in saved.ids.items()},
        "vision_start_token_id": saved.marks["<|vision_start|>"],
        "vision_end_token_id": saved.marks["<|vision_end|>"],
    }
    config = transformers.Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    pictures = Qwen2VLImageProcessorPil(size=_QWEN_PIXELS)
    sounds = transformers.WhisperFeatureExtractor(feature_size=32)
    saved.save(transformers.Qwen2_5OmniForConditionalGeneration, config, pictures, sounds)
    torch.save(
        {"Chelsie": {}}, folder / "spk_dict.pt"
    )  # the published repository has the voices of the spoken answer here


def _llava_onevision(folder: Path) -> None:
    saved = Saved(folder, _PLAIN_TOKENS)
    pins = [[28, 28], [56, 28]]
    config = transformers.LlavaOnevisionConfig(
        text_config={**saved.text, "model_type": "qwen2"},
        vision_config={**_TOWER, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=saved.ids["image"],
        video_token_index=saved.ids["video"],
        image_grid_pinpoints=pins,
    )
    pictures = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=pins)
    settings: dict[str, Any] = {"num_image_tokens": 4, "vision_feature_select_strategy": "full"}
    saved.save(transformers.LlavaOnevisionForConditionalGeneration, config, pictures, **settings)


def _smolvlm(folder: Path) -> None:
    saved = Saved(folder, _PLAIN_TOKENS)
    config = transformers.SmolVLMConfig(
        text_config={**saved.text, "model_type": "llama"},
        vision_config=_TOWER,
        image_token_id=saved.ids["image"],
        scale_factor=2,
    )
    edge = {"longest_edge": 28}
    pictures = SmolVLMImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    saved.save(transformers.SmolVLMForConditionalGeneration, config, pictures, image_seq_len=1)


def _llava(folder: Path) -> None:
    saved = Saved(folder, {"image": "<image>"})
    config = transformers.LlavaConfig(
        vision_config={**_TOWER, "model_type": "clip_vision_model"},
        text_config={**saved.text, "model_type": "llama"},
        image_token_index=saved.ids["image"],
    )
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    settings = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    saved.save(transformers.LlavaForConditionalGeneration, config, pictures, **settings)


def _inputs(processor: Any, kind: str) -> Any:
    content = [{"type": kind, kind: _MEDIA[kind]}, {"type": "text", "text": "What is it?"}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("build", "kinds", "clips"),
    [
        (_llava, ("image",), False),
        (_llava_onevision, ("image",), True),
        (_qwen2_vl, ("image",), True),
        (_qwen2_5_vl, ("image",), True),
        (_qwen2_5_omni, ("image", "audio"), True),
    ],
)
def test_a_native_model_answers_our_messages(
    tmp_path: Path, build: Callable[[Path], None], kinds: tuple[str, ...], clips: bool
) -> None:
    build(tmp_path)
    model, processor = videollama2.load(str(tmp_path))
    assert type(model).__module__.startswith("transformers.models.")
    for kind in kinds:
        inputs = _inputs(processor, kind)
        writer = getattr(model, "thinker", model)  # an Omni model's own `generate` wants its voice as well
        answer = writer.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
        assert answer.shape[1] == inputs["input_ids"].shape[1] + 2
    if clips and not is_torchvision_available():
        with pytest.raises(ImportError, match="clips need torchvision: install it, or give the frames as image parts"):
            _inputs(processor, "video")
        assert "video_processor" not in processor.to_dict()


def test_a_processor_that_needs_another_package_names_it(tmp_path: Path) -> None:
    _smolvlm(tmp_path)
    if is_num2words_available():
        _, processor = videollama2.load(str(tmp_path))
        assert _inputs(processor, "image")["pixel_values"].shape[-3:] == (3, 28, 28)
    else:
        with pytest.raises(ImportError, match="`num2words` is required"):
            videollama2.load(str(tmp_path))


def test_overrides_mean_nothing_to_a_native_model(tmp_path: Path) -> None:
    _llava(tmp_path)
    with pytest.raises(ValueError, match="no VideoLLaMA2"):
        videollama2.load(str(tmp_path), config_overrides={"tokens_per_clip": 4})


def test_a_model_of_text_alone_is_refused(tmp_path: Path) -> None:
    config = transformers.Qwen2Config(**_TEXT, vocab_size=300)
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'qwen2' model, which takes no media"):
        videollama2.load(str(tmp_path))

"""What the package imports and when, and what it offers to serving engines."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ai_therapist import videollama2
from tests.videollama2.conftest import tiny_model
from tests.videollama2.test_features import _inputs

_PACKAGE = Path(videollama2.__file__).parent
_ALLOWED = {"PIL", "av", "numpy", "safetensors", "tokenizers", "torch", "transformers"}


def test_only_the_named_libraries_are_imported() -> None:
    for file in sorted(_PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in _ALLOWED or top in sys.stdlib_module_names, f"{file.name} imports {name}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, ai_therapist.videollama2\nassert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_model_with_media_needs_no_vision_or_audio_extras() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    with torch.no_grad():
        model(**_inputs(processor))
    assert not {"torchvision", "torchaudio", "timm", "decord", "torchcodec"} & set(sys.modules)


def test_exports_equal_the_public_names() -> None:
    for name in videollama2.__all__:
        assert getattr(videollama2, name) is not None
    assert set(videollama2.__all__) == set(videollama2._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = videollama2.nothing


def test_registration_may_be_repeated() -> None:
    videollama2.register()
    videollama2.register()


def test_serving_engines_find_what_they_ask_for() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    assert model._supports_attention_backend
    assert model.get_encoder(modality="video") is model.model.vision_tower
    assert model.get_encoder(modality="audio") is model.model.audio_tower
    assert model.model.language_model is model.get_decoder()
    inputs = _inputs(processor)
    with torch.no_grad():
        video = model.get_video_features(inputs["pixel_values_videos"], return_dict=True).pooler_output
        as_tuple = model.get_video_features(inputs["pixel_values_videos"], return_dict=False)
    assert video.shape[0] * video.shape[1] == int((inputs["input_ids"] == processor.video_token_id).sum())
    assert torch.equal(as_tuple[-1], video)
    for method in ("replace_image_token", "replace_video_token", "replace_audio_token"):
        assert "NotImplementedError" not in inspect.getsource(getattr(type(processor), method))
    assert processor.video_token == "<video>"
    assert processor.audio_token == "<audio>"

"""The GPU benchmark runs whole on a tiny model on the CPU, and says so where there is no GPU."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ai_therapist import videollama2

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "videollama2.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module; it finds the other benchmarks' form beside its folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("gpu_benchmark", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(_SCRIPT)])
    return module


def test_the_tiny_model_goes_through_every_part(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "NEW_TOKENS", 4)
    figures = script.measure(videollama2.tiny_config(512, audio_tokens_per_clip=64), "cpu")
    assert figures["four_bit"]
    assert figures["prompt_tokens"] == 32 + 16 + 64
    assert {"device", "prefill_s", "tokens_per_s"} <= set(figures)
    assert figures["sdpa_eager_difference"] <= script.FLASH_LIMIT
    assert torch.get_default_dtype() == torch.float32


def test_the_published_shape_is_built(script: Any) -> None:
    with torch.device("meta"):
        model = videollama2.VideoLLaMA2Qwen2ForConditionalGeneration(script.published_shape())
    assert sum(weight.numel() for weight in model.parameters()) == 8_526_647_888
    assert model.config.num_video_tokens() + model.config.num_audio_tokens(script.FBANK_FRAMES) == 2848


def test_without_a_gpu_it_says_that_it_did_not_run(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == "not run: no CUDA device"
    assert json.loads(last)["holds"] is None

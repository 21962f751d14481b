"""The GPU benchmark of training runs whole on a tiny model on the CPU, and says so where there is no GPU."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2ForCausalLM

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "finetune.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module; it finds the other benchmarks beside its folder."""
    monkeypatch.setattr(sys, "path", [str(_SCRIPT.parents[1]), *sys.path])
    spec = importlib.util.spec_from_file_location("gpu_finetune_benchmark", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(_SCRIPT)])
    return module


def test_without_a_gpu_it_says_that_it_did_not_run(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == "not run: no CUDA device"
    assert json.loads(last)["holds"] is None


def test_the_tiny_model_goes_through_ours_and_the_plain_trainer(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(_SCRIPT), "--tiny"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["examples"] == script.LONG.pairs[0]
    assert figures["segments_recomputed_wall_s"] > 0
    assert figures["dense_recomputed_wall_s"] > 0
    assert figures["plain_wall_s"] > 0
    assert torch.get_default_dtype() == torch.float32


def test_the_published_shape_is_built(script: Any) -> None:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(script.shape(False))
    assert sum(weight.numel() for weight in model.parameters()) == 7_615_616_512

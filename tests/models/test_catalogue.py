"""Opening models by spec."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.models.catalogue import KINDS, open_model, sends_away


def test_the_embedded_classifier_opens_by_name() -> None:
    assert open_model("embedded").name.startswith("embedded@")


def test_a_script_opens_by_file(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"replies": ["a"]}))

    assert open_model(f"scripted:{path}").name.startswith("scripted@")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("embeded", "did you mean 'embedded'"),
        ("oracle", "known are embedded, gemini, openai, causal, videollama2, tuned, scripted"),
        ("", "known are"),
        ("scripted", "write scripted:FILE"),
        ("scripted:", "write scripted:FILE"),
        ("tuned", "needs a folder: write tuned:FOLDER"),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_model(spec)


def test_a_folder_without_a_tuned_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="holds no tuned model"):
        open_model(f"tuned:{tmp_path}")


def test_without_torch_a_tuned_model_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "ai_therapist.models.local", raising=False)

    with pytest.raises(MissingExtra, match=r"\[train\]"):
        open_model(f"tuned:{tmp_path}")


def test_naming_a_model_loads_nothing_heavy() -> None:
    code = (
        "import sys, ai_therapist.models.catalogue, ai_therapist.annotation.config\n"
        "sys.exit(bool({'numpy', 'torch', 'safetensors'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_kind_says_whether_it_sends_what_it_is_shown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert {name for name, kind in KINDS.items() if kind.sends_away()} == {"gemini", "openai"}
    monkeypatch.setitem(KINDS, "elsewhere", replace(KINDS["scripted"], sends_away=lambda: True))
    assert sends_away("elsewhere:model")
    assert not sends_away("nowhere")

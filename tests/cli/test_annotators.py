"""doctor says what each annotator needs; annotate and status say how the questions ended."""

from pathlib import Path

import pytest

from tests.annotation.builders import make_extraction
from tests.cli.conftest import Cli


def test_doctor_says_what_each_annotator_needs(run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT_ID", "GEMINI_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    shown = " ".join(run_cli("doctor").out.split())
    for spec in ("embedded", "gemini[:MODEL]", "openai:MODEL", "causal:FOLDER", "videollama2:FOLDER"):
        assert spec in shown
    assert "set PROJECT_ID" in shown
    assert "set OPENAI_API_KEY" in shown
    monkeypatch.setenv("GEMINI_API_KEY", "key-canary")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    shown = " ".join(run_cli("doctor").out.split())
    assert "set PROJECT_ID" not in shown
    assert "set OPENAI_API_KEY" not in shown
    assert "key-canary" not in shown


def test_annotate_and_status_say_how_the_questions_ended(run_cli: Cli, tmp_path: Path) -> None:
    make_extraction(tmp_path / "w", "one")
    done = run_cli("annotate", "-w", tmp_path / "w", "--set", "pipeline.executor=inline")
    assert done.code == 0
    assert "3 questions to annotators in 3 calls: 3 labels (100.0%)" in " ".join(done.out.split())
    assert "3 questions to annotators" in " ".join(run_cli("status", "-w", tmp_path / "w").out.split())


def test_faces_and_voices_without_a_notice_are_refused(run_cli: Cli, tmp_path: Path) -> None:
    make_extraction(tmp_path / "w", "one")
    done = run_cli("annotate", "-w", tmp_path / "w", "--set", "annotation.emotion_from_media=true")
    assert done.code == 2
    assert "Traceback" not in done.err

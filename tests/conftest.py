"""What every test gets: an empty workspace, counters of its own, and an environment without credentials."""

from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with nothing in it."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AI_THERAPIST_STATE", str(tmp_path / "state"))
    for name in ("HF_TOKEN", "GEMINI_API_KEY", "OPENAI_API_KEY", "ASSEMBLYAI_API_KEY", "YOUTUBE_API_KEY"):
        monkeypatch.delenv(name, raising=False)

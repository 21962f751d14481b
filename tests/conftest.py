"""What every test gets: an empty workspace, and an environment without credentials."""

from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with nothing in it."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "GEMINI_API_KEY", "OPENAI_API_KEY", "ASSEMBLYAI_API_KEY", "YOUTUBE_API_KEY"):
        monkeypatch.delenv(name, raising=False)

"""What every test gets: an empty workspace, counters of its own, and an environment without credentials."""

import os
from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace


def pytest_configure(config: pytest.Config) -> None:
    """Hides the GPU, so that every machine tests the same numbers; only `pytest -m gpu` sees it."""
    if "gpu" not in config.getoption("markexpr"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with nothing in it."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AI_THERAPIST_STATE", str(tmp_path / "state"))
    for name in ("HF_TOKEN", "GEMINI_API_KEY", "OPENAI_API_KEY", "ASSEMBLYAI_API_KEY", "YOUTUBE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_s3_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's keys, in no file, from no machine, and an address that nothing listens on."""
    fsspec = pytest.importorskip("fsspec")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()

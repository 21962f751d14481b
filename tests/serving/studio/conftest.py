"""The small study, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace
from tests.serving.studio.study import make_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that nobody may change."""
    workspace = make_study(tmp_path_factory.mktemp("study") / "study", ("one", "two", "words only"))
    workspace.index.close()
    return workspace.root


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Workspace:
    """A copy of the study."""
    return Workspace(Path(shutil.copytree(finished, tmp_path / "study")))

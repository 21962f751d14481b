"""One base for all tests of the room, computed with a single thread as the stages do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_therapist.finetuning.reproducible import one_thread
from tests.finetuning.builders import save_base


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the untuned base."""
    return save_base(tmp_path_factory.mktemp("base"))

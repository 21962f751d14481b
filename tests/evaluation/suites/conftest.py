"""Data sets that are at hand only where a user has put them; tests of them are skipped elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("AI_THERAPIST_SHARED", Path(__file__).parents[4] / "shared")) / "data"


@pytest.fixture
def shared_file() -> Callable[[str], Path]:
    """Gives a data file by its place, or skips with the reason."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"the data set file {name} is not at hand")
        return SHARED / name

    return find

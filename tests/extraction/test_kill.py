"""Killing the driver at any moment costs nothing: the resumed store is byte for byte that of a quiet run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ai_therapist.extraction.config import ExtractionConfig
from ai_therapist.extraction.run import extract
from ai_therapist.pipeline.executors import LocalExecutor
from ai_therapist.store.blobs import hash_file
from ai_therapist.store.workspace import Workspace
from tests.extraction.excerpts import SAMPLES, make_excerpts

ROOT = Path(__file__).parents[2]


def drive(root: Path, folder: Path) -> None:
    """What the driver process of the test does."""
    workspace = Workspace(root)
    extract(workspace, ExtractionConfig(), folder, LocalExecutor(workspace.store, 2))


def start(root: Path, folder: Path) -> subprocess.Popen[bytes]:
    call = f"from tests.extraction.test_kill import *; drive(Path({str(root)!r}), Path({str(folder)!r}))"
    return subprocess.Popen([sys.executable, "-c", call], cwd=ROOT)


def content(root: Path) -> dict[str, str]:
    """Digest of every file of the store that is there to stay."""
    return {
        path.relative_to(root).as_posix(): hash_file(path)
        for kind in ("cas", "act", "bad")
        for path in sorted((root / "store" / kind).rglob("*"))
        if path.is_file()
    }


def kill_and_compare(folder: Path, tmp_path: Path, kills: int, seed: int) -> int:
    """Kill a run `kills` times at random moments of the time that a quiet run takes; returns how many kills hit."""
    began = time.monotonic()
    assert start(tmp_path / "quiet", folder).wait() == 0
    quiet_s = time.monotonic() - began
    chance, hits = random.Random(seed), 0
    for _ in range(kills):
        driver = start(tmp_path / "killed", folder)
        try:
            # Short waits as well as long ones: the start, the work and the commits are all hit.
            driver.wait(chance.uniform(0.3, max(1.0, quiet_s / 3)))
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            hits += 1
    assert start(tmp_path / "killed", folder).wait() == 0
    assert content(tmp_path / "killed") == content(tmp_path / "quiet")
    assert not list((tmp_path / "killed" / "store" / "tmp").iterdir())
    return hits


def test_a_killed_extraction_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    folder = make_excerpts(tmp_path / "sessions", 6, "exams")
    assert kill_and_compare(folder, tmp_path, kills=6, seed=1) >= 3


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thirty_kills_over_all_samples(tmp_path: Path) -> None:
    assert kill_and_compare(SAMPLES, tmp_path, kills=30, seed=2) >= 20

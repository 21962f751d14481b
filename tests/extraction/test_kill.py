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
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.blobs import Store, hash_file
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


def kill_and_compare(folder: Path, tmp_path: Path, kills: int, seed: int) -> None:
    """Kill runs `kills` times at random moments and let them resume; each that completes must equal a quiet run."""
    began = time.monotonic()
    assert start(tmp_path / "quiet", folder).wait() == 0
    quiet_s, quiet = time.monotonic() - began, content(tmp_path / "quiet")
    chance, hits, root = random.Random(seed), 0, tmp_path / "killed-0"
    while hits < kills:
        driver = start(root, folder)
        try:
            # Short waits as well as long ones: the start, the work and the commits are all hit.
            assert driver.wait(chance.uniform(0.3, max(1.0, quiet_s / 3))) == 0
            assert content(root) == quiet
            root = tmp_path / f"killed-{hits}"
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            hits += 1
    assert start(root, folder).wait() == 0
    assert content(root) == quiet
    # A worker of the last kill may have outlived its driver by a moment: the next run sweeps what it left.
    Store(root / "store").sweep()
    assert not list((root / "store" / "tmp").iterdir())


def test_a_killed_extraction_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    folder = make_excerpts(tmp_path / "sessions", 4, "exams")
    kill_and_compare(folder, tmp_path, kills=6, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thirty_kills_over_all_samples(tmp_path: Path) -> None:
    kill_and_compare(SAMPLES, tmp_path, kills=30, seed=2)

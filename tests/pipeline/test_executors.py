"""What becomes of workers whose driver is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ai_therapist.pipeline.executors import LocalExecutor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig, Task
from ai_therapist.store.blobs import Store

KEY = "0" * 64
ROOT = Path(__file__).parents[2]


def announce_and_wait(job: Job) -> None:
    """Tell the process id, then take for ever."""
    (job.work / "pid").write_text(str(os.getpid()))
    time.sleep(600)


def drive_for_ever(root: Path) -> None:
    """What the driver process of the test does."""
    stage = Stage("test.wait", 1, announce_and_wait, (), ("nothing",), StageConfig())
    executor = LocalExecutor(Store(root), workers=1)
    executor.submit(Task(stage, "one", {}, KEY))
    executor.next(600)


def test_a_worker_ends_soon_after_its_driver_is_killed(tmp_path: Path) -> None:
    call = f"from tests.pipeline.test_executors import *; drive_for_ever(Path({str(tmp_path)!r}))"
    driver = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT)
    pid_file = tmp_path / "work" / KEY / "pid"
    try:
        _wait_for(lambda: pid_file.exists() and pid_file.read_text() != "", 60)
        worker = int(pid_file.read_text())
        assert _is_running(worker)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    _wait_for(lambda: not _is_running(worker), 10)
    assert not _is_running(worker)


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    # A zombie that its new parent has not collected yet runs no more.
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

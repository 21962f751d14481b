"""What counts as a failure of the item and what does not: runs that were killed, and tasks that were lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_therapist.pipeline.driver import Item, drive
from ai_therapist.pipeline.executors import InlineExecutor, Lost, Outcome, run_guarded
from ai_therapist.pipeline.stage import Stage, Task
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.blobs import Store
from ai_therapist.store.workspace import Status, Workspace
from tests.pipeline import stages as functions
from tests.pipeline.stages import Settings


def one(workspace: Workspace, function: object = functions.upper, **options: object) -> tuple[list[Stage], list[Item]]:
    settings = Settings(marks=str(workspace.root / "marks"))
    stage = Stage("test.first", 1, function, ("text",), ("upper",), settings, **options)  # type: ignore[arg-type]
    return [stage], [Item("i", "item", {"text": workspace.store.put_bytes(b"a")})]


def leave_behind(workspace: Workspace, key: str, times: int) -> None:
    """What a run that was killed while the action of `key` was at work leaves, `times` times over."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for _ in range(times):
        with workspace.store.scratch(key) as folder:
            name = folder.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
            (folder.parent / name).mkdir()
        workspace.store.sweep()


def test_a_run_that_was_killed_counts_an_orphan_and_no_failure(workspace: Workspace) -> None:
    plan, items = one(workspace)
    key = plan[0].key(plan[0].inputs(items[0].artefacts))
    leave_behind(workspace, key, 4)
    assert workspace.store.orphaned(key) == 4
    (record,) = drive(workspace, plan, items, InlineExecutor(workspace.store))
    assert record.status is Status.DONE
    assert workspace.store.orphaned(key) == 0
    # A folder of an action that was finished after all says nothing.
    leave_behind(workspace, key, 1)
    assert workspace.store.orphaned(key) == 0


def test_what_is_at_work_at_every_kill_is_taken_for_the_cause_until_it_is_released(workspace: Workspace) -> None:
    plan, items = one(workspace)
    key = plan[0].key(plan[0].inputs(items[0].artefacts))
    leave_behind(workspace, key, 5)
    for _ in range(2):
        (record,) = drive(workspace, plan, items, InlineExecutor(workspace.store))
        assert record.status is Status.QUARANTINED
        assert record.reason == "test.first was at work on it each of 5 times that the run was killed"
    workspace.store.release(key)
    (record,) = drive(workspace, plan, items, InlineExecutor(workspace.store))
    assert record.status is Status.DONE


def test_a_worker_that_dies_is_a_failure_and_no_orphan(workspace: Workspace) -> None:
    plan, _ = one(workspace, functions.die, attempts=2)
    items = [Item("i", "item", {"text": workspace.store.put_bytes(b"bad")})]
    (record,) = drive(workspace, plan, items, LocalExecutor(workspace.store, 1))
    assert record.reason == "the worker of test.first died"
    key = plan[0].key(plan[0].inputs(items[0].artefacts))
    workspace.store.release(key)
    workspace.store.sweep()
    assert workspace.store.orphaned(key) == 0


def test_an_unnamed_folder_of_a_dead_process_is_swept_and_counts_for_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.send_signal(signal.SIGKILL)
    gone.wait()
    with store.scratch() as folder:
        (folder.parent / folder.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")).mkdir()
    assert store.sweep() == 1
    assert list((tmp_path / "work").iterdir()) == []


@dataclass
class Losing:
    """An executor that loses each task some times before it runs it."""

    store: Store
    losses: int
    capacity: int = 1
    queue: deque[Task] = field(default_factory=deque)
    seen: int = 0

    def submit(self, task: Task) -> None:
        self.queue.append(task)

    def next(self, timeout_s: float) -> tuple[Task, Outcome] | None:
        task = self.queue.popleft()
        self.seen += 1
        if self.seen <= self.losses:
            return task, Lost("the node went away")
        return task, run_guarded(self.store, task)

    def close(self) -> None:
        self.queue.clear()


@pytest.mark.parametrize(("losses", "status"), [(4, Status.DONE), (5, Status.QUARANTINED)])
def test_a_lost_task_is_no_failure_unless_it_is_there_at_every_loss(
    losses: int, status: Status, workspace: Workspace
) -> None:
    plan, items = one(workspace, attempts=1)
    (record,) = drive(workspace, plan, items, Losing(workspace.store, losses))
    assert record.status is status
    assert record.reason in (None, "the node went away, 5 times")

"""Executors hand back every task once, whatever becomes of their workers."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_therapist.pipeline.executors import InlineExecutor, Ok, Outcome
from ai_therapist.pipeline.stage import Stage, Task
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.store.workspace import Workspace
from tests.pipeline import stages as functions
from tests.pipeline.stages import Settings


def task(workspace: Workspace, folder: Path, text: bytes) -> Task:
    stage = Stage("test.first", 1, functions.upper, ("text",), ("upper",), Settings(marks=str(folder)))
    inputs = {"text": workspace.store.put_bytes(text)}
    return Task(stage, text.decode(), inputs, stage.key(inputs))


@pytest.fixture
def local(workspace: Workspace) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(workspace.store, 2)
    yield executor
    executor.close()


def finish(executor: LocalExecutor | InlineExecutor, count: int) -> dict[str, Outcome]:
    finished: dict[str, Outcome] = {}
    until = time.monotonic() + 60
    while len(finished) < count and time.monotonic() < until:
        result = executor.next(0.5)
        if result is not None:
            assert result[0].item not in finished
            finished[result[0].item] = result[1]
    return finished


def test_nothing_comes_of_nothing(workspace: Workspace, local: LocalExecutor) -> None:
    assert InlineExecutor(workspace.store).next(0.1) is None
    assert local.next(0.1) is None


def test_a_closed_inline_executor_forgets_its_queue(workspace: Workspace, tmp_path: Path) -> None:
    executor = InlineExecutor(workspace.store)
    executor.submit(task(workspace, tmp_path, b"a"))
    executor.close()
    assert executor.next(0.1) is None


def test_workers_that_die_between_tasks_are_replaced(
    workspace: Workspace, tmp_path: Path, local: LocalExecutor
) -> None:
    local.submit(task(workspace, tmp_path, b"a"))
    assert isinstance(finish(local, 1)["a"], Ok)
    for worker in local._workers:
        os.kill(worker.process.pid or 0, signal.SIGKILL)
    for text in (b"b", b"c", b"d"):
        local.submit(task(workspace, tmp_path, text))
    results = finish(local, 3)
    assert set(results) == {"b", "c", "d"}
    lost = [outcome for outcome in results.values() if not isinstance(outcome, Ok)]
    assert all("died" in outcome.reason for outcome in lost)
    local.submit(task(workspace, tmp_path, b"e"))
    assert isinstance(finish(local, 1)["e"], Ok)


def test_workers_have_the_environment_of_their_start(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage("test.environment", 1, functions.environment, ("text",), ("upper",), Settings())
    for said in ("one thing", "another"):
        monkeypatch.setenv("SAID_TO_WORKERS", said)
        inputs = {"text": workspace.store.put_bytes(said.encode())}
        executor = LocalExecutor(workspace.store, 1)
        executor.submit(Task(stage, said, inputs, stage.key(inputs)))
        outcome = finish(executor, 1)[said]
        executor.close()
        assert isinstance(outcome, Ok)
        assert workspace.store.read(outcome.record.outputs["upper"]) == said.encode()

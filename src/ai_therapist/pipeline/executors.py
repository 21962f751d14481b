"""Where tasks run: the protocol, and running in this process. Wherever they run, the store's bytes are the same."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ai_therapist.errors import ItemError, Postponed, RequestError, StoreError, TransientError
from ai_therapist.pipeline.memory import limited_memory
from ai_therapist.pipeline.stage import Progress, Task, ignore_progress, run_task
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.blobs import Store


@dataclass(frozen=True)
class Ok:
    """The task's action is committed."""

    record: ActionRecord


@dataclass(frozen=True)
class Failed:
    """The task did not finish. `permanent` says that another attempt would fail the same way."""

    reason: str
    permanent: bool
    postponed: bool = False
    """Nothing is wrong with the item: the next run shall try it again without being told to."""
    worker_died: bool = False
    """The worker was killed, by the task or for the time it took."""


@dataclass(frozen=True)
class Lost:
    """The task went down with something that it did not bring down; it counts as no attempt."""

    reason: str


Outcome = Ok | Failed | Lost


class Executor(Protocol):
    """Runs tasks and hands back each one once, with what became of it."""

    @property
    def capacity(self) -> int:
        """How many tasks make progress at the same time."""

    def submit(self, task: Task) -> None:
        """Take a task in."""

    def next(self, timeout_s: float) -> tuple[Task, Outcome] | None:
        """A finished task, or None when none finished in time. Raises RequestError of a task as it is."""

    def close(self) -> None:
        """Stop at once; running tasks leave nothing behind but private folders."""


def run_guarded(store: Store, task: Task, progress: Progress = ignore_progress) -> Ok | Failed:
    """Run a task and turn its failure into a value, unless it is not the fault of the item.

    Raises RequestError where the whole request is wrong, and StoreError where the disk fails.
    This is the stage boundary: an error that no one foresaw costs its item, not the batch. Its message is left
    out, since it may quote what people said.
    """
    try:
        return Ok(run_task(store, task, progress))
    except ItemError as error:
        return Failed(str(error), permanent=True)
    except TransientError as error:
        return Failed(str(error), permanent=False)
    except Postponed as error:
        return Failed(str(error), permanent=True, postponed=True)
    except (RequestError, StoreError):
        raise
    except MemoryError:
        return Failed(f"{task.stage.name} needs more memory than it may take", permanent=True)
    except Exception as error:
        if os.environ.get("AI_THERAPIST_DEBUG"):
            raise
        return Failed(f"{task.stage.name} failed with {type(error).__name__}{_origin(error)}", permanent=False)


def run_for_driver(store: Store, task: Task) -> Outcome | RequestError | StoreError:
    """Run a task elsewhere than in the driver's process; an error that stops the whole run comes as a value."""
    try:
        with limited_memory(task.stage.memory_mb):
            return run_guarded(store, task)
    except (RequestError, StoreError) as error:
        return error


def died(task: Task) -> Failed:
    """What a task has come to whose worker died while it worked on it."""
    return Failed(f"the worker of {task.stage.name} died", permanent=False, worker_died=True)


def late(task: Task) -> Failed:
    """What a task has come to that was stopped for the time it took."""
    reason = f"{task.stage.name} took longer than {task.stage.timeout_s:g} s"
    return Failed(reason, permanent=False, worker_died=True)


def _origin(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"


class InlineExecutor:
    """Runs each task in this process when it is asked for; no timeouts. For tests, debugging and training."""

    capacity = 1

    def __init__(self, store: Store, progress: Progress = ignore_progress) -> None:
        self._store = store
        self._progress = progress
        self._queue: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append(task)

    def next(self, timeout_s: float) -> tuple[Task, Outcome] | None:
        """Run the oldest queued task to its end, however long it takes."""
        if not self._queue:
            return None
        task = self._queue.popleft()
        return task, run_guarded(self._store, task, self._progress)

    def close(self) -> None:
        """Forget what is queued."""
        self._queue.clear()

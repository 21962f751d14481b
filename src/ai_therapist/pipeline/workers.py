"""Worker processes of this machine: a task that hangs or kills its worker costs only itself.

Each worker has a pipe of its own and no lock is shared, so a worker may be killed at any moment without leaving another
one, or the driver, waiting for what it held.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ai_therapist.errors import RequestError, StoreError
from ai_therapist.pipeline import local_only
from ai_therapist.pipeline.executors import Failed, Lost, Ok, Outcome, died, late, run_for_driver
from ai_therapist.pipeline.stage import Task
from ai_therapist.store.blobs import Store

_PICKED_UP = "picked up"
_MOST_FAILED_STARTS = 5


@dataclass
class _Worker:
    """One process, and the task that it was sent."""

    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    until_s: float | None = None
    """When the task has to be finished; None until the worker has picked it up."""

    def kill(self) -> None:
        """End the process and what it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.pipe.close()


class LocalExecutor:
    """Runs tasks in long-lived worker processes. A worker that dies is replaced."""

    def __init__(self, store: Store, workers: int) -> None:
        self.capacity = workers
        self._store = store
        self._queue: deque[Task] = deque()
        self._failed_starts = 0
        self._workers = [self._start() for _ in range(workers)]

    def submit(self, task: Task) -> None:
        """Take a task in; the first idle worker gets it."""
        self._queue.append(task)
        self._send()

    def next(self, timeout_s: float) -> tuple[Task, Outcome] | None:
        """A task that finished, failed, ran out of time or lost its worker.

        Raises RequestError and StoreError of a task as they are, and StoreError where workers do not start.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            self._send()
            for place, worker in enumerate(self._workers):
                if worker.until_s is not None and time.monotonic() >= worker.until_s:
                    return self._late(place)
            deadlines = [until_s, *(w.until_s for w in self._workers if w.until_s is not None)]
            pipes = {worker.pipe: place for place, worker in enumerate(self._workers)}
            ready = wait(list(pipes), max(0.0, min(deadlines) - time.monotonic()))
            for pipe in ready:
                finished = self._hear(pipes[pipe])  # type: ignore[index]
                if finished is not None:
                    return finished
            if not ready and time.monotonic() >= until_s:
                return None

    def close(self) -> None:
        """Kill the workers."""
        self._queue.clear()
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def _start(self) -> _Worker:
        # Forked from a server that has loaded what every worker needs and nothing else: workers start at once, and
        # inherit no threads, locks or pipes of the caller.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        ours, theirs = context.Pipe()
        # The server has the environment of the moment at which it was started.
        process = context.Process(target=_serve, args=(self._store, theirs, dict(os.environ)), daemon=True)
        process.start()
        # The end of the worker must be open in the worker alone, or its death would not be heard.
        theirs.close()
        return _Worker(process, ours)

    def _send(self) -> None:
        for place, worker in enumerate(self._workers):
            if worker.task is None and self._queue:
                worker.task = self._queue.popleft()
                try:
                    worker.pipe.send(worker.task)
                except OSError:
                    self._queue.appendleft(worker.task)
                    self._replace(place)

    def _hear(self, place: int) -> tuple[Task, Outcome] | None:
        """What a worker has to say: a finished task, or None where it has only begun one or died without one."""
        worker = self._workers[place]
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            return self._died(place)
        task = worker.task
        if said == _PICKED_UP and task is not None:
            self._failed_starts = 0
            worker.until_s = time.monotonic() + task.stage.timeout_s
            return None
        worker.task = worker.until_s = None
        if isinstance(said, RequestError | StoreError):
            raise said
        if task is None or not isinstance(said, Ok | Failed):
            return None
        return task, said

    def _died(self, place: int) -> tuple[Task, Outcome] | None:
        worker = self._workers[place]
        task, begun = worker.task, worker.until_s is not None
        self._replace(place)
        if task is None:
            return None
        if begun:
            return task, died(task)
        return task, Lost(f"a worker died before it began {task.stage.name}")

    def _late(self, place: int) -> tuple[Task, Outcome] | None:
        task = self._workers[place].task
        self._replace(place)
        return None if task is None else (task, late(task))

    def _replace(self, place: int) -> None:
        self._failed_starts += self._workers[place].until_s is None
        if self._failed_starts > _MOST_FAILED_STARTS * self.capacity:
            raise StoreError("worker processes die before they begin anything: run with --set pipeline.executor=inline")
        self._workers[place].kill()
        self._workers[place] = self._start()


def _serve(store: Store, pipe: Connection, environment: dict[str, str]) -> None:
    """What a worker process does until its driver is gone."""
    # A group of its own: a task that is killed for its time takes what it started with it, and Ctrl-C is the driver's.
    os.setsid()
    local_only.watch()
    threading.Thread(target=_end_with_driver, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    # One task per core: libraries that start a thread per core would make the workers fight.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with contextlib.suppress(EOFError, OSError):
        while True:
            task: Task = pipe.recv()
            pipe.send(_PICKED_UP)
            pipe.send(run_for_driver(store, task))


def _end_with_driver() -> None:
    # A driver that is killed cannot stop its workers; what they leave is swept by the next run.
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os.killpg(0, signal.SIGKILL)

"""Tasks on a Ray cluster: the same stages, the same bytes in the store, which every node must reach at the same path.

One actor for each processor that the cluster has. An actor lives until the run ends, so what a stage function keeps in
its process (a loaded model) stays loaded. Ray retries nothing: the driver owns retries, or a paid call might be made
twice behind its back.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from ai_therapist.errors import MissingExtra, RequestError, StoreError
from ai_therapist.pipeline.executors import Failed, Lost, Ok, Outcome, died, late, run_for_driver
from ai_therapist.pipeline.stage import Task
from ai_therapist.store.blobs import Store

_SHORTEST_WAIT_S = 0.01


class _Slot:
    """What one actor does: it runs the tasks that it is sent, one after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def node(self) -> str:
        """Id of the node that the actor runs on."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def run(self, task: Task) -> Outcome | Exception:
        """What became of a task; an error that stops the whole run comes as a value."""
        return run_for_driver(self._store, task)


@dataclass
class _Actor:
    """One actor, what it was asked last, and the task it has."""

    handle: Any
    answer: Any
    """What the actor will say, or None while it has nothing to do."""
    node: str | None = None
    """None until the actor has started."""
    task: Task | None = None
    until_s: float = 0.0


class RayExecutor:
    """Runs tasks on the cluster that RAY_ADDRESS names, or on a cluster of this machine alone."""

    def __init__(self, store: Store, workers: int = 0) -> None:
        """Use `workers` actors; 0 takes one per processor of the cluster. Raises MissingExtra without Ray."""
        try:
            import ray
        except ModuleNotFoundError:
            raise MissingExtra("--executor ray", "ray", "ray") from None
        # Its types do not know what its decorators make.
        self._ray: Any = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.capacity = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        # Workers of a cluster start in folders of their own.
        self._store = store.resolved()
        self._make = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Slot)
        self._queue: deque[Task] = deque()
        self._actors = [self._start() for _ in range(self.capacity)]

    def submit(self, task: Task) -> None:
        """Take a task in; the first idle actor gets it."""
        self._queue.append(task)
        self._send()

    def next(self, timeout_s: float) -> tuple[Task, Outcome] | None:
        """A task that finished, failed, ran out of time, or lost its actor or node.

        Raises RequestError and StoreError of a task as they are.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            self._send()
            now_s = time.monotonic()
            overdue = next((a for a in self._actors if a.task is not None and now_s >= a.until_s), None)
            if overdue is not None:
                return self._late(overdue)
            asked = {actor.answer: actor for actor in self._actors if actor.answer is not None}
            deadlines = [until_s, *(actor.until_s for actor in self._actors if actor.task is not None)]
            wait_s = max(_SHORTEST_WAIT_S, min(deadlines) - now_s)
            ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=wait_s)
            for answer in ready:
                finished = self._hear(asked[answer])
                if finished is not None:
                    return finished
            if not ready and time.monotonic() >= until_s:
                return None

    def close(self) -> None:
        """Kill the actors, and the cluster where it was started for this run."""
        self._queue.clear()
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []
        if self._started_here:
            self._ray.shutdown()

    def _start(self) -> _Actor:
        handle = self._make.remote(self._store)
        return _Actor(handle, handle.node.remote())

    def _send(self) -> None:
        for actor in self._actors:
            if self._queue and actor.node is not None and actor.task is None:
                actor.task = self._queue.popleft()
                actor.until_s = time.monotonic() + actor.task.stage.timeout_s
                actor.answer = actor.handle.run.remote(actor.task)

    def _hear(self, actor: _Actor) -> tuple[Task, Outcome] | None:
        try:
            said = self._ray.get(actor.answer)
        except self._ray.exceptions.RayError:
            return self._died(actor)
        if actor.task is None:
            actor.node, actor.answer = said, None
            return None
        task, actor.task, actor.answer = actor.task, None, None
        if isinstance(said, RequestError | StoreError):
            raise said
        return task, said if isinstance(said, Ok | Failed) else Lost(f"{task.stage.name} gave no answer")

    def _died(self, actor: _Actor) -> tuple[Task, Outcome] | None:
        task, node = actor.task, actor.node
        self._replace(actor)
        if task is None:
            return None
        if not self._is_alive(node):
            return task, Lost(f"the node that ran {task.stage.name} went away")
        return task, died(task)

    def _late(self, actor: _Actor) -> tuple[Task, Outcome] | None:
        task = actor.task
        self._ray.kill(actor.handle)
        self._replace(actor)
        return None if task is None else (task, late(task))

    def _replace(self, actor: _Actor) -> None:
        """Another actor in its place; where no node has room for it, it waits and the others go on."""
        self._actors[self._actors.index(actor)] = self._start()

    def _is_alive(self, node: str | None) -> bool:
        return any(known["NodeID"] == node and known["Alive"] for known in self._ray.nodes())

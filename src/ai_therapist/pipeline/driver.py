"""Walks every item through the stages: what is in the store is taken, what is missing is run, nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Protocol

from ai_therapist.pipeline.executors import Executor, Failed
from ai_therapist.pipeline.stage import Stage, Task
from ai_therapist.store.actions import ActionRecord, QuarantineRecord
from ai_therapist.store.workspace import ItemRecord, Status, Workspace

_POLL_S = 0.5


@dataclass(frozen=True)
class Item:
    """What goes through the stages: an id, a readable name and the artefacts it starts with."""

    id: str
    name: str
    artefacts: dict[str, str]


class Observer(Protocol):
    """Is told what happens, for a progress bar or a log."""

    def planned(self, stages: Sequence[str], items: int) -> None:
        """The run will take `items` items through `stages`."""

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        """One stage of one item is in the store; `reused` where it was there before."""

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        """One attempt failed; `final` where the item is now quarantined."""


class Unobserved:
    """An observer that ignores everything."""

    def planned(self, stages: Sequence[str], items: int) -> None:
        """Ignored."""

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        """Ignored."""

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        """Ignored."""


@dataclass
class _Walk:
    """How far one item has come."""

    item: Item
    artefacts: dict[str, str]
    waiting: list[Stage]
    running: int = 0
    actions: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    postponed: bool = False

    def ready(self) -> list[Stage]:
        """Stages whose needs no stage that is still to finish gives."""
        if self.failure is not None:
            return []
        open_names = [name for stage in self.unfinished for name in stage.gives]
        return [
            stage
            for stage in self.waiting
            if not any(_meets(need, name) for need in stage.needs for name in open_names)
        ]

    unfinished: list[Stage] = field(default_factory=list)

    def take(self, stage: Stage, record: ActionRecord) -> None:
        """Enter a finished stage."""
        self.unfinished.remove(stage)
        self.artefacts |= record.outputs
        self.actions.append(record.key)
        for name, number in record.counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def result(self) -> ItemRecord:
        """The item's line in the ledger."""
        failed = Status.SKIPPED if self.postponed else Status.QUARANTINED
        return ItemRecord(
            item=self.item.id,
            name=self.item.name,
            status=Status.DONE if self.failure is None else failed,
            reason=self.failure,
            artefacts=self.artefacts,
            actions=tuple(sorted(self.actions)),
            counts=self.counts,
        )


def drive(
    workspace: Workspace,
    stages: Sequence[Stage],
    items: Sequence[Item],
    executor: Executor,
    observer: Observer | None = None,
) -> tuple[ItemRecord, ...]:
    """Take every item as far through `stages` as it goes; returns one record per item, in the given order.

    Stages are listed so that each needs only what items start with and earlier stages give. A stage whose action
    is in the store is not run again; one that fails is tried `attempts` times, then its item is quarantined with
    the reason and stays so until it is released; one that must wait skips its item until the next run. The executor is
    closed at the end. Raises RequestError as soon as a stage does.
    """
    watch = observer or Unobserved()
    watch.planned([stage.name for stage in stages], len(items))
    workspace.store.sweep()
    walks = {item.id: _Walk(item, dict(item.artefacts), list(stages), unfinished=list(stages)) for item in items}
    driver = _Driver(workspace, executor, watch, walks)
    try:
        driver.run()
    finally:
        executor.close()
    return tuple(walks[item.id].result() for item in items)


class _Driver:
    def __init__(self, workspace: Workspace, executor: Executor, watch: Observer, walks: dict[str, _Walk]) -> None:
        self._workspace = workspace
        self._executor = executor
        self._watch = watch
        self._walks = walks
        self._in_flight = 0

    def run(self) -> None:
        queue = list(self._walks.values())
        while queue or self._in_flight:
            # A short queue at the executor keeps memory flat and lets items finish one after another.
            while queue and self._in_flight < 2 * self._executor.capacity:
                self._advance(queue.pop(0))
            finished = self._executor.next(_POLL_S) if self._in_flight else None
            if finished is None:
                continue
            task, outcome = finished
            self._in_flight -= 1
            walk = self._walks[task.item]
            walk.running -= 1
            if isinstance(outcome, Failed):
                self._retry_or_quarantine(walk, task, outcome)
            else:
                self._workspace.index.add(outcome.record)
                walk.take(task.stage, outcome.record)
                self._watch.finished(task.stage.name, walk.item.name, reused=False)
            self._advance(walk)

    def _advance(self, walk: _Walk) -> None:
        """Take from the store what is there and submit what is not."""
        while ready := walk.ready():
            for stage in ready:
                walk.waiting.remove(stage)
                inputs = stage.inputs(walk.artefacts)
                key = stage.key(inputs)
                done = self._workspace.store.action(key)
                if done is not None:
                    walk.take(stage, done)
                    self._watch.finished(stage.name, walk.item.name, reused=True)
                    continue
                known = self._workspace.store.quarantined(key)
                if known is not None:
                    walk.failure = known.reason
                    self._watch.failed(stage.name, walk.item.name, known.reason, final=True)
                    return
                self._submit(walk, Task(stage, walk.item.id, inputs, key))

    def _submit(self, walk: _Walk, task: Task) -> None:
        walk.running += 1
        self._in_flight += 1
        self._executor.submit(task)

    def _retry_or_quarantine(self, walk: _Walk, task: Task, outcome: Failed) -> None:
        final = outcome.permanent or task.attempt >= task.stage.attempts
        self._watch.failed(task.stage.name, walk.item.name, outcome.reason, final=final)
        if not final:
            self._submit(walk, replace(task, attempt=task.attempt + 1))
            return
        walk.failure = outcome.reason
        if outcome.postponed:
            walk.postponed = True
            return
        self._workspace.store.quarantine(
            QuarantineRecord(
                key=task.key,
                stage=task.stage.name,
                item=task.item,
                reason=outcome.reason,
                attempts=task.attempt,
            )
        )


def _meets(need: str, name: str) -> bool:
    return need == name or fnmatchcase(name, need) or fnmatchcase(need, name)

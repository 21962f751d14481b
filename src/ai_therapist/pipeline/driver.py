"""Walks every item through the stages: what is in the store is taken, what is missing is run, nothing is lost."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Protocol

from ai_therapist.pipeline.executors import Executor, Failed, Lost, Ok
from ai_therapist.pipeline.stage import Stage, Task
from ai_therapist.store.actions import QuarantineRecord
from ai_therapist.store.workspace import ItemRecord, Status, Workspace

_POLL_S = 0.5
_MOST_LOSSES = 5
"""So often may an action be in work when a run or a node dies; then it is taken for the cause."""
_MANY_QUESTIONS = 500
"""From so many actions on, one look at the whole store is faster than asking for each."""


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


@dataclass(frozen=True)
class _Plan:
    """The stages, and for each the places of those that must be finished before it."""

    stages: tuple[Stage, ...]
    after: tuple[frozenset[int], ...]

    @classmethod
    def of(cls, stages: Sequence[Stage]) -> _Plan:
        return cls(
            tuple(stages),
            tuple(
                frozenset(
                    place
                    for place, other in enumerate(stages)
                    if other is not stage and any(_meets(need, name) for need in stage.needs for name in other.gives)
                )
                for stage in stages
            ),
        )


@dataclass
class _Walk:
    """How far one item has come."""

    item: Item
    artefacts: dict[str, str]
    plan: _Plan
    waiting: list[int]
    """Places of the stages that were neither found nor submitted."""
    unfinished: set[int]
    actions: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    postponed: bool = False

    @classmethod
    def start(cls, item: Item, plan: _Plan) -> _Walk:
        places = range(len(plan.stages))
        return cls(item, dict(item.artefacts), plan, list(places), set(places))

    def ready(self) -> list[int]:
        """Stages whose needs no stage that is still to finish gives."""
        if self.failure is not None:
            return []
        return [place for place in self.waiting if self.plan.after[place].isdisjoint(self.unfinished)]

    def take(self, place: int, key: str, outputs: dict[str, str], counts: dict[str, int]) -> None:
        """Enter a finished stage."""
        self.unfinished.remove(place)
        self.artefacts |= outputs
        self.actions.append(key)
        for name, number in counts.items():
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
    plan = _Plan.of(stages)
    walks = {item.id: _Walk.start(item, plan) for item in items}
    driver = _Driver(workspace, executor, watch, plan, walks)
    try:
        driver.run()
    finally:
        executor.close()
    return tuple(walks[item.id].result() for item in items)


class _Driver:
    def __init__(
        self, workspace: Workspace, executor: Executor, watch: Observer, plan: _Plan, walks: dict[str, _Walk]
    ) -> None:
        self._workspace = workspace
        self._executor = executor
        self._watch = watch
        self._plan = plan
        self._walks = walks
        self._found = _Found.at_start(workspace, len(plan.stages) * len(walks))
        self._in_flight: dict[tuple[str, str], int] = {}
        self._lost: dict[str, int] = {}

    def run(self) -> None:
        queue = deque(self._walks.values())
        while queue or self._in_flight:
            # A short queue at the executor keeps memory flat and lets items finish one after another.
            while queue and len(self._in_flight) < 2 * self._executor.capacity:
                self._advance(queue.popleft())
            finished = self._executor.next(_POLL_S) if self._in_flight else None
            if finished is None:
                continue
            task, outcome = finished
            place = self._in_flight.pop((task.item, task.key))
            walk = self._walks[task.item]
            if isinstance(outcome, Ok):
                record = outcome.record
                self._workspace.index.add(record)
                walk.take(place, record.key, record.outputs, record.counts)
                self._watch.finished(task.stage.name, walk.item.name, reused=False)
            elif isinstance(outcome, Lost):
                self._submit_again_or_give_up(walk, place, task, outcome)
            else:
                self._retry_or_quarantine(walk, place, task, outcome)
            self._advance(walk)

    def _advance(self, walk: _Walk) -> None:
        """Take from the store what is there and submit what is not."""
        while ready := walk.ready():
            for place in ready:
                stage = self._plan.stages[place]
                walk.waiting.remove(place)
                inputs = stage.inputs(walk.artefacts)
                key = stage.key(inputs)
                done = self._found.get(key)
                if done is not None:
                    walk.take(place, key, *done)
                    self._watch.finished(stage.name, walk.item.name, reused=True)
                    continue
                reason = self._known_failure(stage, walk, key)
                if reason is not None:
                    walk.failure = reason
                    self._watch.failed(stage.name, walk.item.name, reason, final=True)
                    return
                self._submit(place, Task(stage, walk.item.id, inputs, key))

    def _known_failure(self, stage: Stage, walk: _Walk, key: str) -> str | None:
        """Why the action was set aside in an earlier run, or is now."""
        store = self._workspace.store
        known = store.quarantined(key)
        if known is not None:
            return known.reason
        orphaned = store.orphaned(key)
        if orphaned < _MOST_LOSSES:
            return None
        reason = f"{stage.name} was at work on it each of {orphaned} times that the run was killed"
        store.quarantine(
            QuarantineRecord(key=key, stage=stage.name, item=walk.item.id, reason=reason, attempts=orphaned)
        )
        return reason

    def _submit(self, place: int, task: Task) -> None:
        self._in_flight[task.item, task.key] = place
        self._executor.submit(task)

    def _submit_again_or_give_up(self, walk: _Walk, place: int, task: Task, outcome: Lost) -> None:
        """A task that was lost through no fault of its item is no failure, unless it is there at every loss."""
        losses = self._lost[task.key] = self._lost.get(task.key, 0) + 1
        if losses >= _MOST_LOSSES:
            self._retry_or_quarantine(walk, place, task, Failed(f"{outcome.reason}, {losses} times", permanent=True))
            return
        self._watch.failed(task.stage.name, walk.item.name, outcome.reason, final=False)
        self._submit(place, task)

    def _retry_or_quarantine(self, walk: _Walk, place: int, task: Task, outcome: Failed) -> None:
        final = outcome.permanent or task.attempt >= task.stage.attempts
        if outcome.worker_died:
            # What it left is of an attempt that counts as failed, not of a run that was killed.
            self._workspace.store.sweep(count=False)
        self._watch.failed(task.stage.name, walk.item.name, outcome.reason, final=final)
        if not final:
            self._submit(place, replace(task, attempt=task.attempt + 1))
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


@dataclass(frozen=True)
class _Found:
    """What the store holds already. Many questions are answered from one look at the index and the folders."""

    workspace: Workspace
    given: dict[str, str]
    """From the index: what each action gave, as JSON."""
    blobs: set[str]

    @classmethod
    def at_start(cls, workspace: Workspace, questions: int) -> _Found:
        if questions < _MANY_QUESTIONS:
            return cls(workspace, {}, set())
        present = workspace.store.names("act")
        given = {key: value for key, value in workspace.index.finished().items() if key in present}
        return cls(workspace, given, workspace.store.names("cas"))

    def get(self, key: str) -> tuple[dict[str, str], dict[str, int]] | None:
        """Outputs and counts of the finished action of this key, or None where it is to be run."""
        given = self.given.get(key)
        if given is not None:
            outputs, counts = json.loads(given)
            if self.blobs.issuperset(outputs.values()):
                return outputs, counts
        # Finished since, or never seen by the index: the record itself is the truth.
        record = self.workspace.store.action(key)
        if record is None:
            return None
        if given is None and self.given:
            self.workspace.index.add(record)
        return record.outputs, record.counts


def _meets(need: str, name: str) -> bool:
    return need == name or fnmatchcase(name, need) or fnmatchcase(need, name)

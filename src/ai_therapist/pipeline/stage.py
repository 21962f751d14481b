"""A stage is a pure function plus a declaration of what determines its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ai_therapist.errors import MissingInput
from ai_therapist.pipeline.paid import PaidService, obtain
from ai_therapist.store.actions import ActionRecord, JsonObject, TicketRecord, key_head, key_of
from ai_therapist.store.blobs import Owed, Store
from ai_therapist.store.codec import RecordT, decode, decode_all, encode, encode_all

Progress = Callable[[int, int, str], None]
"""Told how many of how many steps are done, and a short note."""


class StageConfig(BaseModel):
    """Base of all settings: frozen, strict, unknown keys refused, the string under a field is its description."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Stage:
    """One step of the work on an item. `needs` and `gives` are artefact names; "clip/*" stands for a family."""

    name: str
    version: int
    """Raised by hand whenever the same inputs would give another result."""
    run: Callable[[Job], None]
    needs: tuple[str, ...]
    gives: tuple[str, ...]
    config: StageConfig
    tools: tuple[str, ...] = ()
    """Distributions whose installed version is part of the key."""
    timeout_s: float = 900
    attempts: int = 3
    memory_mb: int = 0
    """What it may take of a worker's memory beyond what the worker holds already; 0 for no limit."""

    def inputs(self, artefacts: Mapping[str, str]) -> dict[str, str]:
        """Those of an item's artefacts that the stage reads. Raises MissingInput where a plain name is missing."""
        missing = [name for name in self.needs if "*" not in name and name not in artefacts]
        if missing:
            raise MissingInput(f"{self.name} needs {missing[0]!r}, which no earlier stage has given")
        patterns = [pattern for pattern in self.needs if "*" in pattern]
        if not patterns:
            return {name: artefacts[name] for name in self.needs}
        return {
            name: digest
            for name, digest in artefacts.items()
            if name in self.needs or any(fnmatchcase(name, pattern) for pattern in patterns)
        }

    def semantic_config(self) -> JsonObject:
        """The settings that enter the key, as plain JSON values."""
        return self.config.model_dump(mode="json")

    def key(self, inputs: Mapping[str, str]) -> str:
        """Key of the action that this stage is on these inputs."""
        return key_of(self._key_head, inputs)

    @cached_property
    def _key_head(self) -> bytes:
        return key_head(self.name, self.version, self.semantic_config(), _versions(self.tools))


@dataclass(frozen=True)
class Task:
    """One stage on one item: ids and digests only, small enough to send to any worker."""

    stage: Stage
    item: str
    inputs: dict[str, str]
    key: str
    attempt: int = 1


@dataclass
class Job:
    """What a stage function sees: its inputs, its settings, a private folder, and where its outputs go."""

    item: str
    config: StageConfig
    scratch: Path
    """Private folder, gone afterwards."""
    progress: Progress
    _store: Store
    _task: Task
    outputs: dict[str, str] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    owed: Owed = field(default_factory=set)
    """What the commit has to sync."""

    @property
    def work(self) -> Path:
        """Folder that stays until this very action is finished: for checkpoints."""
        return self._store.work(self._task.key)

    @property
    def expected(self) -> tuple[str, ...]:
        """Names of the outputs that the stage was declared to give."""
        return self._task.stage.gives

    def names(self, pattern: str = "*") -> list[str]:
        """Names of the inputs that match, sorted."""
        return sorted(name for name in self._task.inputs if fnmatchcase(name, pattern))

    def digest(self, name: str) -> str:
        """Sha256 of an input. Raises MissingInput where it is not among the inputs."""
        try:
            return self._task.inputs[name]
        except KeyError:
            raise MissingInput(f"{self._task.stage.name} of {self.item}: no input {name!r}") from None

    def path(self, name: str) -> Path:
        """File of an input, read-only."""
        return self._store.path(self.digest(name))

    def blob(self, digest: str) -> Path:
        """File of any blob by digest: for media that an input record refers to."""
        return self._store.path(digest)

    def read(self, name: str) -> bytes:
        """Content of an input."""
        return self._store.read(self.digest(name))

    def record(self, kind: type[RecordT], name: str) -> RecordT:
        """An input that is one record. Raises InvalidRecord."""
        return decode(kind, self.read(name), f"{name} of {self.item}")

    def record_list(self, kind: type[RecordT], name: str) -> tuple[RecordT, ...]:
        """An input that is a list of records. Raises InvalidRecord."""
        return decode_all(kind, self.read(name), f"{name} of {self.item}")

    def checkout(self, name: str, target: Path) -> None:
        """Write an input that is a tree below `target`."""
        self._store.checkout(self.digest(name), target)

    def give(self, name: str, data: bytes | Path) -> str:
        """Keep an output; returns its sha256."""
        put = (
            self._store.put_bytes(data, self.owed) if isinstance(data, bytes) else self._store.put_file(data, self.owed)
        )
        self.outputs[name] = put
        return put

    def give_record(self, name: str, record: BaseModel) -> str:
        """Keep an output that is one record, findable by its id where it has one."""
        digest = self.give(name, encode(record))
        self._remember(name, [record])
        return digest

    def give_records(self, name: str, records: Sequence[BaseModel]) -> str:
        """Keep an output that is a list of records, each findable by its id."""
        digest = self.give(name, encode_all(records))
        self._remember(name, records)
        return digest

    def give_tree(self, name: str, folder: Path) -> str:
        """Keep an output that is a folder; returns the digest of its listing."""
        self.outputs[name] = self._store.put_tree(folder, self.owed)
        return self.outputs[name]

    def ticket(self, service: PaidService) -> str:
        """Id of the paid job of this action, begun here unless any attempt before this one has begun it.

        The id is committed before this returns, so ask for the result only after it. Raises what `obtain` raises.
        """
        return obtain(self._store, self._about("unknown"), self.scratch.name, service)

    def spend_ticket(self, identity: str) -> None:
        """Note that nothing comes of the paid job: another one is begun only when this action has been released."""
        self._store.spend(self._about(identity))

    @property
    def is_finished(self) -> bool:
        """Whether another process has finished this very action."""
        return self._store.action(self._task.key) is not None

    def count(self, **counts: int) -> None:
        """Add figures to the action's counts."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def _about(self, identity: str) -> TicketRecord:
        return TicketRecord(key=self._task.key, stage=self._task.stage.name, item=self.item, ticket=identity)

    def _remember(self, name: str, records: Sequence[BaseModel]) -> None:
        for record in records:
            record_id = record.model_dump(include={"id"}).get("id")
            if isinstance(record_id, str):
                self.records[record_id] = name


def ignore_progress(done: int, total: int, note: str) -> None:
    """Progress that nobody watches."""


def run_task(store: Store, task: Task, progress: Progress = ignore_progress) -> ActionRecord:
    """Run a stage on its inputs and commit the record; returns the record that stands under the key.

    Raises whatever the stage raises; nothing is committed then.
    """
    if task.attempt > 1 and (finished := store.action(task.key)) is not None:
        return finished
    with store.scratch(task.key) as scratch:
        job = Job(task.item, task.stage.config, scratch, progress, store, task)
        task.stage.run(job)
    record = ActionRecord(
        key=task.key,
        stage=task.stage.name,
        version=task.stage.version,
        item=task.item,
        config=task.stage.semantic_config(),
        tools=_versions(task.stage.tools),
        inputs=task.inputs,
        outputs=job.outputs,
        records=job.records,
        counts=job.counts,
    )
    winner = store.commit(record, job.owed)
    store.drop_work(task.key)
    return winner


@cache
def _versions(tools: tuple[str, ...]) -> dict[str, str]:
    return {tool: _version(tool) for tool in tools}


def _version(tool: str) -> str:
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return "absent"

"""A folder of an object store, `gs://bucket/folder` or `s3://bucket/folder`, with consent records beside recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ai_therapist.errors import MissingInput, TransientError
from ai_therapist.extraction.sources.fetching import MakeExecutor, fetch_all
from ai_therapist.extraction.sources.recording import (
    SUFFIXES,
    Recording,
    Refusal,
    RightsFile,
    folded,
    natural_key,
    read_rights,
)
from ai_therapist.pipeline.driver import Item, Observer
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import SourceRecord
from ai_therapist.records.base import Record
from ai_therapist.store.codec import encode
from ai_therapist.store.objects import BucketFolder, Listed
from ai_therapist.store.workspace import Workspace

_LONGEST_RIGHTS_BYTES = 1 << 20


class RemoteObject(Record):
    """One version of one object."""

    folder: str
    name: str
    identity: str
    """Generation or ETag: another content has another one."""


class FetchConfig(StageConfig):
    """Fetching has nothing to set."""


def run_fetch(job: Job) -> None:
    """The object as it was listed; another attempt where it changed meanwhile."""
    remote = job.record(RemoteObject, "remote")
    folder, target = BucketFolder.at(remote.folder), job.scratch / "recording"
    folder.download(remote.name, target)
    if remote.identity not in {listed.identity for listed in folder.list(remote.name)}:
        raise TransientError(f"{remote.name} changed while it was read: run the command again")
    job.give("recording", target)


FETCH = Stage("fetch", 1, run_fetch, ("remote",), ("recording",), FetchConfig(), timeout_s=7200)


@dataclass(frozen=True)
class BucketNeighbours:
    """The objects of a folder, as they were listed."""

    folder: BucketFolder
    listed: dict[str, int]

    def sizes(self) -> dict[str, int]:
        """Their names, each with its size in bytes."""
        return self.listed

    def read(self, name: str) -> bytes:
        """Content of one of them."""
        return self.folder.read(name)


@dataclass(frozen=True)
class BucketSource:
    """The recordings that lie directly in a folder of a bucket."""

    folder: BucketFolder
    make_executor: MakeExecutor
    observer: Observer | None = None

    def recordings(self, workspace: Workspace) -> tuple[Recording | Refusal, ...]:
        """Every recording of the folder. Raises MissingInput where it holds none."""
        listed = {entry.name: entry for entry in self.folder.list() if "/" not in entry.name}
        names = [name for name in listed if PurePosixPath(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
        if not names:
            raise MissingInput(f"{self.folder.url} holds no recording; looked for {', '.join(sorted(SUFFIXES))}")
        taken: dict[str, str] = {}
        rights = {name: self._rights(name, listed, taken) for name in sorted(names, key=natural_key)}
        items = [
            Item(name, name, {"remote": workspace.store.put_bytes(encode(self._remote(listed[name])))})
            for name, found in rights.items()
            if not isinstance(found, str)
        ]
        fetched, refused, _ = fetch_all(workspace, FETCH, items, self.make_executor, self.observer)
        beside = BucketNeighbours(self.folder, {name: entry.size for name, entry in listed.items()})
        entries: list[Recording | Refusal] = []
        contents: dict[str, str] = {}
        for name, found in rights.items():
            if isinstance(found, str):
                entries.append(Refusal(name, found))
            elif name in refused:
                entries.append(refused[name])
            elif (sha256 := fetched[name]) in contents:
                entries.append(Refusal(name, f"{name} has the same content as {contents[sha256]}, which is kept"))
            else:
                contents[sha256] = name
                stem = PurePosixPath(name).stem
                source = SourceRecord(name=stem, sha256=sha256, group=found.group, consent=found.consent)
                entries.append(Recording(workspace.store.path(sha256), source, beside=beside))
        return tuple(entries)

    def _rights(self, name: str, listed: dict[str, Listed], taken: dict[str, str]) -> RightsFile | str:
        stem = PurePosixPath(name).stem
        if folded(stem) in taken:
            return f"{name} has the same name as {taken[folded(stem)]}: rename one of them and its consent record"
        beside = f"{stem}.consent.json"
        if beside not in listed or listed[beside].size > _LONGEST_RIGHTS_BYTES:
            return f"{name} has no consent record: write {beside} beside it, as docs/extraction.md shows"
        try:
            data = self.folder.read(beside)
        except MissingInput as error:
            return f"{name} has no consent record that can be read: {error}"
        rights = read_rights(data, beside, name)
        if not isinstance(rights, str):
            taken[folded(stem)] = name
        return rights

    def _remote(self, listed: Listed) -> RemoteObject:
        return RemoteObject(folder=self.folder.url, name=listed.name, identity=listed.identity)

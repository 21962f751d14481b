"""Where things lie in a workspace, and the ledger of what each stage package last did with every item."""

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from ai_therapist.errors import MissingInput
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.actions import JsonObject
from ai_therapist.store.blobs import link_or_copy, write_atomically
from ai_therapist.store.bucket_store import BucketStore
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.decisions import Decisions
from ai_therapist.store.durable import told_as_store_error
from ai_therapist.store.erasure import INDEX, finish, load_tombstones
from ai_therapist.store.index import Index
from ai_therapist.store.places import open_store


class Status(StrEnum):
    """What became of an item in a run."""

    DONE = "done"
    SKIPPED = "skipped"
    QUARANTINED = "quarantined"


class ItemRecord(Record):
    """One item of a run: its fate, the reason where it is not done, and the digests of all it has by now."""

    item: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    """Readable name of the item."""
    status: Status
    reason: str | None
    artefacts: dict[str, Digest]
    actions: tuple[Digest, ...]
    """Keys of the actions behind the artefacts."""
    counts: dict[str, int]

    @model_validator(mode="after")
    def _has_a_reason(self) -> Self:
        if (self.reason is None) != (self.status is Status.DONE):
            raise ValueError("an item that is not done needs a reason, a done one has none")
        return self


class RunRecord(Record):
    """What one run of a stage package did: nothing that was read is missing from it."""

    run: Annotated[str, Field(min_length=1)]
    config: JsonObject
    read: Annotated[int, Field(ge=0)]
    items: tuple[ItemRecord, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.read != len(self.items):
            raise ValueError("read is not the sum of done, skipped and quarantined items")
        return self

    def of_status(self, status: Status) -> tuple[ItemRecord, ...]:
        """The items with this fate."""
        return tuple(item for item in self.items if item.status is status)

    @property
    def done(self) -> tuple[ItemRecord, ...]:
        """The items that are complete."""
        return self.of_status(Status.DONE)


class Workspace:
    """A folder with a store, its index, the ledgers of the runs and a readable view.

    store/         blobs and action records
    store.json     where the store lies, if not here: then store/ holds copies of what was used
    index.db       SQLite index over the store, rebuilt where it is missing
    runs/NAME.json what the last run of each stage package did
    view/NAME/     links with readable names
    decisions/     what people decided, one file per decision; only `forget` removes one
    dataset/       the local dataset folder
    exports/       what was made for other programs, and what is sent to other computers
    uploads.json   which repositories elsewhere hold what was sent
    copies.json    which buckets hold a copy of it all
    report.json, report.html
    forgotten.json salted digests of recordings that must not come back

    An erasure that was stopped half-way is finished when the workspace is opened.
    """

    def __init__(self, root: Path, store_url: str = "") -> None:
        """Open the workspace at `root`; a new one keeps its store at `store_url`, where that is given."""
        self.root = root
        finish(root)
        self.store = open_store(root, store_url)
        self.index = Index(root / INDEX, self.store)

    @property
    def decisions(self) -> Decisions:
        """What people decided about the utterances of this workspace."""
        return Decisions(self.root, self.store)

    def reopen(self) -> None:
        """Open the index again after it was closed."""
        self.index = Index(self.root / INDEX, self.store)

    def was_forgotten(self, sha256: str) -> bool:
        """Whether a recording of this content was forgotten here and must not come back."""
        if isinstance(self.store, BucketStore) and self.store.was_forgotten(sha256):
            return True
        stones = load_tombstones(self.root)
        return stones is not None and stones.mark(sha256) in stones.digests

    @classmethod
    def existing(cls, root: Path) -> Self:
        """The workspace at `root`. Raises MissingInput where no run has made one."""
        if not (root / "store").is_dir():
            raise MissingInput(f"{root} is no workspace: make one with  ai-therapist extract FOLDER -w {root}")
        return cls(root)

    @property
    def dataset(self) -> Path:
        """Folder of the local dataset."""
        return self.root / "dataset"

    @property
    def exports(self) -> Path:
        """Folder of everything that was made to leave: exports and staged uploads. Forgetting a session empties it."""
        return self.root / "exports"

    @property
    def report_json(self) -> Path:
        """The machine-readable report."""
        return self.root / "report.json"

    @property
    def report_html(self) -> Path:
        """The report for people."""
        return self.root / "report.html"

    def save_run(self, record: RunRecord) -> None:
        """Replace the ledger of this run's stage package."""
        write_atomically(self.root / "runs" / f"{record.run}.json", encode(record))

    def load_run(self, name: str, command: str) -> RunRecord:
        """The ledger of a stage package. Raises MissingInput that names the `command` which writes it."""
        run = self.find_run(name)
        if run is None:
            raise MissingInput(f"{self.root} has no {name} yet: run  ai-therapist {command}  first")
        return run

    def find_run(self, name: str) -> RunRecord | None:
        """The ledger of a stage package, or None before its first run."""
        path = self.root / "runs" / f"{name}.json"
        return decode(RunRecord, path.read_bytes(), path.name) if path.exists() else None

    def show(self, folder: str, files: dict[str, str]) -> None:
        """Replace view/`folder` by links from readable relative names to blobs."""
        target = self.root / "view" / folder
        shutil.rmtree(target, ignore_errors=True)
        with told_as_store_error(f"write {target}"):
            for name, digest in files.items():
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(self.store.path(digest), path)

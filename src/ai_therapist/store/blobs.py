"""Content-addressed files and action records on a local disk.

    cas/ab/abcd…        blobs, named by the sha256 of their content, read-only
    act/ab/abcd….json   one record per finished action; its presence is the commit
    bad/ab/abcd….json   one record per quarantined action
    act/ab/abcd….ticket one record per action that has a paid job on another computer
    act/ab/abcd….0.intent  one record per submission of a paid job, written before it
    act/ab/abcd….spent  one record per action whose paid job gave nothing
    tmp/HOST-PID-…      private files and folders of running writers, swept when their process is gone
    work/KEY/           what an unfinished long action keeps between attempts (checkpoints)

A file appears under its final name whole or not at all: written to `tmp`, synced, then linked, which fails where
the name exists. So a kill at any moment leaves at most an unreferenced blob.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.store.actions import ActionRecord, IntentRecord, QuarantineRecord, TicketRecord
from ai_therapist.store.codec import RecordT, canonical_json, decode, encode
from ai_therapist.store.durable import copy_and_hash, publish, sync_folder, told_as_store_error
from ai_therapist.store.owners import is_alive, owner_of, writer

_ORPHANED = "orphaned"

Owed = set[Path]
"""Folders in which a new name is not yet sure to survive a power cut; the commit of what needs it sees to that."""


class Store:
    """Blobs and action records below one folder. Safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with told_as_store_error(f"open the store {root}"):
            for name in ("cas", "act", "bad", "tmp", "work"):
                (root / name).mkdir(parents=True, exist_ok=True)

    # blobs

    def put_bytes(self, data: bytes, owed: Owed | None = None) -> str:
        """Keep `data`; returns its sha256. Where `owed` is given, its folder is entered there instead of synced."""
        digest = hashlib.sha256(data).hexdigest()
        if not self._stands(digest, owed):
            with self._private() as copy:
                _write_synced(copy, data, mode=0o444)
                self._publish_blob(copy, digest, owed)
        return digest

    def put_file(self, path: Path, owed: Owed | None = None) -> str:
        """Keep a copy of the file's content; returns its sha256."""
        with self._private() as copy:
            digest = copy_and_hash(path, copy)
            if not self._stands(digest, owed):
                self._publish_blob(copy, digest, owed)
        return digest

    def put_tree(self, folder: Path, owed: Owed | None = None) -> str:
        """Keep every file below `folder`; returns the digest of a listing {relative path: digest}."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return self.put_bytes(
            canonical_json({path.relative_to(folder).as_posix(): self.put_file(path, owed) for path in files}), owed
        )

    def checkout(self, tree: str, target: Path) -> None:
        """Write the files of a tree below `target`, replacing files of the same names."""
        with told_as_store_error(f"write to {target}"):
            for name, digest in self.tree(tree).items():
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                link_or_copy(self.path(digest), path)

    def tree(self, tree: str) -> dict[str, str]:
        """The listing of a tree: relative POSIX path to digest."""
        listing: dict[str, str] = json.loads(self.read(tree))
        return listing

    def path(self, digest: str) -> Path:
        """File of the blob on this machine. Only `BucketStore` raises where there is none."""
        return self._place(digest)

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self._place(digest).exists()

    def read(self, digest: str) -> bytes:
        """Content of a blob. Raises MissingInput where there is none."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            raise MissingInput(f"blob {digest[:12]} is not in the store {self.root}") from None

    def names(self, kind: str) -> set[str]:
        """Names of all blobs ("cas") or keys of all finished ("act") or quarantined ("bad") actions, in one look."""
        found: set[str] = set()
        for folder in os.scandir(self.root / kind):
            found.update(name for entry in os.scandir(folder) if "." not in (name := entry.name.removesuffix(".json")))
        return found

    def head(self, digest: str, count: int) -> bytes:
        """The first `count` bytes of a blob; nothing where there is none."""
        try:
            with self._place(digest).open("rb") as file:
                return file.read(count)
        except FileNotFoundError:
            return b""

    def held(self) -> dict[str, int]:
        """Every blob, with its size in bytes."""
        return {path.name: path.stat().st_size for path in self.blob_paths()}

    def blob_paths(self) -> Iterator[Path]:
        """Files of all blobs that are on this machine."""
        return (self.root / "cas").glob("*/*")

    # actions

    def record_path(self, kind: str, key: str) -> Path:
        """Where the record of an action lies: `kind` is "act" for finished, "bad" for quarantined ones."""
        return self.root / kind / key[:2] / f"{key}.json"

    def raw_records(self, kind: str) -> Iterator[tuple[Path, bytes]]:
        """Every record of a kind as it is written, in the order of the keys, with its place."""
        for path in self._records(kind, ".json"):
            data = self._read(path)
            # Another process may have taken it away since.
            if data is not None:
                yield path, data

    def commit(self, record: ActionRecord, owed: Iterable[Path] = ()) -> ActionRecord:
        """Write the record unless one stands under its key; returns the one that stands.

        The folders that are `owed` are synced before the record appears.
        """
        path = self.record_path("act", record.key)
        if self._create(path, encode(record), owed):
            return record
        return self._load(ActionRecord, path) or self.commit(record, owed)

    def action(self, key: str) -> ActionRecord | None:
        """The finished action of this key, or None where it never finished or an output of it was lost."""
        record = self._load(ActionRecord, self.record_path("act", key))
        if record is None or not all(self.has(digest) for digest in record.outputs.values()):
            return None
        return record

    def actions(self) -> Iterator[ActionRecord]:
        """All finished actions, in the order of their keys."""
        return self._load_all(ActionRecord, "act")

    # quarantine

    def quarantine(self, record: QuarantineRecord) -> None:
        """Set an action aside for good."""
        self._create(self.record_path("bad", record.key), encode(record))

    def quarantined(self, key: str) -> QuarantineRecord | None:
        """Why the action of this key was set aside, or None."""
        return self._load(QuarantineRecord, self.record_path("bad", key))

    def quarantines(self) -> Iterator[QuarantineRecord]:
        """All quarantined actions, in the order of their keys."""
        return self._load_all(QuarantineRecord, "bad")

    def release(self, key: str) -> None:
        """Let the action of this key be tried again, with all its attempts; a paid job that gave nothing is let go."""
        if self._read(self._spent_path(key)) is not None:
            self._remove(self.ticket_path(key))
            for intent in reversed(self.intents(key)):
                self._remove(self.intent_path(key, intent.number))
            self._remove(self._spent_path(key))
        (self.root / "work" / key / _ORPHANED).unlink(missing_ok=True)
        self._remove(self.record_path("bad", key))

    # paid jobs

    def ticket_path(self, key: str) -> Path:
        """Where the ticket of an action lies."""
        return self.record_path("act", key).with_suffix(".ticket")

    def keep_ticket(self, record: TicketRecord) -> TicketRecord:
        """Write the ticket unless one stands under its key; returns the one that stands."""
        path = self.ticket_path(record.key)
        if self._create(path, encode(record)):
            return record
        return self._load(TicketRecord, path) or self.keep_ticket(record)

    def ticket(self, key: str) -> TicketRecord | None:
        """The ticket of the action of this key, or None."""
        return self._load(TicketRecord, self.ticket_path(key))

    def spend(self, record: TicketRecord) -> None:
        """Note that nothing comes of a paid job; its ticket stands until somebody releases the action."""
        self._create(self._spent_path(record.key), encode(record))

    def intent_path(self, key: str, number: int) -> Path:
        """Where an intent of an action lies."""
        return self.record_path("act", key).with_suffix(f".{number}.intent")

    def intend(self, record: IntentRecord) -> bool:
        """Write an intent; returns False where another attempt has written the one of this number."""
        return self._create(self.intent_path(record.key, record.number), encode(record))

    def intents(self, key: str) -> tuple[IntentRecord, ...]:
        """The intents of the action of this key, the latest last."""
        found: list[IntentRecord] = []
        while (record := self._load(IntentRecord, self.intent_path(key, len(found)))) is not None:
            found.append(record)
        return tuple(found)

    def job_records(self, item: str) -> Iterator[tuple[Path, TicketRecord | IntentRecord]]:
        """Every ticket, spent ticket and intent of an item, with its place."""
        kinds: tuple[tuple[str, type[TicketRecord | IntentRecord]], ...] = (
            (".ticket", TicketRecord),
            (".spent", TicketRecord),
            (".intent", IntentRecord),
        )
        for suffix, kind in kinds:
            for path in self._records("act", suffix):
                record = self._load(kind, path)
                if record is not None and record.item == item:
                    yield path, record

    def is_at_work(self, folder: str) -> bool:
        """Whether the attempt with this private folder, on this machine, is still under way."""
        path = self.root / "tmp" / folder
        host, pid = owner_of(path)
        return path.exists() and host == socket.gethostname() and pid is not None and is_alive(pid)

    # folders

    @contextlib.contextmanager
    def scratch(self, key: str | None = None) -> Iterator[Path]:
        """A private folder on the store's file system, removed afterwards; `key` names the action that works in it."""
        name = f"{writer()}-{f'{key}.' if key else ''}"
        with told_as_store_error(f"write to {self.root}"):
            folder = Path(tempfile.mkdtemp(prefix=name, dir=self.root / "tmp"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def work(self, key: str) -> Path:
        """A folder that an unfinished action keeps from attempt to attempt."""
        folder = self.root / "work" / key
        with told_as_store_error(f"write to {self.root}"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop_work(self, key: str) -> None:
        """Remove what a finished action kept."""
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def resolved(self) -> "Store":
        """The same store for processes that work in another folder."""
        return Store(self.root.resolve())

    def sweep(self, *, count: bool = True) -> int:
        """Remove the private files and folders of processes of this host that are gone; returns how many.

        An action that was at work in one of them is counted as orphaned once more, unless `count` is false.
        """
        swept = 0
        for folder in (self.root / "tmp").iterdir():
            host, pid = owner_of(folder)
            if host == socket.gethostname() and pid is not None and not is_alive(pid):
                key, dot, _ = folder.name.rpartition("-")[2].partition(".")
                if count and dot and self._read(self.record_path("act", key)) is None:
                    write_atomically(self.work(key) / _ORPHANED, str(self.orphaned(key) + 1).encode())
                _discard(folder)
                swept += 1
        return swept

    def orphaned(self, key: str) -> int:
        """How often the action of this key was at work when its run was killed, since it last finished."""
        path = self.root / "work" / key / _ORPHANED
        return int(path.read_bytes()) if path.exists() else 0

    def writers(self) -> list[str]:
        """Processes that write to the store now: those of this host that live, and all that wrote from another."""
        owners = {owner_of(folder) for folder in (self.root / "tmp").iterdir()}
        here = socket.gethostname()
        return sorted(
            f"process {pid} of {host}" for host, pid in owners if pid is not None and (host != here or is_alive(pid))
        )

    def verify(self) -> Iterator[str]:
        """Re-hash every blob and check every action; yields one line per fault."""
        for path in sorted(self.blob_paths()):
            if hash_file(path) != path.name:
                yield f"blob {path.name[:12]}: content does not match its name; delete it and run the stage again"
        present = self.names("cas")
        for record in self.actions():
            for name, digest in record.outputs.items():
                if digest not in present:
                    yield f"{record.stage} of {record.item}: output {name!r} is gone; run the stage again"

    # inside

    def _create(self, path: Path, data: bytes, owed: Iterable[Path] = ()) -> bool:
        """Write a record unless one stands there; returns whether this one does."""
        with self._private() as copy:
            _write_synced(copy, data)
            # On ext4 the sync of the record has taken what is owed along, so that these find nothing to do.
            for folder in sorted(owed):
                sync_folder(folder)
            created = publish(copy, path)
            sync_folder(path.parent)
        return created

    def _stands(self, digest: str, owed: Owed | None) -> bool:
        """Whether the blob is there; another writer may not have synced its name yet."""
        if not self._place(digest).exists():
            return False
        if owed is not None:
            owed.add(self._place(digest).parent)
        return True

    def _publish_blob(self, copy: Path, digest: str, owed: Owed | None) -> None:
        folder = self._place(digest).parent
        # Losing the race to another writer is harmless: equal names hold equal bytes.
        publish(copy, self._place(digest))
        if owed is None:
            sync_folder(folder)
        else:
            owed.add(folder)

    @contextlib.contextmanager
    def _private(self) -> Iterator[Path]:
        """The name of a file of this process alone. A folder would cost more: its removal waits for the journal."""
        path = self.root / "tmp" / f"{writer()}-{uuid.uuid4().hex}"
        with told_as_store_error(f"write to {self.root}"):
            try:
                yield path
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _spent_path(self, key: str) -> Path:
        return self.record_path("act", key).with_suffix(".spent")

    def _place(self, digest: str) -> Path:
        return self.root / "cas" / digest[:2] / digest

    def _read(self, path: Path) -> bytes | None:
        """Content of a record, or None where there is none."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def _remove(self, path: Path) -> None:
        """Take a record away."""
        path.unlink(missing_ok=True)

    def _records(self, kind: str, suffix: str) -> Iterable[Path]:
        """Where the records of a kind lie, in the order of their keys."""
        return sorted((self.root / kind).glob(f"*/*{suffix}"))

    def _load(self, kind: type[RecordT], path: Path) -> RecordT | None:
        data = self._read(path)
        return None if data is None else decode(kind, data, f"{path.parts[-3]}/{path.name[:12]}")

    def _load_all(self, kind: type[RecordT], folder: str) -> Iterator[RecordT]:
        for path, data in self.raw_records(folder):
            yield decode(kind, data, f"{folder}/{path.stem[:12]}")


def hash_file(path: Path) -> str:
    """Sha256 of a file's content. Raises MissingInput where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader sees the old or the new, never a part. Raises StoreError."""
    # Not mkstemp: what it makes is private to its owner, and a report is for others too.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with told_as_store_error(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a blob a second name; a copy where the file system knows no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise StoreError(f"{target} exists already") from None
    except OSError:
        shutil.copyfile(source, target)


def _write_synced(path: Path, data: bytes, mode: int | None = None) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        if mode is not None:
            path.chmod(mode)
        os.fsync(file.fileno())


def _discard(path: Path) -> None:
    """Remove a file or a folder, as far as it goes."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()

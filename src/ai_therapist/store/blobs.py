"""Content-addressed files and action records on a local disk.

    cas/ab/abcd…        blobs, named by the sha256 of their content, read-only
    act/ab/abcd….json   one record per finished action; its presence is the commit
    bad/ab/abcd….json   one record per quarantined action
    act/ab/abcd….ticket one record per action that has a paid job on another computer
    tmp/HOST-PID-…      private folders of running writers, swept when their process is gone
    work/KEY/           what an unfinished long action keeps between attempts (checkpoints)

A file appears under its final name whole or not at all: written to `tmp`, synced, then linked, which fails where
the name exists. So a kill at any moment leaves at most an unreferenced blob.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.store.actions import ActionRecord, QuarantineRecord, TicketRecord
from ai_therapist.store.codec import RecordT, canonical_json, decode, encode

_CHUNK_BYTES = 1 << 20
_ORPHANED = "orphaned"


class Store:
    """Blobs and action records below one folder. Safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with told_as_store_error(f"open the store {root}"):
            for name in ("cas", "act", "bad", "tmp", "work"):
                (root / name).mkdir(parents=True, exist_ok=True)

    # blobs

    def put_bytes(self, data: bytes) -> str:
        """Keep `data`; returns its sha256."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            self._create(self.path(digest), data, mode=0o444)
        return digest

    def put_file(self, path: Path) -> str:
        """Keep a copy of the file's content; returns its sha256."""
        with self.scratch() as folder, told_as_store_error(f"write to {self.root}"):
            copy = folder / "blob"
            digest = _copy_and_hash(path, copy)
            _publish(copy, self.path(digest))
        return digest

    def put_tree(self, folder: Path) -> str:
        """Keep every file below `folder`; returns the digest of a listing {relative path: digest}."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return self.put_bytes(
            canonical_json({path.relative_to(folder).as_posix(): self.put_file(path) for path in files})
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
        """Where the blob lies, whether or not it is there."""
        return self.root / "cas" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self.path(digest).exists()

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
            found.update(
                entry.name.removesuffix(".json") for entry in os.scandir(folder) if not entry.name.endswith(".ticket")
            )
        return found

    def blob_paths(self) -> Iterator[Path]:
        """Files of all blobs."""
        return (self.root / "cas").glob("*/*")

    # actions

    def record_path(self, kind: str, key: str) -> Path:
        """Where the record of an action lies: `kind` is "act" for finished, "bad" for quarantined ones."""
        return self.root / kind / key[:2] / f"{key}.json"

    def record_paths(self, kind: str) -> Iterator[Path]:
        """Files of all records of a kind, in the order of their keys."""
        return iter(sorted((self.root / kind).glob("*/*.json")))

    def commit(self, record: ActionRecord) -> ActionRecord:
        """Write the record unless one stands under its key; returns the one that stands."""
        path = self.record_path("act", record.key)
        self._create(path, encode(record))
        return decode(ActionRecord, path.read_bytes(), f"action {record.key[:12]}")

    def action(self, key: str) -> ActionRecord | None:
        """The finished action of this key, or None where it never finished or an output of it was lost."""
        record = self._load(ActionRecord, "act", key)
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
        return self._load(QuarantineRecord, "bad", key)

    def quarantines(self) -> Iterator[QuarantineRecord]:
        """All quarantined actions, in the order of their keys."""
        return self._load_all(QuarantineRecord, "bad")

    def release(self, key: str) -> None:
        """Let the action of this key be tried again, with all its attempts."""
        (self.root / "work" / key / _ORPHANED).unlink(missing_ok=True)
        self.record_path("bad", key).unlink(missing_ok=True)

    # paid jobs

    def ticket_path(self, key: str) -> Path:
        """Where the ticket of an action lies."""
        return self.record_path("act", key).with_suffix(".ticket")

    def keep_ticket(self, record: TicketRecord) -> TicketRecord:
        """Write the ticket unless one stands under its key; returns the one that stands."""
        path = self.ticket_path(record.key)
        self._create(path, encode(record))
        return decode(TicketRecord, path.read_bytes(), f"ticket {record.key[:12]}")

    def ticket(self, key: str) -> TicketRecord | None:
        """The ticket of the action of this key, or None."""
        path = self.ticket_path(key)
        return decode(TicketRecord, path.read_bytes(), f"ticket {key[:12]}") if path.exists() else None

    def tickets(self) -> Iterator[TicketRecord]:
        """All tickets, in the order of their keys."""
        for path in sorted((self.root / "act").glob("*/*.ticket")):
            yield decode(TicketRecord, path.read_bytes(), f"ticket {path.stem[:12]}")

    def drop_ticket(self, key: str) -> None:
        """Forget a ticket: the next attempt pays again."""
        self.ticket_path(key).unlink(missing_ok=True)

    # folders

    @contextlib.contextmanager
    def scratch(self, key: str | None = None) -> Iterator[Path]:
        """A private folder on the store's file system, removed afterwards; `key` names the action that works in it."""
        name = f"{socket.gethostname()}-{os.getpid()}-{f'{key}.' if key else ''}"
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

    def sweep(self, *, count: bool = True) -> int:
        """Remove the private folders of processes of this host that are gone; returns how many.

        An action that was at work in one of them is counted as orphaned once more, unless `count` is false.
        """
        swept = 0
        for folder in (self.root / "tmp").iterdir():
            host, pid = _owner(folder)
            if host == socket.gethostname() and pid is not None and not _is_alive(pid):
                key, dot, _ = folder.name.rpartition("-")[2].partition(".")
                if count and dot and not self.record_path("act", key).exists():
                    write_atomically(self.work(key) / _ORPHANED, str(self.orphaned(key) + 1).encode())
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

    def orphaned(self, key: str) -> int:
        """How often the action of this key was at work when its run was killed, since it last finished."""
        path = self.root / "work" / key / _ORPHANED
        return int(path.read_bytes()) if path.exists() else 0

    def writers(self) -> list[str]:
        """Processes that write to the store now: those of this host that live, and all that wrote from another."""
        owners = {_owner(folder) for folder in (self.root / "tmp").iterdir()}
        here = socket.gethostname()
        return sorted(
            f"process {pid} of {host}" for host, pid in owners if pid is not None and (host != here or _is_alive(pid))
        )

    def verify(self) -> Iterator[str]:
        """Re-hash every blob and check every action; yields one line per fault."""
        for path in sorted(self.blob_paths()):
            if hash_file(path) != path.name:
                yield f"blob {path.name[:12]}: content does not match its name; delete it and run the stage again"
        for record in self.actions():
            for name, digest in record.outputs.items():
                if not self.has(digest):
                    yield f"{record.stage} of {record.item}: output {name!r} is gone; run the stage again"

    # inside

    def _create(self, path: Path, data: bytes, mode: int | None = None) -> None:
        with self.scratch() as folder, told_as_store_error(f"write to {self.root}"):
            copy = folder / "record"
            with copy.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                copy.chmod(mode)
            _publish(copy, path)

    def _load(self, kind: type[RecordT], folder: str, key: str) -> RecordT | None:
        try:
            data = self.record_path(folder, key).read_bytes()
        except FileNotFoundError:
            return None
        return decode(kind, data, f"{folder}/{key[:12]}")

    def _load_all(self, kind: type[RecordT], folder: str) -> Iterator[RecordT]:
        for path in self.record_paths(folder):
            yield decode(kind, path.read_bytes(), f"{folder}/{path.stem[:12]}")


_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or use fewer workers",
    errno.ENFILE: "close other programs",
    errno.EACCES: "give yourself the right to write there or choose another workspace",
    errno.EPERM: "give yourself the right to write there or choose another workspace",
    errno.EROFS: "the file system is read-only: choose another workspace",
    errno.EIO: "the disk or its connection fails: check it before you go on",
}


@contextlib.contextmanager
def told_as_store_error(doing: str) -> Iterator[None]:
    """Turns an error of the operating system into a StoreError that says what failed, why and what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "look after the disk")
        reason = error.strerror or type(error).__name__
        raise StoreError(f"cannot {doing}: {reason}: {remedy}, then run the same command again") from None


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


def append_durably(path: Path, line: bytes) -> None:
    """Add a line to a file so that it survives a kill and a power cut once this has returned. Raises StoreError."""
    with told_as_store_error(f"write {path}"):
        fresh = not path.exists()
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(path.parent)


def whole_lines(path: Path) -> list[bytes]:
    """The finished lines of such a file, none where there is no file; a line that was never finished is cut off."""
    with told_as_store_error(f"read {path}"):
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(path, len(whole))
    return whole.splitlines()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a blob a second name; a copy where the file system knows no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise StoreError(f"{target} exists already") from None
    except OSError:
        shutil.copyfile(source, target)


def _copy_and_hash(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            while chunk := reader.read(_CHUNK_BYTES):
                digest.update(chunk)
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
    except FileNotFoundError:
        raise MissingInput(f"{source}: no such file") from None
    target.chmod(0o444)
    return digest.hexdigest()


def _publish(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    # Losing the race to another writer is harmless: equal names hold equal bytes.
    with contextlib.suppress(FileExistsError):
        os.link(source, target)
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Make what was created or removed in a folder, or written to a file, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _owner(folder: Path) -> tuple[str, int | None]:
    """Host and process that a private folder belongs to; no process where its name does not say."""
    host, _, pid = folder.name.rpartition("-")[0].rpartition("-")
    return host, int(pid) if pid.isdigit() else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

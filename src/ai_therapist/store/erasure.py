"""Carries a decided erasure out, so that a kill at any moment leaves a journal from which the next command goes on.

erasure.json     what is to be written anew and what is to go; its presence means: not finished
forgotten.json   salted digests of recordings that must not come back; it names nobody
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.bucket_store import erase_objects
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.durable import sync_folder
from ai_therapist.store.objects import BucketFolder

JOURNAL = "erasure.json"
TOMBSTONES = "forgotten.json"
INDEX = "index.db"

_VARIABLES = 500
"""Values in one SQL statement; SQLite allows at least 999."""


class Tombstones(Record):
    """Which recordings were forgotten here, so that they are not taken in again. It holds no name and no content."""

    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    digests: tuple[Digest, ...]

    def mark(self, sha256: str) -> str:
        """What stands here for a recording of this digest."""
        return hashlib.sha256(f"{self.salt}:{sha256}".encode()).hexdigest()

    def with_recording(self, sha256: str) -> Tombstones:
        """The same with one more recording."""
        return Tombstones(salt=self.salt, digests=tuple(sorted({*self.digests, self.mark(sha256)})))


class Erasure(Record):
    """Everything one erasure does, as relative POSIX paths below the workspace."""

    session: str
    rewrite: dict[str, str]
    """New content of ledgers and tombstones."""
    delete: tuple[str, ...]
    """Files and folders that go."""
    keys: tuple[Digest, ...]
    """Actions that leave the index."""
    recordings: tuple[Digest, ...]
    """Source files that leave the index."""
    bucket: str = ""
    """Address of the store, where it lies on an object store."""
    objects: tuple[str, ...] = ()
    """What goes there."""
    refused: tuple[Digest, ...] = ()
    """What must not come back there."""


def load_tombstones(root: Path) -> Tombstones | None:
    """The tombstones of a workspace, or None where nothing was ever forgotten."""
    path = root / TOMBSTONES
    return decode(Tombstones, path.read_bytes(), TOMBSTONES) if path.exists() else None


def begin(root: Path, erasure: Erasure) -> None:
    """Write the decision down; from here on it is carried out, whatever happens."""
    write_atomically(root / JOURNAL, encode(erasure))


def finish(root: Path) -> bool:
    """Carry out the erasure that the journal holds; returns whether there was one. May be run any number of times.

    Raises StoreError where another program has the index open and TransientError where an object store does not answer;
    the journal stays then.
    """
    journal = root / JOURNAL
    if not journal.exists():
        return False
    erasure = decode(Erasure, journal.read_bytes(), JOURNAL)
    if erasure.bucket:
        erase_objects(BucketFolder.at(erasure.bucket), erasure.refused, erasure.objects)
    for name, content in erasure.rewrite.items():
        write_atomically(root / name, content.encode())
    folders = {_remove(root / name) for name in erasure.delete}
    _purge_index(root / INDEX, erasure)
    for folder in sorted(folders):
        if folder.is_dir():
            sync_folder(folder)
    journal.unlink(missing_ok=True)
    sync_folder(root)
    return True


def _remove(path: Path) -> Path:
    """Remove a file or folder; returns the folder that it was in."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path.parent


def _purge_index(path: Path, erasure: Erasure) -> None:
    if not path.exists():
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        try:
            _delete_rows(db, "action", "key", erasure.keys)
            _delete_rows(db, "output", "key", erasure.keys)
            _delete_rows(db, "record", "key", erasure.keys)
            _delete_rows(db, "source", "digest", erasure.recordings)
            # Deleted rows stay readable in free pages and in the log until both are written anew.
            db.execute("VACUUM")
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise StoreError(f"{path.name} cannot be cleaned ({error.sqlite_errorname}): {_RETRY}") from None
    if busy:
        raise StoreError(f"{path.name} is in use: {_RETRY}")


_RETRY = "close other programs that use this workspace and run any command on it again to finish forgetting"


def _delete_rows(db: sqlite3.Connection, table: str, column: str, values: tuple[str, ...]) -> None:
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is None:
        return
    for start in range(0, len(values), _VARIABLES):
        part = values[start : start + _VARIABLES]
        marks = ",".join("?" * len(part))
        db.execute(f"DELETE FROM {table} WHERE {column} IN ({marks})", part)

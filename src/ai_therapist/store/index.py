"""A SQLite index over the store for quick answers. It holds no truth and is rebuilt from the records at need."""

import json
import os
import sqlite3
from pathlib import Path

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.blobs import Store, hash_file

_FORM = 2
"""Raised by hand whenever the tables change: an index of another form is made anew."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS action (key TEXT PRIMARY KEY, stage TEXT NOT NULL, item TEXT NOT NULL,
                                   given TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS output (digest TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
                                   PRIMARY KEY (digest, key, name));
CREATE TABLE IF NOT EXISTS record (id TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
                                   PRIMARY KEY (id, key, name));
CREATE TABLE IF NOT EXISTS source (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER,
                                   digest TEXT NOT NULL);
"""


class Index:
    """Finds actions by record id and by output digest, and remembers the digests of source files."""

    def __init__(self, path: Path, store: Store) -> None:
        self._store = store
        fresh = not path.exists()
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            if not fresh and self._db.execute("PRAGMA user_version").fetchone()[0] != _FORM:
                fresh = self._forget_form()
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {_FORM}")
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot open {path}: {error.sqlite_errorname}: it holds no truth, so check the disk and your rights, "
                "delete it if it stays, then run the same command again"
            ) from None
        if fresh:
            self.rebuild()

    def close(self) -> None:
        """Release the database."""
        self._db.close()

    def rebuild(self) -> None:
        """Fill the index from the action records."""
        self._db.execute("BEGIN")
        for table in ("action", "output", "record"):
            self._db.execute(f"DELETE FROM {table}")
        for record in self._store.actions():
            self._insert(record)
        self._db.execute("COMMIT")

    def add(self, record: ActionRecord) -> None:
        """Enter one finished action; entering it twice changes nothing."""
        self._db.execute("BEGIN")
        self._insert(record)
        self._db.execute("COMMIT")

    def _insert(self, record: ActionRecord) -> None:
        given = json.dumps([record.outputs, record.counts], separators=(",", ":"))
        row = (record.key, record.stage, record.item, given)
        self._db.execute("INSERT OR IGNORE INTO action VALUES (?,?,?,?)", row)
        self._db.executemany(
            "INSERT OR IGNORE INTO output VALUES (?,?,?)",
            [(digest, record.key, name) for name, digest in record.outputs.items()],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO record VALUES (?,?,?)",
            [(record_id, record.key, name) for record_id, name in record.records.items()],
        )

    def finished(self) -> dict[str, str]:
        """What every action gave, by its key: a JSON list of its outputs and its counts.

        For many questions at once. The index holds no truth: ask `Store.names` whether all of it is still there.
        """
        return dict(self._db.execute("SELECT key, given FROM action"))

    def _forget_form(self) -> bool:
        for table in ("action", "output", "record"):
            self._db.execute(f"DROP TABLE IF EXISTS {table}")
        return True

    def holders(self, record_id: str) -> list[tuple[str, str]]:
        """Key of every action that gave a record of this id, with the name of the output that holds it."""
        return self._db.execute("SELECT key, name FROM record WHERE id = ? ORDER BY key, name", (record_id,)).fetchall()

    def producers(self, digest: str) -> list[tuple[str, str]]:
        """Key of every action with this output digest, with the output's name."""
        return self._db.execute(
            "SELECT key, name FROM output WHERE digest = ? ORDER BY key, name", (digest,)
        ).fetchall()

    def source_digest(self, path: Path) -> str:
        """Sha256 of a source file, remembered by path, size, modification time and inode.

        Raises MissingInput where the file cannot be read.
        """
        name = os.fspath(path.resolve())
        try:
            stat = path.stat()
        except OSError as error:
            raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
        seen = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        row = self._db.execute("SELECT size, mtime_ns, inode, digest FROM source WHERE path = ?", (name,)).fetchone()
        if row is not None and tuple(row[:3]) == seen:
            return str(row[3])
        digest = hash_file(path)
        self._db.execute("INSERT OR REPLACE INTO source VALUES (?,?,?,?,?)", (name, *seen, digest))
        return digest

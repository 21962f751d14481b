"""A store whose blobs and records lie on an object store; this machine keeps copies of the blobs that it has used.

    store/cas/ab/…  store/act/ab/…  store/bad/ab/…   as on a disk; created where absent, which the service decides
    forgotten/salt  forgotten/MARK                   which recordings were forgotten here, one object for each
    erasing/…json                                    what an erasure that is not finished has to remove

A blob is sent when it is kept, and an action record is created last: where it stands, all that it names is there.
Of several drivers exactly one creates the record, and the others take it over. Records are read anew each time, so
that what another machine releases or forgets counts at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import ConfigError, MissingInput, StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.actions import TicketRecord
from ai_therapist.store.blobs import Owed, Store, hash_file
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.durable import publish, sync_folder
from ai_therapist.store.objects import BucketFolder

OBJECT_NAME = re.compile(
    r"store/(?:cas/[0-9a-f]{2}/[0-9a-f]{64}|(?:act|bad)/[0-9a-f]{2}/[0-9a-f]{64}\.(?:json|ticket|spent|[0-9]+\.intent))"
)
"""Names of the objects of a store; others below the same folder are none of ours."""
_ASK_FIRST_BYTES = 1 << 20
"""From this size on it is cheaper to ask whether a blob is there than to have its upload refused."""
_EMPTY = hashlib.sha256(b"").hexdigest()


class BucketStore(Store):
    """The same promises as those of `Store`, for several machines at once. `root` is the folder of the copies."""

    def __init__(self, root: Path, remote: BucketFolder) -> None:
        super().__init__(root)
        self.remote = remote
        self._known: set[str] = set()
        """Blobs that this process has seen there."""

    def __reduce__(self) -> tuple[type[BucketStore], tuple[Path, BucketFolder]]:
        # A worker connects for itself, and sees for itself what is there.
        return BucketStore, (self.root, BucketFolder.at(self.remote.url))

    # blobs

    def put_bytes(self, data: bytes, owed: Owed | None = None) -> str:
        """Keep `data` there and here; returns its sha256."""
        return self._send(super().put_bytes(data, owed))

    def put_file(self, path: Path, owed: Owed | None = None) -> str:
        """Keep a copy of the file's content there and here; returns its sha256."""
        return self._send(super().put_file(path, owed))

    def path(self, digest: str) -> Path:
        """File of the blob on this machine, fetched and checked where it was not here. Raises MissingInput."""
        place = self._place(digest)
        if not place.exists():
            with self._private() as copy:
                self.remote.download(self._name(place), copy)
                if hash_file(copy) != digest:
                    raise StoreError(f"{self._at(place)} does not hold what its name says: delete it there")
                copy.chmod(0o444)
                sync_folder(copy)
                publish(copy, place)
            self._known.add(digest)
        return place

    def has(self, digest: str) -> bool:
        """Whether the blob is there; a copy here alone does not count."""
        if digest not in self._known and self.remote.has(self._name(self._place(digest))):
            self._known.add(digest)
        return digest in self._known

    def read(self, digest: str) -> bytes:
        """Content of a blob. Raises MissingInput where there is none."""
        return self.path(digest).read_bytes()

    def head(self, digest: str, count: int) -> bytes:
        """The first `count` bytes of a blob, from there where it is not here; nothing where there is none."""
        place = self._place(digest)
        if place.exists() or digest == _EMPTY:
            return super().head(digest, count)
        try:
            return self.remote.head(self._name(place), count)
        except MissingInput:
            return b""

    def held(self) -> dict[str, int]:
        """Every blob that is there or here, with its size in bytes."""
        there = {Path(name).name: size for name, size in self._listed("cas").items()}
        return super().held() | there

    def names(self, kind: str) -> set[str]:
        """Names of all blobs ("cas") or keys of all finished ("act") or quarantined ("bad") actions that are there."""
        found = {name for listed in self._listed(kind) if "." not in (name := Path(listed).name.removesuffix(".json"))}
        if kind == "cas":
            self._known = set(found)
        return found

    def verify(self) -> Iterator[str]:
        """Fetch and re-hash every blob, here and there, and check every action; yields one line per fault."""
        for name in sorted(self._listed("cas")):
            with self._private() as copy:
                self.remote.download(name, copy)
                if hash_file(copy) != Path(name).name:
                    where = f"{self.remote.url}/{name}"
                    yield f"{where}: content does not match its name; delete it and run the stage again"
        yield from super().verify()

    # paid jobs

    def keep_ticket(self, record: TicketRecord) -> TicketRecord:
        """Write the ticket here and there unless one stands there; returns the one that stands."""
        # Here first: where the bucket cannot be reached the job is paid for all the same.
        Store._create(self, self.ticket_path(record.key), encode(record))
        return super().keep_ticket(record)

    def ticket(self, key: str) -> TicketRecord | None:
        """The ticket of the action of this key, or None."""
        standing = super().ticket(key)
        if standing is None and Store._read(self, self.ticket_path(key)) is not None:
            here = Store(self.root).ticket(key)
            return None if here is None else super().keep_ticket(here)
        return standing

    # what was forgotten

    def was_forgotten(self, sha256: str) -> bool:
        """Whether a recording was forgotten by any machine that works on this store."""
        try:
            salt = self.remote.read("forgotten/salt").decode()
        except MissingInput:
            return False
        return self.remote.has(_tombstone(salt, sha256))

    def resolved(self) -> BucketStore:
        """The same store for processes that work in another folder."""
        return BucketStore(self.root.resolve(), self.remote)

    # inside

    def _send(self, digest: str) -> str:
        if digest not in self._known:
            place = self._place(digest)
            if place.stat().st_size < _ASK_FIRST_BYTES or not self.remote.has(self._name(place)):
                self.remote.create(self._name(place), place)
            self._known.add(digest)
        return digest

    def _create(self, path: Path, data: bytes, owed: Iterable[Path] = ()) -> bool:
        return self.remote.create(self._name(path), data)

    def _read(self, path: Path) -> bytes | None:
        try:
            return self.remote.read(self._name(path))
        except MissingInput:
            return None

    def _remove(self, path: Path) -> None:
        # A ticket may lie here, too.
        super()._remove(path)
        self.remote.delete(self._name(path))

    def _records(self, kind: str, suffix: str) -> Iterable[Path]:
        names = sorted(name for name in self._listed(kind) if name.endswith(suffix))
        return [self.root / name.removeprefix("store/") for name in names]

    def _listed(self, kind: str) -> dict[str, int]:
        found = self.remote.list(f"store/{kind}")
        return {listed.name: listed.size for listed in found if OBJECT_NAME.fullmatch(listed.name)}

    def _name(self, path: Path) -> str:
        return f"store/{path.relative_to(self.root).as_posix()}"

    def _at(self, path: Path) -> str:
        return f"{self.remote.url}/{self._name(path)}"


class _Order(Record):
    """What one erasure does here."""

    recordings: tuple[Digest, ...]
    """What must not come back."""
    names: tuple[Annotated[str, Field(pattern=f"^{OBJECT_NAME.pattern}$")], ...]
    """Objects that go."""


def erase_objects(remote: BucketFolder, recordings: Iterable[str], names: Iterable[str]) -> None:
    """Note that the recordings were forgotten and remove the objects. May be run again.

    What is to be done is written down there first: a kill is made good by whatever opens the store next, anywhere.
    """
    order = encode(_Order(recordings=tuple(recordings), names=tuple(names)))
    remote.create(f"erasing/{hashlib.sha256(order).hexdigest()}.json", order)
    finish_erasures(remote)


def finish_erasures(remote: BucketFolder) -> None:
    """Carry out what any machine began to erase there."""
    for listed in list(remote.list("erasing")):
        try:
            order = decode(_Order, remote.read(listed.name), f"{remote.url}/{listed.name}")
        except MissingInput:
            continue  # Another machine has just finished it.
        remote.create("forgotten/salt", secrets.token_hex(16).encode())
        salt = remote.read("forgotten/salt").decode()
        for sha256 in order.recordings:
            remote.create(_tombstone(salt, sha256), b"forgotten")
        for name in order.names:
            remote.delete(name)
        remote.delete(listed.name)


def check_creation(remote: BucketFolder) -> None:
    """Raises ConfigError where the service replaces objects although it is told to create them."""
    name = f"store/check-{secrets.token_hex(8)}"
    honest = remote.create(name, b"one") and not remote.create(name, b"two")
    remote.delete(name)
    if not honest:
        raise ConfigError(f"{remote.url}: the service replaces what it is told to create, so it can hold no store")


def _tombstone(salt: str, sha256: str) -> str:
    return f"forgotten/{hashlib.sha256(f'{salt}:{sha256}'.encode()).hexdigest()}"

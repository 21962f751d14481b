"""Writing to a disk so that what has returned survives a kill and a power cut, and errors that say what to do."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ai_therapist.errors import MissingInput, StoreError

_CHUNK_BYTES = 1 << 20

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


def copy_and_hash(source: Path, target: Path) -> str:
    """Copy a file, synced and read-only; returns the sha256 of its content. Raises MissingInput where there is none."""
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


def publish(source: Path, target: Path) -> bool:
    """Give a synced file its final name, which the caller has to sync; returns False where the name was taken."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def sync_folder(path: Path) -> None:
    """Make what was created or removed in a folder, or written to a file, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A folder of recordings, each with its consent record beside it.

sessions/
  anna_1.mp4
  anna_1.consent.json    {"group": "anna", "consent": {"basis": "own_recording_signed_consent", ...}}
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.errors import MissingInput
from ai_therapist.extraction.sources.recording import (
    SUFFIXES,
    Recording,
    Refusal,
    RightsFile,
    folded,
    natural_key,
    read_rights,
)
from ai_therapist.records import SourceRecord
from ai_therapist.store.workspace import Workspace

_LONGEST_NAME = 255
"""Bytes of a file's name that file systems hold."""


@dataclass(frozen=True)
class FolderNeighbours:
    """The files of a folder of this machine; links that lead out of it are none."""

    folder: Path

    def sizes(self) -> dict[str, int]:
        """Their names, each with its size in bytes."""
        home = self.folder.resolve()
        return {path.name: path.stat().st_size for path in self.folder.iterdir() if _lies_in(path, home)}

    def read(self, name: str) -> bytes:
        """Content of one of them. Raises MissingInput where it cannot be read."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise MissingInput(_unreadable(name, error)) from None


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine as a source."""

    folder: Path

    def recordings(self, workspace: Workspace) -> tuple[Recording | Refusal, ...]:
        """Every recording of the folder. Raises MissingInput where it is no folder or holds none."""
        return find_recordings(self.folder, workspace.index.source_digest)

    def look(self) -> None:
        """Raises MissingInput as `recordings` does; nothing is read yet."""
        _candidates(self.folder)


def find_recordings(folder: Path, digest: Callable[[Path], str]) -> tuple[Recording | Refusal, ...]:
    """The recordings of `folder`, numbers in names in their natural order; `digest` gives a file's sha256.

    Raises MissingInput where `folder` is no folder or holds no recording at all.
    """
    paths = _candidates(folder)
    names: dict[str, str] = {}
    contents: dict[str, str] = {}
    found: list[Recording | Refusal] = []
    for path in sorted(paths, key=lambda path: natural_key(path.name)):
        entry = _admit(folder, path, names, contents, digest)
        found.append(Refusal(path.name, entry) if isinstance(entry, str) else entry)
    return tuple(found)


def _candidates(folder: Path) -> list[Path]:
    """What the names say are recordings."""
    try:
        if not folder.is_dir():
            raise MissingInput(f"{folder}: no such folder; give the folder that holds the recordings")
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    except OSError as error:
        raise MissingInput(f"{folder}: {error.strerror or 'cannot be read'}: give a folder that you may read") from None
    if not paths:
        raise MissingInput(f"{folder} holds no recording; looked for {', '.join(sorted(SUFFIXES))}")
    return paths


def _admit(
    folder: Path, path: Path, names: dict[str, str], contents: dict[str, str], digest: Callable[[Path], str]
) -> Recording | str:
    """The recording at `path`, or the reason why it is left out."""
    home = folder.resolve()
    if not _lies_in(path, home):
        return f"{path.name} is a link that leads out of the folder, or no file: copy the recording itself here"
    # Some file systems do not tell such names apart, and the readable view must not mix them up.
    name = folded(path.stem)
    if name in names:
        return f"{path.name} has the same name as {names[name]}: rename one of them and its consent record"
    rights = _rights(path, home)
    if isinstance(rights, str):
        return rights
    try:
        sha256 = digest(path)
    except (MissingInput, OSError) as error:
        return _unreadable(path.name, error)
    if sha256 in contents:
        return f"{path.name} has the same content as {contents[sha256]}, which is kept: remove one of them"
    names[name] = contents[sha256] = path.name
    source = SourceRecord(name=path.stem, sha256=sha256, group=rights.group, consent=rights.consent)
    return Recording(path, source, beside=FolderNeighbours(folder))


def _rights(path: Path, home: Path) -> RightsFile | str:
    beside = path.with_name(f"{path.stem}.consent.json")
    if len(os.fsencode(beside.name)) > _LONGEST_NAME:
        return f"{path.name} has a name too long for a consent record beside it: rename it"
    if not _lies_in(beside, home):
        return f"{path.name} has no consent record: write {beside.name} beside it, as docs/extraction.md shows"
    try:
        data = beside.read_bytes()
    except OSError as error:
        return _unreadable(beside.name, error)
    return read_rights(data, beside.name, path.name)


def _lies_in(path: Path, home: Path) -> bool:
    """Whether a path is a file, and no link that leads out of the folder or in a circle."""
    try:
        return path.is_file() and path.resolve().is_relative_to(home)
    except (OSError, RuntimeError):
        # A circle of links is a RuntimeError up to Python 3.12.
        return False


def _unreadable(name: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"{name} cannot be read ({reason}): give yourself the right to read it, or take it out of the folder"

"""A folder of recordings, each with its consent record beside it.

sessions/
  anna_1.mp4
  anna_1.consent.json    {"group": "anna", "consent": {"basis": "own_recording_signed_consent", ...}}
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import InvalidRecord, MissingInput
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Consent, SourceRecord, Use
from ai_therapist.records.base import Record
from ai_therapist.store.codec import decode

SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".m4a", ".mkv", ".webm", ".avi", ".ts", ".wav", ".mp3", ".ogg", ".opus", ".flac")
)
"""Files of a folder that are taken for recordings; what they really hold is decided by their content."""


class RightsFile(Record):
    """What `NAME.consent.json` holds."""

    group: Annotated[str, Field(min_length=1)]
    """Who must stay together when data are split: the client, the pair or the channel."""
    consent: Consent


@dataclass(frozen=True)
class LocalRecording:
    """A recording that may be transcribed."""

    path: Path
    source: SourceRecord


@dataclass(frozen=True)
class Refusal:
    """A recording that is left out, and why; the reason names the file and the remedy."""

    name: str
    reason: str


def find_recordings(folder: Path, digest: Callable[[Path], str]) -> tuple[LocalRecording | Refusal, ...]:
    """The recordings of `folder`, numbers in names in their natural order; `digest` gives a file's sha256.

    Raises MissingInput where `folder` is no folder or holds no recording at all.
    """
    if not folder.is_dir():
        raise MissingInput(f"{folder}: no such folder; give the folder that holds the recordings")
    paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not paths:
        raise MissingInput(f"{folder} holds no recording; looked for {', '.join(sorted(SUFFIXES))}")
    names: dict[str, str] = {}
    contents: dict[str, str] = {}
    found: list[LocalRecording | Refusal] = []
    for path in sorted(paths, key=lambda path: natural_key(path.name)):
        entry = _admit(folder, path, names, contents, digest)
        found.append(Refusal(path.name, entry) if isinstance(entry, str) else entry)
    return tuple(found)


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts "video_2" before "video_10"."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in re.split(r"(\d+)", name))


def _admit(
    folder: Path, path: Path, names: dict[str, str], contents: dict[str, str], digest: Callable[[Path], str]
) -> LocalRecording | str:
    """The recording at `path`, or the reason why it is left out."""
    home = folder.resolve()
    if not path.resolve().is_relative_to(home) or not path.is_file():
        return f"{path.name} is a link that leads out of the folder, or no file: copy the recording itself here"
    # Some file systems do not tell such names apart, and the readable view must not mix them up.
    folded = unicodedata.normalize("NFC", path.stem).casefold()
    if folded in names:
        return f"{path.name} has the same name as {names[folded]}: rename one of them and its consent record"
    rights = _rights(path, home)
    if isinstance(rights, str):
        return rights
    sha256 = digest(path)
    if sha256 in contents:
        return f"{path.name} has the same content as {contents[sha256]}, which is kept: remove one of them"
    names[folded] = contents[sha256] = path.name
    return LocalRecording(path, SourceRecord(name=path.stem, sha256=sha256, group=rights.group, consent=rights.consent))


def _rights(path: Path, home: Path) -> RightsFile | str:
    beside = path.with_name(f"{path.stem}.consent.json")
    if not beside.is_file() or not beside.resolve().is_relative_to(home):
        return f"{path.name} has no consent record: write {beside.name} beside it, as docs/extraction.md shows"
    try:
        rights = decode(RightsFile, beside.read_bytes(), beside.name)
    except InvalidRecord as error:
        return f"{error}: correct it as docs/extraction.md shows"
    reason = refusal(rights.consent, Use.TRANSCRIBE)
    if reason is not None:
        return f"{path.name}: {reason}: change {beside.name} only if the people agreed to it"
    return rights

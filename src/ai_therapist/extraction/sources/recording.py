"""What every source hands over: recordings that may be transcribed, and refusals with their reasons."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field

from ai_therapist.errors import InvalidRecord
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Consent, SourceRecord, Use
from ai_therapist.records.base import Record
from ai_therapist.store.codec import decode
from ai_therapist.store.workspace import Workspace

SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".m4a", ".mkv", ".webm", ".avi", ".ts", ".wav", ".mp3", ".ogg", ".opus", ".flac")
)
"""Files of a folder that are taken for recordings; what they really hold is decided by their content."""


class RightsFile(Record):
    """What `NAME.consent.json` holds."""

    group: Annotated[str, Field(min_length=1)]
    """Who must stay together when data are split: the client, the pair or the channel."""
    consent: Consent


class Neighbours(Protocol):
    """The files that lie beside a recording."""

    def sizes(self) -> dict[str, int]:
        """Their names, each with its size in bytes."""

    def read(self, name: str) -> bytes:
        """Content of one of them."""


@dataclass(frozen=True)
class Recording:
    """A recording that may be transcribed."""

    path: Path
    source: SourceRecord
    artefacts: dict[str, str] = field(default_factory=dict)
    """Further artefacts of its item, as what a platform said about its licence."""
    beside: Neighbours | None = None
    """What lies beside it, where it comes from a folder."""


@dataclass(frozen=True)
class Refusal:
    """A recording that is left out, and why; the reason names the file and the remedy."""

    name: str
    reason: str
    failure: bool = False
    """Whether the recording could not be had and is not asked for again before it is released."""


class Source(Protocol):
    """A place that recordings come from."""

    def recordings(self, workspace: Workspace) -> tuple[Recording | Refusal, ...]:
        """Every recording of the source, those left out with the reason; none vanishes.

        Raises MissingInput where the source holds no recording at all.
        """


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts "video_2" before "video_10"."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in re.split(r"(\d+)", name))


def folded(name: str) -> str:
    """A name as a file system sees it that does not tell case or composition apart."""
    return unicodedata.normalize("NFC", name).casefold()


def read_rights(data: bytes, record: str, recording: str) -> RightsFile | str:
    """The rights in the file `record`, or the reason why `recording` is left out."""
    try:
        # Editors of Windows begin a file with the mark.
        rights = decode(RightsFile, data.removeprefix(codecs.BOM_UTF8), record)
    except InvalidRecord as error:
        return f"{error}: correct it as docs/extraction.md shows"
    reason = refusal(rights.consent, Use.TRANSCRIBE)
    if reason is not None:
        return f"{recording}: {reason}: change {record} only if the people agreed to it"
    return rights

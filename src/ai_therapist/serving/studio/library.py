"""What a workspace holds, read for the page: sessions with their turns, clips, labels and media. Nothing is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from ai_therapist.errors import InvalidRecord, MissingInput
from ai_therapist.media.sound import load_speech
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Annotation, Clip, Session, Transcript, Use, Utterance
from ai_therapist.records.base import Record
from ai_therapist.store.blobs import Store
from ai_therapist.store.codec import decode, decode_all
from ai_therapist.store.workspace import ItemRecord, Status, Workspace

RecordT = TypeVar("RecordT", bound=Record)

_PEAKS = 900
"""Points of a waveform: about one for each pixel of a wide screen."""
_KEPT = 8_192
"""Records of each kind that stay in memory once they were read."""


@dataclass(frozen=True)
class Recorded:
    """A session as far as the workspace has come with it."""

    item: ItemRecord
    session: Session
    transcript: Transcript
    clips: tuple[Clip, ...]
    annotations: tuple[Annotation, ...]

    @property
    def turns(self) -> tuple[Utterance, ...]:
        """Its turns in order of time."""
        return self.transcript.utterances

    def clip_of(self, turn: Utterance) -> Clip | None:
        """The clip that shows a turn, or None."""
        return next((clip for clip in self.clips if turn.id in clip.utterances), None)

    @property
    def media_refusal(self) -> str | None:
        """Why a person may not judge emotions from face and voice here, or None where it is permitted."""
        return refusal(self.session.consent, Use.EMOTION_FROM_MEDIA)


@dataclass(frozen=True)
class MediaFile:
    """A file that the page may play."""

    path: Path
    kind: str
    """Its media type."""


class Library:
    """The sessions of a workspace. Safe for several threads: it only reads what never changes under its name."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        store = workspace.store
        self._session = _remembered(Session, store)
        self._transcript = _remembered(Transcript, store)
        self._clips = _remembered_all(Clip, store)
        self._annotations = _remembered_all(Annotation, store)
        self._peaks = lru_cache(maxsize=64)(_peaks)
        self._ledger = lru_cache(maxsize=4)(self._read_ledger)

    def items(self) -> tuple[ItemRecord, ...]:
        """The line of every recording in the furthest ledger that has it, in the order of their names."""
        found: dict[str, ItemRecord] = {}
        for name in ("extraction", "annotation"):
            for item in self._ledger(name, _state_of(self.workspace.root / "runs" / f"{name}.json")):
                # A session that annotation skipped is still there to be looked at.
                if item.item not in found or item.status is Status.DONE:
                    found[item.item] = item
        return tuple(sorted(found.values(), key=lambda item: (item.name, item.item)))

    def sessions(self) -> tuple[Recorded, ...]:
        """Every session that was extracted and can be read."""
        return tuple(one for one in map(self._found, self.items()) if isinstance(one, Recorded))

    def set_aside(self) -> tuple[ItemRecord, ...]:
        """The lines of recordings that there is no session of, each with the reason."""
        return tuple(one for one in map(self._found, self.items()) if isinstance(one, ItemRecord))

    def _found(self, item: ItemRecord) -> Recorded | ItemRecord:
        """The session of a line; the line itself, with a reason, where there is none that can be read."""
        if not item.artefacts.keys() >= _PARTS:
            return item
        try:
            return self._read(item)
        except (InvalidRecord, MissingInput) as error:
            reason = f"{error}: run  ai-therapist verify"
            return item.model_copy(update={"status": Status.QUARANTINED, "reason": reason})

    def session(self, session: str) -> Recorded:
        """One session. Raises MissingInput where there is none of this id, or it was not extracted."""
        item = next((item for item in self.items() if item.item == session), None)
        if item is None or not item.artefacts.keys() >= _PARTS:
            raise MissingInput("no such session in this workspace")
        return self._read(item)

    def media(self, session: str, name: str) -> MediaFile:
        """The file of a session that is called "video", "audio" or by the id of a clip.

        Raises MissingInput where it has none. Only names in its ledger line lead anywhere.
        """
        artefacts = self.session(session).item.artefacts
        key = f"clip/{name}" if re.fullmatch(r"clp_[0-9a-f]{12}", name) else name
        kind = "audio/wav" if key == "audio" else "video/mp4"
        digest = artefacts.get(key)
        if (key not in {"video", "audio"} and not key.startswith("clip/")) or digest is None:
            raise MissingInput("no such recording of this session")
        path = self.workspace.store.path(digest)
        if not path.exists():
            raise MissingInput("this recording is gone from the store: run  ai-therapist verify")
        return MediaFile(path, kind)

    def waveform(self, session: str) -> list[int]:
        """How loud a session is from beginning to end: peaks of equal stretches, 0 to 100; nothing without sound."""
        artefacts = self.session(session).item.artefacts
        if "audio" not in artefacts:
            return []
        return self._peaks(self.workspace.store.path(artefacts["audio"]))

    def _read_ledger(self, name: str, state: tuple[int, int, int]) -> tuple[ItemRecord, ...]:
        """The lines of a ledger; `state` tells a new one from the one that was read before."""
        run = self.workspace.find_run(name)
        return () if run is None else run.items

    def _read(self, item: ItemRecord) -> Recorded:
        artefacts = item.artefacts
        return Recorded(
            item=item,
            session=self._session(artefacts["session"]),
            transcript=self._transcript(artefacts["utterances"]),
            clips=self._clips(artefacts["clips"]),
            annotations=self._annotations(artefacts["annotations"]) if "annotations" in artefacts else (),
        )


_PARTS = {"session", "utterances", "clips"}


def _state_of(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written anew; zeros where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _remembered(kind: type[RecordT], store: Store) -> Callable[[str], RecordT]:
    @lru_cache(maxsize=_KEPT)
    def read(digest: str) -> RecordT:
        return decode(kind, store.read(digest), f"{kind.__name__} {digest[:12]}")

    return read


def _remembered_all(kind: type[RecordT], store: Store) -> Callable[[str], tuple[RecordT, ...]]:
    @lru_cache(maxsize=_KEPT)
    def read(digest: str) -> tuple[RecordT, ...]:
        return decode_all(kind, store.read(digest), f"{kind.__name__} {digest[:12]}")

    return read


def _peaks(path: Path) -> list[int]:
    samples = np.abs(load_speech(path))
    if samples.size == 0:
        return []
    edges = np.linspace(0, samples.size, min(_PEAKS, samples.size) + 1).astype(np.int64)[:-1]
    peaks = np.maximum.reduceat(samples, edges)
    loudest = float(peaks.max())
    return [round(100 * float(peak) / loudest) if loudest else 0 for peak in peaks]

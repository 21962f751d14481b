"""What was sent to other computers from this workspace, so that forgetting a session can name the copies that remain.

uploads.json     one entry for each repository, written before the first byte leaves
copies.json      addresses of the buckets that hold a copy of the whole workspace, written before the first byte leaves
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest, RecordId
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import decode, encode

UPLOADS = "uploads.json"
COPIES = "copies.json"

RepositoryKind = Literal["dataset", "model"]


class Upload(Record):
    """A repository elsewhere that holds, or may hold, what was made from sessions of this workspace."""

    kind: RepositoryKind
    repository: Annotated[str, Field(min_length=1)]
    """Owner and name."""
    endpoint: Annotated[str, Field(min_length=1)]
    private: bool
    digest: Digest
    """Sha256 of the listing of the folder that was last sent."""
    commit: str | None
    """Revision that holds this folder; None where sending it was begun and is not known to have ended."""
    sessions: tuple[RecordId, ...]
    """Every session that was ever sent there: a repository's history keeps what later revisions leave out."""
    forgotten: Annotated[int, Field(ge=0)] = 0
    """Sessions among those ever sent that were forgotten here since."""
    at: str
    """Moment of the last change in UTC, ISO 8601 to the second."""

    @property
    def place(self) -> tuple[str, str, str]:
        """What tells one remote repository from another."""
        return self.endpoint, self.kind, self.repository


class Uploads(Record):
    """All repositories that anything was sent to."""

    uploads: tuple[Upload, ...] = ()

    def with_upload(self, new: Upload) -> Uploads:
        """The same with `new` in place of an earlier entry for its repository, whose sessions it keeps."""
        old = next((upload for upload in self.uploads if upload.place == new.place), None)
        if old is not None:
            sessions = tuple(sorted({*old.sessions, *new.sessions}))
            new = new.model_copy(update={"sessions": sessions, "forgotten": old.forgotten})
        kept = [upload for upload in self.uploads if upload.place != new.place]
        return Uploads(uploads=tuple(sorted((*kept, new), key=lambda upload: upload.place)))

    def without_session(self, session: str) -> Uploads:
        """The same with the session's id gone and counted as forgotten wherever it was sent."""
        return Uploads(uploads=tuple(_without(upload, session) for upload in self.uploads))

    def holding(self, session: str) -> tuple[Upload, ...]:
        """The repositories that the session was sent to."""
        return tuple(upload for upload in self.uploads if session in upload.sessions)


def load_uploads(root: Path) -> Uploads:
    """The ledger of a workspace; an empty one where nothing was sent. Raises InvalidRecord."""
    path = root / UPLOADS
    return decode(Uploads, path.read_bytes(), UPLOADS) if path.exists() else Uploads()


def note_upload(root: Path, upload: Upload) -> None:
    """Enter what is about to be sent, or what was. Raises StoreError."""
    write_atomically(root / UPLOADS, encode(load_uploads(root).with_upload(upload)))


class Copies(Record):
    """Folders of buckets that this workspace was pushed to or pulled from."""

    urls: tuple[str, ...] = ()


def load_copies(root: Path) -> tuple[str, ...]:
    """Where copies of the workspace are; none where it was never synced. Raises InvalidRecord."""
    path = root / COPIES
    return decode(Copies, path.read_bytes(), COPIES).urls if path.exists() else ()


def note_copy(root: Path, url: str) -> None:
    """Enter a folder of a bucket that is about to hold a copy, or has one. Raises StoreError."""
    urls = {*load_copies(root), url}
    if len(urls) > len(load_copies(root)):
        write_atomically(root / COPIES, encode(Copies(urls=tuple(sorted(urls)))))


def _without(upload: Upload, session: str) -> Upload:
    if session not in upload.sessions:
        return upload
    left = tuple(each for each in upload.sessions if each != session)
    return upload.model_copy(update={"sessions": left, "forgotten": upload.forgotten + 1})

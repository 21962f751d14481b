"""Where the store of a workspace lies: in its folder, or on an object store that `store.json` names."""

from __future__ import annotations

from pathlib import Path

from ai_therapist.errors import RequestError
from ai_therapist.records.base import Record
from ai_therapist.store.blobs import Store, write_atomically
from ai_therapist.store.bucket_store import BucketStore, check_creation, finish_erasures
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.objects import BucketFolder

PLACE = "store.json"


class Place(Record):
    """Where the blobs and records of a workspace are kept."""

    url: str
    """gs://BUCKET/FOLDER or s3://BUCKET/FOLDER"""


def open_store(root: Path, url: str = "") -> Store:
    """The store of the workspace at `root`; a new workspace gets it at `url`, where one is given.

    Raises RequestError where the workspace has its store elsewhere, and ConfigError for an address that can hold none.
    """
    path = root / PLACE
    kept = decode(Place, path.read_bytes(), PLACE).url if path.exists() else ""
    wanted = BucketFolder.at(url).url if url else kept
    if not wanted:
        return Store(root / "store")
    remote = BucketFolder.at(wanted)
    if kept != wanted:
        if kept or any((root / "store").glob("*/*/*")):
            raise RequestError(
                f"{root} has its store {f'at {kept}' if kept else 'in its own folder'}, not at {wanted}: "
                "name a new workspace with -w, or leave pipeline.store as it was"
            )
        check_creation(remote)
        write_atomically(path, encode(Place(url=wanted)))
    finish_erasures(remote)
    return BucketStore(root / "store", remote)

"""A copy of a workspace on an object store: pushed and pulled, resumable, verified by hash, safe for two writers.

    store/cas/ab/…  store/act/ab/…  store/bad/ab/…   as in the workspace; created, never replaced
    files/SHA256                                     content of ledgers, reports and reviews; created, never replaced
    manifests/00000007.json                          {path: sha256} of these files; the highest number counts

A push ends with the creation of the next manifest. Of two writers that push at once one creates it and the other is
told; a reader sees the files of one push, never a mixture. `sync.json` remembers the files of the last push or pull:
a file that was changed on one side only goes to the other side, one that was changed on both is left alone.
Not copied: the index, the views and exports, which any command makes anew, and what unfinished work keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import InvalidRecord, RequestError, StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.store.actions import ActionRecord
from ai_therapist.store.blobs import hash_file, write_atomically
from ai_therapist.store.bucket_store import OBJECT_NAME, BucketStore
from ai_therapist.store.codec import canonical_json, decode, encode
from ai_therapist.store.erasure import INDEX, JOURNAL, TOMBSTONES, Tombstones
from ai_therapist.store.objects import BucketFolder
from ai_therapist.store.uploads import COPIES, note_copy
from ai_therapist.store.workspace import Workspace

MEMORY = "sync.json"
_KINDS = ("cas", "bad", "act")
"""In this order: a record is copied after the blobs that it names."""
_LEFT_OUT = ("store", "view", "dataset", "exports")


class Manifest(Record):
    """The files beside the store, by content."""

    number: Annotated[int, Field(ge=0)]
    files: dict[str, Digest]


@dataclass
class Synced:
    """What one push or pull did."""

    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    """Objects that were there already."""
    adopted: int = 0
    """Actions that both sides had done with other results; the one that was there first stands."""
    removed: int = 0
    conflicts: list[str] = field(default_factory=list)
    """Files that both sides changed; neither was touched."""


def push(workspace: Workspace, remote: BucketFolder, *, mirror: bool = False) -> Synced:
    """Copy what the remote side lacks; with `mirror` the copy becomes as the workspace: what else it holds is removed.

    Raises RequestError where the remote side remembers that a recording was forgotten which this workspace has, or
    holds one that was forgotten here and is not to be mirrored, and where another writer pushes at the same time.
    """
    _refuse_remote_store(workspace)
    theirs, done = _newest(remote), Synced()
    names = _remote_names(remote)
    _refuse_forgotten_here(workspace, names, mirror=mirror)
    _refuse_forgotten_there(workspace, remote, theirs)
    note_copy(workspace.root, remote.url)
    for kind in _KINDS:
        for path in sorted((workspace.root / "store" / kind).glob("*/*")):
            name = path.relative_to(workspace.root).as_posix()
            _push_object(workspace, remote, name, path, names, done)
    base, mine = _memory(workspace), _files(workspace)
    merged = mine if mirror else _merged(mine, theirs.files, base, done)
    for name in sorted(merged.keys() & mine.keys()):
        if merged[name] == mine[name] != theirs.files.get(name):
            done.copied += remote.create(f"files/{mine[name]}", workspace.root / name)
    if merged != theirs.files or theirs.number == 0:
        _commit(remote, Manifest(number=theirs.number + 1, files=merged))
    if mirror:
        _mirror(workspace, remote, names, set(merged.values()), theirs.number + (merged != theirs.files), done)
    _remember(workspace, {name: digest for name, digest in merged.items() if mine.get(name) == digest}, base)
    return done


def pull(workspace: Workspace, remote: BucketFolder) -> Synced:
    """Copy what the workspace lacks, every object checked against its name or its key before it counts.

    Raises RequestError where the remote side is no copy or holds a recording that was forgotten here, and StoreError
    where an object does not hold what its name says.
    """
    _refuse_remote_store(workspace)
    theirs, done = _newest(remote), Synced()
    if theirs.number == 0:
        raise RequestError(f"{remote.url} is no copy of a workspace: make one with  ai-therapist sync push")
    names = _remote_names(remote)
    _refuse_forgotten_here(workspace, names, mirror=False)
    note_copy(workspace.root, remote.url)
    _pull_tombstones(workspace, remote, theirs)
    for kind in _KINDS:
        for name in sorted(name for name in names if name.startswith(f"store/{kind}/")):
            _pull_object(workspace, remote, name, done)
    base, mine = _memory(workspace), _files(workspace)
    for name, digest in theirs.files.items():
        if mine.get(name) == digest or name == TOMBSTONES:
            continue
        if _changed_on_both(name, mine, theirs.files, base):
            done.conflicts.append(name)
        elif digest != base.get(name) or name not in mine:
            write_atomically(_inside(workspace, name), _verified(remote, f"files/{digest}", digest))
            done.copied += 1
    now = _files(workspace)
    _remember(workspace, {name: digest for name, digest in theirs.files.items() if now.get(name) == digest}, base)
    workspace.index.rebuild()
    return done


def _refuse_remote_store(workspace: Workspace) -> None:
    if isinstance(workspace.store, BucketStore):
        raise RequestError(
            f"the store of {workspace.root} lies at {workspace.store.remote.url} already: copy that folder with the "
            "tools of the service, and the ledgers of this one as files"
        )


def _merged(mine: dict[str, str], theirs: dict[str, str], base: dict[str, str], done: Synced) -> dict[str, str]:
    """The files that the copy should have: theirs, and each of ours that only we changed."""
    merged = dict(theirs)
    for name, digest in mine.items():
        if _changed_on_both(name, mine, theirs, base):
            done.conflicts.append(name)
        elif digest not in (theirs.get(name), base.get(name)):
            merged[name] = digest
    return merged


def _push_object(
    workspace: Workspace, remote: BucketFolder, name: str, path: Path, names: dict[str, int], done: Synced
) -> None:
    size = path.stat().st_size
    if name in names:
        done.present += 1
        if names[name] != size and "/act/" in name:
            done.adopted += 1
        elif names[name] != size:
            raise StoreError(f"{remote.url}/{name} is not what its name says: delete it there, then push again")
        return
    if "/cas/" in name and hash_file(path) != path.name:
        raise StoreError(f"blob {path.name[:12]} does not hold what its name says: run  ai-therapist verify")
    if remote.create(name, path):
        done.copied += 1
        done.copied_bytes += size
    elif "/act/" in name and remote.read(name) != path.read_bytes():
        done.adopted += 1
    else:
        done.present += 1


def _pull_object(workspace: Workspace, remote: BucketFolder, name: str, done: Synced) -> None:
    store, stem = workspace.store, Path(name).stem
    local = workspace.root / name
    if local.exists():
        done.present += 1
        return
    if "/cas/" in name:
        with store.scratch() as folder:
            target = folder / "blob"
            remote.download(name, target)
            if hash_file(target) != stem:
                raise StoreError(f"{remote.url}/{name} does not hold what its name says: delete it there")
            done.copied_bytes += target.stat().st_size
            store.put_file(target)
    else:
        data = remote.read(name)
        if "/act/" in name and name.endswith(".json"):
            _check_action(data, stem, name)
        write_atomically(local, data)
        done.copied_bytes += len(data)
    done.copied += 1


def _check_action(data: bytes, key: str, where: str) -> None:
    try:
        record = decode(ActionRecord, data, where)
    except InvalidRecord as error:
        raise StoreError(f"{error}: delete it there, then run the stage again") from None
    if record.key != key:
        raise StoreError(f"{where} is the record of another action: delete it there, then run the stage again")


def _remote_names(remote: BucketFolder) -> dict[str, int]:
    """Name and size of every object of the store there; what has no name of ours is no part of the copy."""
    return {listed.name: listed.size for listed in remote.list("store") if OBJECT_NAME.fullmatch(listed.name)}


def _newest(remote: BucketFolder) -> Manifest:
    numbers = sorted(listed.name for listed in remote.list("manifests") if listed.name.endswith(".json"))
    if not numbers:
        return Manifest(number=0, files={})
    return decode(Manifest, remote.read(numbers[-1]), numbers[-1])


def _commit(remote: BucketFolder, manifest: Manifest) -> None:
    if not remote.create(f"manifests/{manifest.number:08}.json", encode(manifest)):
        raise RequestError(f"somebody else pushed to {remote.url} at the same time: run the same command again")


def _files(workspace: Workspace) -> dict[str, str]:
    """The files beside the store that belong to the copy, by content."""
    return {name: hash_file(workspace.root / name) for name in _file_names(workspace.root)}


def _file_names(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if _belongs(relative.parts) and path.is_file() and not path.is_symlink():
            yield relative.as_posix()


def _belongs(parts: tuple[str, ...]) -> bool:
    """Whether a file at this place of a workspace is part of its copy."""
    if not parts or parts[0] in _LEFT_OUT or any(part.startswith(".") for part in parts):
        return False
    return not parts[0].startswith(INDEX) and parts not in ((JOURNAL,), (MEMORY,), (COPIES,))


def _changed_on_both(name: str, mine: dict[str, str], theirs: dict[str, str], base: dict[str, str]) -> bool:
    here, there, before = mine.get(name), theirs.get(name), base.get(name)
    return here is not None and there is not None and here != there and before not in (here, there)


def _memory(workspace: Workspace) -> dict[str, str]:
    path = workspace.root / MEMORY
    files: dict[str, str] = json.loads(path.read_bytes()) if path.exists() else {}
    return files


def _remember(workspace: Workspace, agreed: dict[str, str], base: dict[str, str]) -> None:
    if {**base, **agreed} != base or not (workspace.root / MEMORY).exists():
        write_atomically(workspace.root / MEMORY, canonical_json({**base, **agreed}))


def _inside(workspace: Workspace, name: str) -> Path:
    """Where a file of the copy lies in the workspace. Raises StoreError for a place where none belongs."""
    path, parts = workspace.root / name, Path(name).parts
    if not path.resolve().is_relative_to(workspace.root.resolve()) or not _belongs(parts):
        raise StoreError(f"{name!r} is no file of a copy: it was tampered with")
    return path


def _verified(remote: BucketFolder, name: str, digest: str) -> bytes:
    data = remote.read(name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise StoreError(f"{remote.url}/{name} does not hold what its name says: delete it there and push again")
    return data


def _refuse_forgotten_here(workspace: Workspace, names: dict[str, int], *, mirror: bool) -> None:
    held = [name for name in names if name.startswith("store/cas/") and workspace.was_forgotten(Path(name).name)]
    if held and not mirror:
        raise RequestError(
            f"the copy still holds {len(held)} recordings that were forgotten here: remove them and all that was made "
            "from them there with  ai-therapist sync push --mirror"
        )


def _refuse_forgotten_there(workspace: Workspace, remote: BucketFolder, theirs: Manifest) -> None:
    stones = _tombstones(remote, theirs)
    if stones is None:
        return
    held = [path.name for path in workspace.store.blob_paths() if stones.mark(path.name) in stones.digests]
    if held:
        raise RequestError(
            f"{len(held)} recordings of this workspace were forgotten on request in the copy: forget them here, too, "
            f"with  ai-therapist forget  (content begins with {held[0][:12]})"
        )


def _pull_tombstones(workspace: Workspace, remote: BucketFolder, theirs: Manifest) -> None:
    """Take over what the copy remembers as forgotten, before anything else comes in."""
    stones, path = _tombstones(remote, theirs), workspace.root / TOMBSTONES
    if stones is None:
        return
    _refuse_forgotten_there(workspace, remote, theirs)
    own = decode(Tombstones, path.read_bytes(), path.name) if path.exists() else None
    if own is not None and own.salt != stones.salt:
        raise RequestError("this workspace and the copy forgot recordings apart from each other: they cannot be joined")
    digests = tuple(sorted({*stones.digests, *(own.digests if own is not None else ())}))
    if own is None or own.digests != digests:
        write_atomically(path, encode(Tombstones(salt=stones.salt, digests=digests)))


def _tombstones(remote: BucketFolder, theirs: Manifest) -> Tombstones | None:
    digest = theirs.files.get(TOMBSTONES)
    return None if digest is None else decode(Tombstones, _verified(remote, f"files/{digest}", digest), TOMBSTONES)


def _mirror(
    workspace: Workspace, remote: BucketFolder, names: dict[str, int], kept: set[str], number: int, done: Synced
) -> None:
    """Remove what the workspace does not have: records first, so that none ever names what is gone."""
    gone = [name for name in names if not (workspace.root / name).exists()]
    gone.sort(key=lambda name: -_KINDS.index(name.split("/")[1]))
    gone += [f.name for f in remote.list("files") if f.name.removeprefix("files/") not in kept]
    gone += [m.name for m in remote.list("manifests") if m.name < f"manifests/{number:08}.json"]
    for name in gone:
        remote.delete(name)
        done.removed += 1

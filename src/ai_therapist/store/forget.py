"""Finds everything a workspace holds of one session, and everything that was made from it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.records import SourceRecord
from ai_therapist.store.actions import ActionRecord, IntentRecord, TicketRecord
from ai_therapist.store.blobs import Store, hash_file
from ai_therapist.store.bucket_store import BucketStore
from ai_therapist.store.codec import canonical_json, decode, encode
from ai_therapist.store.decisions import DECISIONS
from ai_therapist.store.erasure import INDEX, JOURNAL, TOMBSTONES, Erasure, Tombstones, begin, finish, load_tombstones
from ai_therapist.store.uploads import UPLOADS, Upload, load_uploads
from ai_therapist.store.workspace import ItemRecord, RunRecord, Workspace

_DIGEST = re.compile(rb"[0-9a-f]{64}")
_RECORD_ID = re.compile(rb"(?:ses|utt|clp|ann|exm)_[0-9a-f]{12}")
_TREE_START = re.compile(rb'^\{"[^"]+":"[0-9a-f]{64}"')
_TREE_START_BYTES = 4096
_LARGEST_LIST_BYTES = 1 << 24
"""Longest blob that is searched for digests of others; lists and trees are far shorter, media far longer."""


_BLOCK_BYTES = 1 << 22
_LONGEST_MARK = 64
"""Characters of a digest: what may lie across the edge of two blocks."""

_LEARNED = {"model", "classifier"}
"""Names under which stages keep what learned from sessions."""


_REPORT = {"report.json", "report.html", "report.md", "model-index.json", "predictions.jsonl"}
"""What an evaluation leaves beside the store; figures alone name no session, so nothing in them would tell."""


@dataclass(frozen=True)
class Forgetting:
    """What forgetting a session takes away."""

    session: str
    name: str
    erasure: Erasure
    actions: int
    blobs: int
    bytes: int
    models: tuple[str, ...]
    """Digests of the tuned models that learned from the session. They go with it."""
    ledgers: tuple[str, ...]
    """Runs that must be made again, since they rested on the session."""
    decisions: int
    """What people decided about the session; nothing can make it again."""
    remote: tuple[Upload, ...]
    """Repositories elsewhere that it was sent to: they stay, and are named."""
    jobs: tuple[str, ...]
    """Stages and ids of the paid jobs on other computers that were given its sound."""


def plan(workspace: Workspace, session: str) -> Forgetting:
    """What `forget` would do; nothing is changed. `session` is an id or the readable name of the last extraction.

    Raises MissingInput where the workspace holds nothing of the session, and RequestError while another process
    writes to the store.
    """
    busy = workspace.store.writers()
    if busy:
        raise RequestError(f"{workspace.root} is in use by {busy[0]}: let it finish or stop it, then forget")
    runs = dict(_ledgers(workspace.root))
    session_id = _resolve(runs, session)
    mentioned = [item for run in runs.values() for item in run.items if item.item == session_id]
    named = {item.artefacts["recording"] for item in mentioned if "recording" in item.artefacts}
    trail = _Trail.of(workspace.store, session_id, named)
    if not trail.erased and not mentioned:
        raise MissingInput(f"{session!r}: nothing of this session is in {workspace.root}")
    recordings = trail.recordings
    names = {item.name for item in mentioned}
    kept_runs = {path: _without(run, session_id, trail.erased.keys()) for path, run in runs.items()}
    held = workspace.store.held()
    gone = held.keys() - _referenced(workspace.store, trail, [run for run in kept_runs.values() if run is not None])
    rewrite = {path: encode(run).decode() for path, run in kept_runs.items() if run is not None and run != runs[path]}
    rewrite |= _splits(workspace, mentioned, kept_runs.values())
    uploads = load_uploads(workspace.root)
    sent = uploads.holding(session_id)
    if sent:
        rewrite[UPLOADS] = encode(uploads.without_session(session_id)).decode()
    # What fetched it must not fetch it again.
    fetches = {action.key for action in trail.erased.values() if not recordings.isdisjoint(action.outputs.values())}
    rewrite[TOMBSTONES] = encode(_tombstones(workspace.root, recordings | fetches)).decode()
    dropped = [path for path, run in kept_runs.items() if run is None]
    stored = tuple(_store_paths(workspace.store, trail, session_id, gone))
    paths = {*stored, *_unfinished(workspace.store), *dropped}
    paths |= _other_files(workspace, trail, session_id, {digest: held[digest] for digest in gone}, names, dropped)
    remote = workspace.store.remote if isinstance(workspace.store, BucketStore) else None
    erasure = Erasure(
        session=session_id,
        rewrite=rewrite,
        delete=tuple(sorted(paths - rewrite.keys())),
        keys=tuple(sorted(trail.erased)),
        recordings=tuple(sorted(recordings)),
        bucket=remote.url if remote is not None else "",
        objects=stored if remote is not None else (),
        refused=tuple(sorted(recordings | fetches)) if remote is not None else (),
    )
    return Forgetting(
        session=session_id,
        name=min(names, default=session_id),
        erasure=erasure,
        actions=len(trail.erased),
        blobs=len(gone),
        bytes=sum(held[digest] for digest in gone),
        models=tuple(sorted({a.outputs[name] for a in trail.erased.values() for name in _LEARNED & set(a.outputs)})),
        ledgers=tuple(sorted(Path(path).stem for path in dropped)),
        decisions=workspace.decisions.count(session_id),
        remote=sent,
        jobs=_jobs(workspace.store, session_id),
    )


def forget(workspace: Workspace, forgetting: Forgetting) -> None:
    """Carry a plan out. Killed anywhere, it is finished by whatever opens the workspace next. Raises StoreError."""
    workspace.index.close()
    begin(workspace.root, forgetting.erasure)
    finish(workspace.root)
    workspace.reopen()


@dataclass
class _Trail:
    """The actions that belong to a session or descend from it."""

    erased: dict[str, ActionRecord] = field(default_factory=dict)
    kept: list[ActionRecord] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    """Action records that cannot be read: nobody can say what they hold, so they go."""
    recordings: set[str] = field(default_factory=set)
    records: set[bytes] = field(default_factory=set)
    """Ids of the session and of every record that the erased actions gave."""

    @classmethod
    def of(cls, store: Store, session: str, recordings: set[str]) -> _Trail:
        trail = cls(records={session.encode()}, recordings=set(recordings))
        for path, data in store.raw_records("act"):
            try:
                trail.kept.append(decode(ActionRecord, data, path.name))
            except InvalidRecord:
                trail.damaged.append(path)
        own = [a for a in trail.kept if a.item == session or any(session in name for name in a.inputs)]
        trail._erase(own)
        trail.recordings |= {a.inputs["recording"] for a in own if a.item == session and "recording" in a.inputs}
        # A recording that was fetched is the output of an action.
        trail._erase([a for a in trail.kept if not trail.recordings.isdisjoint(a.outputs.values())])
        lists: dict[str, frozenset[bytes]] = {}
        while more := trail._descendants(store, lists):
            trail._erase(more)
        return trail

    def _erase(self, actions: Iterable[ActionRecord]) -> None:
        for action in actions:
            self.erased[action.key] = action
            self.records |= {record.encode() for record in action.records}
        self.kept = [action for action in self.kept if action.key not in self.erased]

    def _descendants(self, store: Store, lists: dict[str, frozenset[bytes]]) -> list[ActionRecord]:
        """Kept actions that read what only erased ones gave, or a list that names it."""
        given = {digest for action in self.kept for digest in action.outputs.values()}
        own = {digest for action in self.erased.values() for digest in action.outputs.values()} - given
        own |= self.recordings
        marks = {digest.encode() for digest in own} | self.records
        found = []
        for action in self.kept:
            inputs = set(action.inputs.values())
            from_outside = inputs - given - own
            named = any(not marks.isdisjoint(_named_in(store, digest, lists)) for digest in from_outside)
            if named or not inputs.isdisjoint(own):
                found.append(action)
        return found


def _named_in(store: Store, digest: str, lists: dict[str, frozenset[bytes]]) -> frozenset[bytes]:
    """Digests and record ids that a list or record from outside names."""
    if digest not in lists:
        data = _read_list(store, digest)
        lists[digest] = frozenset(_DIGEST.findall(data) + _RECORD_ID.findall(data))
    return lists[digest]


def _read_list(store: Store, digest: str) -> bytes:
    """Content of a JSON list or object; nothing for media and for what is not there."""
    if store.head(digest, 1) not in (b"[", b"{"):
        return b""
    data = store.head(digest, _LARGEST_LIST_BYTES + 1)
    return data if len(data) <= _LARGEST_LIST_BYTES else b""


def _ledgers(root: Path) -> Iterator[tuple[str, RunRecord]]:
    for path in sorted((root / "runs").glob("*.json")):
        try:
            yield f"runs/{path.name}", decode(RunRecord, path.read_bytes(), path.name)
        except InvalidRecord:
            continue  # Timings and the like; `_other_files` looks into them.


def _resolve(runs: dict[str, RunRecord], session: str) -> str:
    """The id of a session that is given by id or by readable name. Raises RequestError for a name that two have."""
    if re.fullmatch(r"ses_[0-9a-f]{12}", session):
        return session
    found = {
        item.item
        for run in runs.values()
        for item in run.items
        if item.name == session and item.item.startswith("ses_")
    }
    if len(found) != 1:
        named = f"it is the name of {', '.join(sorted(found))}; give the id"
        unknown = "no session has this name; runs/extraction.json in the workspace lists names and ids"
        raise MissingInput(f"{session!r}: {named if found else unknown}")
    return found.pop()


def _without(run: RunRecord, session: str, erased: Iterable[str]) -> RunRecord | None:
    """The ledger without the session; None where a result that others share rested on it."""
    gone = set(erased)
    if any(item.item != session and not gone.isdisjoint(item.actions) for item in run.items):
        return None
    items = tuple(item for item in run.items if item.item != session)
    return run.model_copy(update={"items": items, "read": len(items)})


def _referenced(store: Store, trail: _Trail, runs: list[RunRecord]) -> set[str]:
    """Blobs that something which stays refers to; what a killed run left is not among them."""
    kept = {digest for action in trail.kept for digest in (*action.inputs.values(), *action.outputs.values())}
    kept |= {digest for run in runs for item in run.items for digest in item.artefacts.values()}
    for digest in tuple(kept):
        if _TREE_START.match(store.head(digest, _TREE_START_BYTES)):
            kept |= {match.decode() for match in _DIGEST.findall(_read_list(store, digest))}
    return kept


def _jobs(store: Store, session: str) -> tuple[str, ...]:
    """The stage and the id of each job that the sound was sent away for; of one that was never noted, its upload."""
    records = [record for _, record in store.job_records(session)]
    noted = {
        record.key: f"{record.stage} (job {record.ticket})" for record in records if isinstance(record, TicketRecord)
    }
    lost = {
        record.key: f"{record.stage} (upload {record.mark})" for record in records if isinstance(record, IntentRecord)
    }
    return tuple(sorted((lost | noted).values()))


def _store_paths(store: Store, trail: _Trail, session: str, gone: Iterable[str]) -> Iterator[str]:
    """Blobs, quarantine records, tickets and action records, relative to the workspace."""
    yield from (f"store/cas/{digest[:2]}/{digest}" for digest in sorted(gone))
    places = [store.record_path("bad", record.key) for record in store.quarantines() if record.item == session]
    places += [path for path, _ in store.job_records(session)]
    places += trail.damaged
    places += [store.record_path("act", key) for key in sorted(trail.erased)]
    yield from (path.relative_to(store.root.parent).as_posix() for path in places)


def _unfinished(store: Store) -> Iterator[str]:
    """What unfinished actions kept: nobody can tell from its name what such an action has read."""
    for kind in ("work", "tmp"):
        yield from (path.relative_to(store.root.parent).as_posix() for path in (store.root / kind).iterdir())


def _other_files(
    workspace: Workspace, trail: _Trail, session: str, gone: dict[str, int], names: set[str], dropped: list[str]
) -> set[str]:
    """Views, reports, the dataset folder and any other file beside the store that holds or names what goes."""
    root, store = workspace.root, workspace.store
    inodes = {path.stat().st_ino for path in store.blob_paths() if path.name in gone}
    sizes = set(gone.values())
    digests = {digest.encode() for digest in gone}
    found = {f"view/{kind}/{name}" for kind in ("sessions", "annotations") for name in names}
    found.add(f"{DECISIONS}/{session}")
    # Nobody can look into a compressed table or an archive; what was exported can be made again.
    found.add(workspace.exports.relative_to(root).as_posix())
    if "runs/dataset.json" in dropped or any("dataset" in action.outputs for action in trail.erased.values()):
        found.add(workspace.dataset.relative_to(root).as_posix())
    if "runs/evaluation.json" in dropped or any("report" in action.outputs for action in trail.erased.values()):
        found |= _REPORT
    for path in root.rglob("*"):
        relative = path.relative_to(root).as_posix()
        if path.is_dir() or relative.startswith(("store/", INDEX)) or relative in (JOURNAL, TOMBSTONES):
            continue
        if relative.startswith("runs/") and relative not in dropped and relative != "runs/seconds.json":
            continue
        stat = path.lstat()
        same = stat.st_ino in inodes or (stat.st_size in sizes and hash_file(path) in gone)
        if same or (stat.st_nlink == 1 and _mentions(path, digests | trail.records)):
            found.add(relative)
    return {name for name in found if (root / name).exists()}


def _mentions(path: Path, marks: set[bytes]) -> bool:
    """Whether any byte of a file names one of these digests or ids, however long the file is."""
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            data = rest + block
            if not marks.isdisjoint(_DIGEST.findall(data)) or not marks.isdisjoint(_RECORD_ID.findall(data)):
                return True
            rest = data[-_LONGEST_MARK:]
    return False


def _splits(workspace: Workspace, mentioned: list[ItemRecord], runs: Iterable[RunRecord | None]) -> dict[str, str]:
    """The ledger of splits without the session's group, unless another session shares it: it may name a person."""
    path = workspace.root / "splits.json"
    if not path.exists():
        return {}
    staying = [item for run in runs if run is not None for item in run.items]
    groups = _groups(workspace.store, mentioned) - _groups(workspace.store, staying)
    ledger: dict[str, dict[str, object]] = json.loads(path.read_bytes())
    left = {group: assignment for group, assignment in ledger["groups"].items() if group not in groups}
    return {path.name: canonical_json({**ledger, "groups": left}).decode()}


def _groups(store: Store, items: Iterable[ItemRecord]) -> set[str]:
    """Who the sessions behind these items must be kept together with."""
    digests = {item.artefacts["source"] for item in items if "source" in item.artefacts}
    return {decode(SourceRecord, store.read(digest), "source").group for digest in digests if store.has(digest)}


def _tombstones(root: Path, recordings: Iterable[str]) -> Tombstones:
    stones = load_tombstones(root) or Tombstones(salt=secrets.token_hex(16), digests=())
    for sha256 in recordings:
        stones = stones.with_recording(sha256)
    return stones

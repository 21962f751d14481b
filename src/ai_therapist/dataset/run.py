"""Makes the dataset from the annotated sessions of a workspace."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ai_therapist.dataset.build import Built, Drop, SessionParts, build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.folder import write_folder
from ai_therapist.dataset.leakage import check_leakage, without_near_duplicates
from ai_therapist.dataset.manifest import REPORT
from ai_therapist.dataset.read import ITEM, RUN
from ai_therapist.dataset.rows import LABELS, REPLIES, SESSIONS, TURNS
from ai_therapist.dataset.split import SplitLedger, assign
from ai_therapist.errors import ItemError, MissingInput
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage
from ai_therapist.privacy.consent import first_refusal
from ai_therapist.records import Annotation, Clip, Example, Session, Split, Transcript, Use
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import canonical_json, decode, encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

_PARTS = ("session", "utterances", "clips", "annotations")
"""Artefacts of an annotated session that the dataset reads."""

_DECISIONS = "decisions"
"""Input that holds what people decided about a session and what of it stands."""


def dataset_stage(config: DatasetConfig) -> Stage:
    """The stage that makes the whole dataset of one item, which carries the artefacts of all sessions."""
    return Stage(
        name="dataset",
        version=6,
        run=make_dataset,
        needs=(*(f"{part}/*" for part in (*_PARTS, _DECISIONS)), "splits"),
        gives=("examples", "summary", "dataset"),
        config=config,
        tools=("pyarrow",),
    )


def build_dataset(
    workspace: Workspace, config: DatasetConfig, executor: Executor, observer: Observer | None = None
) -> RunRecord:
    """Build examples from every annotated session that permits training, and check the folder out.

    Sessions without the permission are skipped with the reason. The splits of all groups ever seen are kept in
    splits.json of the workspace. Raises MissingInput where no session is annotated or none may be used.
    """
    annotated = workspace.load_run("annotation", "annotate").done
    skipped, used = _sorted_by_permission(workspace, annotated, config)
    if not used:
        detail = f": {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise MissingInput(f"{workspace.root}: no annotated session may be used{detail}")
    item = Item(ITEM, ITEM, _artefacts(workspace, used))
    (record,) = drive(workspace, [dataset_stage(config)], [item], executor, observer)
    if record.status is Status.DONE:
        _check_out(workspace, record.artefacts["dataset"])
    items = (record, *skipped)
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(items), items=items)
    workspace.save_run(run)
    return run


def make_dataset(job: Job) -> None:
    """Stage: examples of all sessions, the account of what was left out, and the folder to load."""
    config = cast(DatasetConfig, job.config)
    ledger = job.record(SplitLedger, "splits")
    sessions = [_parts(job, name.removeprefix("session/")) for name in job.names("session/*")]
    built = []
    for done, parts in enumerate(sessions, start=1):
        built.append(build_examples(parts, ledger.groups[parts.session.group].split, config))
        job.progress(done, len(sessions), parts.session.name)
    every = [example for one in built for example in one.examples]
    examples, duplicates = without_near_duplicates(every, config.near_duplicate)
    if not examples:
        raise ItemError(f"dataset: no turn of {len(sessions)} sessions became an example ({_reasons(built)})")
    check_leakage(examples, config.near_duplicate)
    job.give_records("examples", examples)
    job.give("summary", canonical_json(_summary(sessions, built, examples, len(duplicates))))
    folder = job.scratch / "folder"
    splits = {group: assignment.split for group, assignment in ledger.groups.items()}
    write_folder(folder, sessions, splits, examples, config)
    job.give_tree("dataset", folder)
    job.count(examples=len(examples), sessions=len(sessions))


def _sorted_by_permission(
    workspace: Workspace, annotated: Sequence[ItemRecord], config: DatasetConfig
) -> tuple[list[ItemRecord], list[tuple[ItemRecord, Session]]]:
    skipped, used = [], []
    uses = (Use.TRAIN, Use.PUBLISH) if config.permitted_for == "publish" else (Use.TRAIN,)
    for item in annotated:
        session = decode(Session, workspace.store.read(item.artefacts["session"]), f"session of {item.name}")
        reason = first_refusal(session.consent, uses)
        if reason is None:
            used.append((item, session))
        else:
            skipped.append(
                ItemRecord(
                    item=item.item,
                    name=item.name,
                    status=Status.SKIPPED,
                    reason=reason,
                    artefacts={},
                    actions=(),
                    counts={},
                )
            )
    return skipped, used


def _artefacts(workspace: Workspace, used: Sequence[tuple[ItemRecord, Session]]) -> dict[str, str]:
    """What the dataset is made of: the parts of each session, and the splits of their groups."""
    groups = {session.group for _, session in used}
    path = workspace.root / "splits.json"
    known = decode(SplitLedger, path.read_bytes(), path.name) if path.exists() else SplitLedger()
    ledger = assign(groups, known)
    if ledger != known:
        write_atomically(path, encode(ledger))
    present = SplitLedger(groups={group: ledger.groups[group] for group in sorted(groups)})
    parts = {f"{part}/{item.item}": item.artefacts[part] for item, _ in used for part in _PARTS}
    parts |= {f"{_DECISIONS}/{item.item}": _decided(workspace, item.item) for item, _ in used}
    return {**parts, "splits": workspace.store.put_bytes(encode(present))}


def _decided(workspace: Workspace, session: str) -> str:
    """What people decided about a session and still stands, as a blob: only inputs in the store can be inputs."""
    standing = [decision.annotation for decision in workspace.decisions.standing(session)]
    return workspace.store.put_bytes(encode_all(standing))


def _parts(job: Job, item: str) -> SessionParts:
    return SessionParts(
        session=job.record(Session, f"session/{item}"),
        transcript=job.record(Transcript, f"utterances/{item}"),
        clips=job.record_list(Clip, f"clips/{item}"),
        annotations=job.record_list(Annotation, f"annotations/{item}"),
        decisions=job.record_list(Annotation, f"{_DECISIONS}/{item}"),
    )


def _summary(
    sessions: Sequence[SessionParts], built: Sequence[Built], examples: Sequence[Example], duplicates: int
) -> dict[str, object]:
    """The account: therapist_turns = examples + the sum of dropped."""
    dropped: Counter[str] = Counter({Drop.NEAR_DUPLICATE.value: duplicates})
    notes: Counter[str] = Counter()
    for one in built:
        dropped.update({reason.value: number for reason, number in one.dropped.items()})
        notes.update(one.notes)
    return {
        "sessions": len(sessions),
        "therapist_turns": sum(one.therapist_turns for one in built),
        "examples": len(examples),
        "dropped": {reason: number for reason, number in sorted(dropped.items()) if number},
        "notes": dict(sorted(notes.items())),
        "splits": {split.value: sum(example.split is split for example in examples) for split in Split},
        "groups": {
            split.value: len({example.group for example in examples if example.split is split}) for split in Split
        },
        "labels_by": {
            source: sum(value == source for example in examples for value in example.sources.model_dump().values())
            for source in ("people", "models")
        },
        "with_clip": sum(example.clip is not None for example in examples),
    }


def _reasons(built: Sequence[Built]) -> str:
    dropped = sum((one.dropped for one in built), Counter[Drop]())
    return (
        ", ".join(f"{reason.value} {number}" for reason, number in sorted(dropped.items())) or "nobody answers a client"
    )


def _check_out(workspace: Workspace, tree: str) -> None:
    """Replace what the dataset folder holds. What a split no longer has must not stay behind in it."""
    folder: Path = workspace.dataset
    for table in (REPLIES, TURNS, SESSIONS, LABELS):
        shutil.rmtree(folder / table.folder(), ignore_errors=True)
    (folder / REPORT).unlink(missing_ok=True)
    workspace.store.checkout(tree, folder)

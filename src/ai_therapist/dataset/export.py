"""Makes folders for other programs out of the finished dataset: as redacted as it is, with clips only where asked for.

exports/messages-predict/   train.jsonl … , media/SHA256.mp4
exports/inspect/            test.jsonl, task.py … (see harness.py)
exports/videofolder/        train/metadata.jsonl, train/utt_….mp4, README.md

All of it lies in the workspace, so that `forget` finds it, and replaces what an earlier export left under its name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.dataset.card import front_matter
from ai_therapist.dataset.chat import Form, Question, conversation, labellings, llama_factory_index, predictions
from ai_therapist.dataset.contents import Filled
from ai_therapist.dataset.harness import Harness, task_files
from ai_therapist.dataset.layouts import (
    FOLDER,
    PARQUET,
    SHARDS,
    ClipRows,
    Layout,
    write_parquet,
    write_videofolder,
    write_webdataset,
)
from ai_therapist.dataset.manifest import MANIFEST, REPORT
from ai_therapist.dataset.read import dataset_item, sessions_today
from ai_therapist.dataset.rows import LABELS, REPLIES, SESSIONS, TURNS
from ai_therapist.dataset.tables import Row, Table, read_table
from ai_therapist.errors import NotPermitted, RequestError
from ai_therapist.privacy.consent import first_refusal
from ai_therapist.records import Split, Use
from ai_therapist.store.blobs import link_or_copy
from ai_therapist.store.workspace import Workspace


@dataclass(frozen=True)
class Exported:
    """What an export left."""

    folder: Path
    rows: Mapping[Split, int]
    clips: int
    """Clip files that came along."""


def export_chat(workspace: Workspace, form: Form, question: Question, *, media: bool) -> Exported:
    """Conversations for another trainer, one file for each split.

    Raises MissingInput without a dataset, NotPermitted where a session behind it no longer permits training, or, with
    `media`, learning emotions from face and voice.
    """
    table = REPLIES if question is Question.PREDICT else TURNS
    rows = _rows(workspace, table)
    clips = _clips_of(rows) if media else frozenset[str]()
    _check(workspace, rows, media=media)
    name = f"{form.value}-{question.value}"
    counts = {}
    with workspace.store.scratch() as scratch:
        folder = scratch / name
        folder.mkdir()
        for split, own in rows.items():
            talks = predictions(own, clips) if question is Question.PREDICT else labellings(own, clips)
            lines = [json.dumps(conversation(form, row, said), ensure_ascii=False) + "\n" for row, said in talks]
            if lines:
                (folder / f"{split.value}.jsonl").write_text("".join(lines), "utf-8")
                counts[split] = len(lines)
        if form is Form.SHAREGPT:
            index = llama_factory_index(name, [f"{split.value}.jsonl" for split in counts], with_videos=bool(clips))
            (folder / "dataset_info.json").write_text(json.dumps(index, indent=2), "utf-8")
        _add_clips(workspace, folder, clips)
        target = _put(workspace, folder)
    return Exported(target, counts, len(clips))


def export_task(workspace: Workspace, harness: Harness, *, media: bool) -> Exported:
    """The held-out examples as a task of another evaluation framework.

    Raises RequestError where no example is held out, and else as `export_chat`.
    """
    held_out = {Split.TEST: _rows(workspace, REPLIES).get(Split.TEST, [])}
    if not held_out[Split.TEST]:
        raise RequestError("the dataset holds no example out: there is nothing to evaluate on")
    clips = _clips_of(held_out) if media else frozenset[str]()
    _check(workspace, held_out, media=media)
    with workspace.store.scratch() as scratch:
        folder = scratch / harness.value
        folder.mkdir()
        for name, text in task_files(harness, held_out[Split.TEST], clips).items():
            (folder / name).write_text(text, "utf-8")
        _add_clips(workspace, folder, clips)
        target = _put(workspace, folder)
    return Exported(target, {Split.TEST: len(held_out[Split.TEST])}, len(clips))


def export_layout(workspace: Workspace, layout: Layout) -> Exported:
    """Turns with their clips in a layout that `datasets.load_dataset` reads; turns without a clip are left out.

    The parquet layout holds the text tables too. Raises RequestError where no turn has a clip that may be used, and
    else as `export_chat` with media.
    """
    rows = {split: [row for row in own if row["clip_sha256"]] for split, own in _rows(workspace, TURNS).items()}
    number = len(_clips_of(rows))
    if not number:
        raise RequestError("no turn of the dataset has a usable clip whose session permits 'emotion_from_media'")
    _check(workspace, rows, media=True)
    clips = ClipRows(rows, workspace.store.path)
    with workspace.store.scratch() as scratch:
        folder = scratch / layout.value
        folder.mkdir()
        told: list[Filled] = []
        match layout:
            case Layout.VIDEOFOLDER:
                table, files = FOLDER, write_videofolder(clips, folder)
            case Layout.WEBDATASET:
                table, files = SHARDS, write_webdataset(clips, folder)
            case Layout.PARQUET:
                workspace.store.checkout(dataset_item(workspace).artefacts["dataset"], folder)
                told = [_filled(folder, each) for each in (REPLIES, TURNS, SESSIONS, LABELS)]
                table, files = PARQUET, write_parquet(clips, folder, scratch)
        _write_card(
            workspace, folder, [*told, Filled(table, rows, {split: folder / name for split, name in files.items()})]
        )
        target = _put(workspace, folder)
    return Exported(target, {split: len(own) for split, own in rows.items() if own}, number)


_NOTE = {
    True: "Beside the text tables there is the configuration `{name}`: {rows} turns with their clips.",
    False: "This folder holds the {rows} rows of `clips` whose turn has a usable clip, with the clips, and nothing "
    "else of what is described below.",
}
"""What a layout holds; whether the text tables lie beside it."""


def _write_card(workspace: Workspace, folder: Path, tables: Sequence[Filled]) -> None:
    """The card of the dataset with a header that fits these files, and the papers beside it."""
    tree = workspace.store.tree(dataset_item(workspace).artefacts["dataset"])
    for name in (MANIFEST, REPORT):
        if name in tree and not (folder / name).exists():
            link_or_copy(workspace.store.path(tree[name]), folder / name)
    body = workspace.store.read(tree["README.md"]).decode().split("---\n", 2)[2]
    body = body.replace("no media is included", "**clips with faces and voices are included**")
    rows = sum(map(len, tables[-1].rows.values()))
    body = f"\n> {_NOTE[len(tables) > 1].format(rows=rows, name=tables[-1].table.name)}\n{body}"
    # The tables there are links to blobs, which nobody may write to.
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "README.md").write_text(front_matter(tables, folder) + body, "utf-8")


def _rows(workspace: Workspace, table: Table) -> dict[Split, list[Row]]:
    tree = workspace.store.tree(dataset_item(workspace).artefacts["dataset"])
    return {
        split: read_table(workspace.store.path(tree[name]))
        for split in Split
        if (name := f"{table.folder()}/{split.value}-00000-of-00001.parquet") in tree
    }


def _filled(folder: Path, table: Table) -> Filled:
    paths = {split: folder / table.folder() / f"{split.value}-00000-of-00001.parquet" for split in Split}
    files = {split: path for split, path in paths.items() if path.exists()}
    return Filled(table, {split: read_table(path) for split, path in files.items()}, files)


def _check(workspace: Workspace, rows: Mapping[Split, Sequence[Row]], *, media: bool) -> None:
    """Raises NotPermitted for the first session whose rights do not permit what is made here, as of today."""
    names = {str(row["session"]) for own in rows.values() for row in own}
    shown = {str(row["session"]) for own in rows.values() for row in own if row["clip_sha256"]} if media else set()
    for session in sessions_today(workspace, names):
        uses = (Use.TRAIN, Use.EMOTION_FROM_MEDIA) if session.id in shown else (Use.TRAIN,)
        reason = first_refusal(session.consent, uses)
        if reason is not None:
            raise NotPermitted(f"{session.name}: {reason}")


def _clips_of(rows: Mapping[Split, Iterable[Row]]) -> frozenset[str]:
    return frozenset(str(row["clip_sha256"]) for own in rows.values() for row in own if row["clip_sha256"])


def _add_clips(workspace: Workspace, folder: Path, clips: frozenset[str]) -> None:
    if clips:
        (folder / "media").mkdir()
    for digest in sorted(clips):
        link_or_copy(workspace.store.path(digest), folder / "media" / f"{digest}.mp4")


def _put(workspace: Workspace, folder: Path) -> Path:
    """Put a finished folder in the place of an earlier export of its name."""
    target = workspace.exports / folder.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    folder.replace(target)
    return target

"""What goes out comes back: layouts through `datasets`, labels through files: python benchmarks/exchange.py [--quick].

Sessions of 30 turns with real clips become a dataset; every table and layout is read back with `datasets.load_dataset`
and compared row for row, clip for clip. Random answers of three people go out as CSV, ELAN and TextGrid and are taken
into a second workspace. Croissant is validated with mlcroissant.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reporting import finish

from ai_therapist.annotation.exchange.run import Tool, hand_out, take_in
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.export import export_layout
from ai_therapist.dataset.layouts import Layout
from ai_therapist.dataset.run import build_dataset
from ai_therapist.dataset.tables import Row, read_table
from ai_therapist.formats.elan import read_elan
from ai_therapist.formats.textgrid import read_textgrid
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import (
    Annotation,
    Clip,
    Label,
    Modality,
    Provenance,
    Role,
    Session,
    Task,
    Transcript,
    annotator_of,
    load_codebook,
)
from ai_therapist.store.codec import encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_digest, make_recording, make_session, make_transcript

TURNS = 30
RATERS = ("ada", "ben", "cem")


def note(utterance: str, task: Task, label: str, annotator: str) -> Annotation:
    """An answer about an utterance."""
    provenance = Provenance(
        annotator=annotator,
        prompt_sha256=make_digest("prompt"),
        codebook=load_codebook().version,
        modalities=frozenset({Modality.TEXT}),
        route="benchmark",
        request_sha256=make_digest(f"{utterance}{task}"),
        at="2026-01-01T00:00:00Z",
    )
    return Annotation.of(utterance, task, Label(value=label), provenance)


def questions(session: Session, transcript: Transcript) -> Iterator[tuple[str, Task]]:
    """What is asked about the turns of a session."""
    for turn in transcript.utterances:
        yield turn.id, Task.EMOTION
        if session.role_of(turn.speaker) is Role.THERAPIST:
            yield turn.id, Task.STRATEGY


def make_workspace(folder: Path, sessions: int, recording: Path) -> tuple[Workspace, list[tuple[Session, Transcript]]]:
    """A workspace as annotation leaves it, all clips being the same recording."""
    workspace, rng, book = Workspace(folder), random.Random(0), load_codebook()
    digest = workspace.store.put_file(recording)
    made, items = [], []
    for number in range(sessions):
        session = make_session(f"talk{number}", duration_ms=TURNS * 5000)
        transcript = make_transcript(session, TURNS, seed=number)
        media = session.media.model_copy(update={"sha256": digest, "path": "clip.mp4", "duration_ms": 500})
        clips = [Clip.of(session.id, (turn.id,), turn.span, media, frozenset()) for turn in transcript.utterances]
        notes = [note(name, task, rng.choice(book.names(task)), "m") for name, task in questions(session, transcript)]
        parts = {
            "session": encode(session),
            "utterances": encode(transcript),
            "clips": encode_all(clips),
            "annotations": encode_all(notes),
        }
        artefacts = {name: workspace.store.put_bytes(data) for name, data in parts.items()}
        items.append(
            ItemRecord(
                item=session.id,
                name=session.name,
                status=Status.DONE,
                reason=None,
                artefacts=artefacts,
                actions=(),
                counts={},
            )
        )
        made.append((session, transcript))
    workspace.save_run(RunRecord(run="annotation", config={}, read=len(items), items=tuple(items)))
    return workspace, made


def layouts_equal(workspace: Workspace, cache: Path) -> dict[str, bool]:
    """Every table and layout, and whether `datasets` reads what was written."""
    import datasets

    datasets.disable_progress_bars()

    def load(folder: Path, name: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = datasets.load_dataset(str(folder), name, cache_dir=str(cache))
        return found

    equal = {}
    for name in ("default", "clips", "sessions", "labels"):
        files = (workspace.dataset / ("data" if name == "default" else name)).glob("*.parquet")
        written = {path.name.partition("-")[0]: read_table(path) for path in files}
        equal[name] = {split: part.to_list() for split, part in load(workspace.dataset, name).items()} == written
    expected = {split: rows for split, rows in clip_rows(workspace).items() if rows}
    for layout, column in ((Layout.VIDEOFOLDER, "video"), (Layout.PARQUET, "video"), (Layout.WEBDATASET, "mp4")):
        folder = export_layout(workspace, layout).folder
        loaded = load(folder, "media" if layout is Layout.PARQUET else None)
        read = {split: [plain(row, column) for row in undecoded(part, column)] for split, part in loaded.items()}
        equal[layout.value] = read == expected
    return equal


def clip_rows(workspace: Workspace) -> dict[str, list[Row]]:
    """The turns with clips as every layout should hold them, each with the sha256 of its clip's bytes."""
    found = {}
    for path in (workspace.dataset / "clips").glob("*.parquet"):
        rows = [row for row in read_table(path) if row["clip_sha256"]]
        found[path.name.partition("-")[0]] = [
            {name: value for name, value in row.items() if name != "clip_faults"} | {"bytes": row["clip_sha256"]}
            for row in rows
        ]
    return found


def undecoded(part: Any, column: str) -> Iterator[dict[str, Any]]:
    """Rows with media as files."""
    import datasets

    part = part.cast_column(column, datasets.Video(decode=False))
    if "speech" in part.features:
        part = part.remove_columns("speech")
    yield from part.to_list()


def plain(row: dict[str, Any], column: str) -> Row:
    """A row of a layout in the form of the text table, the clip by the sha256 of its bytes."""
    media = row.pop(column)
    data = media["bytes"] or Path(media["path"]).read_bytes()
    told: Row = row.get("json", row)
    return told | {"bytes": hashlib.sha256(data).hexdigest()}


def labels_back(folder: Path, sessions: int, recording: Path) -> tuple[int, bool, int]:
    """Answers that went out and came back, whether all are equal, and the largest error of a time in ms."""
    one, made = make_workspace(folder / "one", sessions, recording)
    rng, book, worst_ms = random.Random(1), load_codebook(), 0
    for session, transcript in made:
        for name, task in questions(session, transcript):
            for rater in RATERS:
                if rng.random() < 0.5:
                    one.decisions.add(session.id, note(name, task, rng.choice(book.names(task)), annotator_of(rater)))
    expected = answers(one)
    equal = True
    for tool in (Tool.CSV, Tool.ELAN, Tool.TEXTGRID):
        two, _ = make_workspace(folder / tool.value, sessions, recording)
        handed = hand_out(one, tool).folder
        for path in sorted(handed.iterdir()):
            taken = take_in(two, path, rater=None, raters={}, played=False)
            equal &= not taken.refused
        equal &= answers(two) == expected
        read = {Tool.ELAN: read_elan, Tool.TEXTGRID: read_textgrid}.get(tool)
        for session, transcript in made if read is not None else ():
            (path,) = [file for file in handed.iterdir() if file.stem == session.name]
            tiers = {tier.name: tier for tier in read(path.read_bytes(), path.name)} if read is not None else {}
            for speaker in "AB":
                own = [turn.span for turn in transcript.utterances if turn.speaker == speaker]
                spans = [interval.span for interval in tiers[speaker].intervals]
                equal &= len(own) == len(spans)
                for a, b in zip(own, spans, strict=False):
                    worst_ms = max(worst_ms, abs(a.start_ms - b.start_ms), abs(a.end_ms - b.end_ms))
    return len(expected), equal, worst_ms


def answers(workspace: Workspace) -> set[tuple[str, str, str, str | None]]:
    """Every decision that stands."""
    decisions = workspace.decisions
    standing = [one.annotation for session in decisions.sessions() for one in decisions.standing(session)]
    return {(one.utterance, one.task.value, one.provenance.annotator, one.label) for one in standing}


def croissant_errors(folder: Path) -> int:
    """Errors that mlcroissant finds in the description."""
    import mlcroissant

    return len(mlcroissant.Dataset(jsonld=folder / "croissant.json").metadata.ctx.issues.errors)


def main() -> None:
    """Measure, print, and say whether all came back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 sessions instead of 20")
    sessions = 3 if parser.parse_args().quick else 20
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recording = make_recording(folder / "clip.mp4", RecordingSpec(duration_ms=500))
        workspace, _ = make_workspace(folder / "workspace", sessions, recording)
        start_s = time.perf_counter()
        build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
        build_s = time.perf_counter() - start_s
        equal = layouts_equal(workspace, folder / "cache")
        errors = croissant_errors(workspace.dataset)
        number, same, worst_ms = labels_back(folder / "labels", max(1, sessions // 4), recording)
    for name, is_equal in equal.items():
        print(f"{name}: {'equal' if is_equal else 'DIFFERENT'}")
    figures: dict[str, object] = {
        "sessions": sessions,
        "turns": sessions * TURNS,
        "build_s": round(build_s, 1),
        "read_back_equal": f"{sum(equal.values())} of {len(equal)}",
        "croissant_errors": errors,
        "answers": number,
        "answers_equal_in_3_formats": same,
        "largest_time_error_ms": worst_ms,
    }
    holds = all(equal.values()) and not errors and same and worst_ms <= 1
    finish("exchange", figures, "all read back equal, Croissant valid, labels back within 1 ms", holds=holds)


if __name__ == "__main__":
    main()

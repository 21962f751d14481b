"""Hostile recordings: each has its declared outcome, none costs its neighbours, and nothing is written elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest

from ai_therapist.extraction.config import ClipsConfig, ExtractionConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.sources.local import LocalFolder
from ai_therapist.extraction.sources.recording import Recording, Refusal
from ai_therapist.media.standardise import FPS
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.records import Clip
from ai_therapist.store.codec import decode_all, encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_consent, make_recording
from tests.media.hostile_files import SECRET, SMALL, Case, cases

CONFIG = ExtractionConfig(transcriber="files", clips=ClipsConfig(min_clip_ms=0))
INNOCENTS = ("a neighbour.mp4", "m neighbour.mp4", "z neighbour.mp4")
LONGEST_S = 300
WORDS = "1\n00:00:00,000 --> 00:00:00,300\nA: hello there\n"


@dataclass(frozen=True)
class Fed:
    """What was fed, and what became of it."""

    cases: dict[str, Case]
    run: RunRecord
    workspace: Workspace
    before: dict[str, str]
    after: dict[str, str]
    seconds: float

    def record(self, name: str) -> ItemRecord:
        """The line of a file in the ledger, which names it with or without its suffix."""
        found = [item for item in self.run.items if item.name in (name, Path(name).stem)]
        assert len(found) == 1, [item.name for item in self.run.items]
        return found[0]


def tree(folder: Path, but: Path) -> dict[str, str]:
    """Digest of every file below a folder, outside of one."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(but)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def put(folder: Path, name: str) -> None:
    """The rights and the words that lie beside a recording."""
    stem = Path(name).stem
    if len(f"{stem}.consent.json".encode()) > 255:
        return
    rights = {"group": f"group {len(list(folder.iterdir()))}", "consent": json.loads(encode(make_consent()))}
    (folder / f"{stem}.consent.json").write_text(json.dumps(rights))
    (folder / f"{stem}.srt").write_text(WORDS)


def make_cases(root: Path) -> dict[str, Case]:
    root.mkdir(exist_ok=True)
    plain = make_recording(root / "plain.mp4", SMALL)
    secret = make_recording(root / SECRET, RecordingSpec(duration_ms=640, size_px=(64, 48), tone_hz=900))
    return cases(plain, secret)


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Fed:
    root = tmp_path_factory.mktemp("hostile")
    made = make_cases(root / "made")
    folder, workspace = root / "folder", Workspace(root / "workspace")
    folder.mkdir()
    for name, case in made.items():
        case.make(folder / name)
        put(folder, name)
    for number, name in enumerate(INNOCENTS):
        make_recording(folder / name, RecordingSpec(duration_ms=640, size_px=(64, 48), tone_hz=300.0 + number))
        put(folder, name)
    before, begin = tree(root, workspace.root), time.monotonic()
    executor = LocalExecutor(workspace.store, 2)
    try:
        run = extract(workspace, CONFIG, folder, executor)
    finally:
        executor.close()
    return Fed(made, run, workspace, before, tree(root, workspace.root), time.monotonic() - begin)


def clips_of(fed: Fed, record: ItemRecord) -> tuple[Clip, ...]:
    return decode_all(Clip, fed.workspace.store.read(record.artefacts["clips"]), "clips")


def test_there_are_at_least_a_hundred_and_sixty(fed: Fed) -> None:
    assert len(fed.cases) >= 160


def test_every_file_meets_its_declared_outcome(fed: Fed) -> None:
    wrong = []
    for name, case in fed.cases.items():
        record = fed.record(name)
        reason = record.reason or ""
        right = record.status in (case.status, case.may) and "failed with" not in reason and "died" not in reason
        if record.status is not Status.DONE:
            right = right and bool(reason) and re.search(case.reason, reason) is not None
        if not right:
            wrong.append((name, record.status, reason))
    assert wrong == []


def test_every_file_is_accounted_for_and_no_neighbour_is_lost(fed: Fed) -> None:
    assert fed.run.read == len(fed.run.items) == len(fed.cases) + len(INNOCENTS)
    for name in INNOCENTS:
        record = fed.record(name)
        assert record.status is Status.DONE, record.reason
        assert [clip.usable for clip in clips_of(fed, record)] == [True]


def test_nothing_is_written_outside_of_the_workspace_and_nothing_hangs(fed: Fed) -> None:
    assert fed.after == fed.before
    assert fed.seconds < LONGEST_S


def test_a_done_recording_has_exact_clips_or_faults_that_say_why_not(fed: Fed) -> None:
    for record in fed.run.done:
        for clip in clips_of(fed, record):
            assert clip.usable or clip.faults
            if clip.usable:
                with av.open(str(fed.workspace.store.path(record.artefacts[f"clip/{clip.id}"]))) as container:
                    packets = [packet for packet in container.demux(video=0) if packet.size]
                assert packets[0].is_keyframe
                assert len(packets) == len(clip.span.frames(Fraction(FPS)))


def test_a_file_that_refers_elsewhere_shows_nothing_from_there(fed: Fed) -> None:
    record = fed.record("elsewhere.mov")
    assert record.status is Status.QUARANTINED or "video" not in record.artefacts


@pytest.mark.parametrize(
    "names",
    [("anna.mp4", "ANNA.mp4"), (unicodedata.normalize("NFC", "né.mp4"), unicodedata.normalize("NFD", "né.mp4"))],
    ids=["case", "accent"],
)
def test_of_twins_one_is_taken_and_the_other_is_reported(
    tmp_path: Path, workspace: Workspace, names: tuple[str, str]
) -> None:
    for number, name in enumerate(names):
        make_recording(tmp_path / name, RecordingSpec(duration_ms=640, size_px=(64, 48), tone_hz=300.0 + number))
        put(tmp_path, name)
    run = extract(workspace, CONFIG, tmp_path, InlineExecutor(workspace.store))
    assert sorted(item.status for item in run.items) == [Status.DONE, Status.SKIPPED]
    assert any("same name" in (item.reason or "") for item in run.items)


def test_the_same_content_twice_is_one_session(tmp_path: Path, workspace: Workspace) -> None:
    first = make_recording(tmp_path / "a.mp4", SMALL)
    (tmp_path / "b.mp4").write_bytes(first.read_bytes())
    for name in ("a.mp4", "b.mp4"):
        put(tmp_path, name)
    run = extract(workspace, CONFIG, tmp_path, InlineExecutor(workspace.store))
    assert [item.status for item in run.items] == [Status.DONE, Status.SKIPPED]


class Changing:
    """A folder in which a recording changes after it was listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def recordings(self, workspace: Workspace) -> tuple[Recording | Refusal, ...]:
        """What the folder held a moment ago."""
        found = LocalFolder(self.folder).recordings(workspace)
        make_recording(self.folder / "a.mp4", RecordingSpec(duration_ms=900, size_px=(64, 48)))
        return found


def test_a_recording_that_changes_while_it_is_read_is_left_out(tmp_path: Path, workspace: Workspace) -> None:
    make_recording(tmp_path / "a.mp4", SMALL)
    put(tmp_path, "a.mp4")
    run = extract(workspace, CONFIG, Changing(tmp_path), InlineExecutor(workspace.store))
    assert [item.status for item in run.items] == [Status.SKIPPED]
    assert "changed while it was read" in (run.items[0].reason or "")

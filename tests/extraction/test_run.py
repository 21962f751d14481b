"""From a folder to sessions: the whole of extraction on short excerpts of the sample sessions."""

import errno
import json
import shutil
from pathlib import Path
from typing import IO, Any

import pytest

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.extraction.config import ClipsConfig, ExtractionConfig, RolesConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.sources.local import find_recordings
from ai_therapist.extraction.sources.recording import Recording, Refusal
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.records import Clip, Fault, Role, Session, Transcript
from ai_therapist.store.blobs import hash_file
from ai_therapist.store.codec import decode, decode_all, encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_consent, make_recording
from tests.extraction.excerpts import SAMPLES, make_excerpts

CONFIG = ExtractionConfig(clips=ClipsConfig(min_clip_ms=2000))


class Count:
    """An observer that counts what was run and what was reused."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reused: list[str] = []

    def planned(self, stages: object, items: int) -> None:
        """Ignored."""

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        (self.reused if reused else self.ran).append(stage)

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        """Ignored."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech, sound alone, no sound, a broken file, and a recording without permission."""
    folder = make_excerpts(tmp_path_factory.mktemp("run") / "sessions", 6, "exams")
    shutil.copy(SAMPLES / "truncated.mp4", folder)
    shutil.copy(SAMPLES / "truncated.consent.json", folder)
    make_recording(folder / "silent.mp4", RecordingSpec(tone_hz=None))
    make_recording(folder / "tone.m4a", RecordingSpec(picture=False))
    make_recording(folder / "unasked.mp4", RecordingSpec(tone_hz=300))
    for name in ("silent", "tone"):
        rights = {"group": name, "consent": json.loads(encode(make_consent()))}
        (folder / f"{name}.consent.json").write_text(json.dumps(rights))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def run(folder: Path, workspace: Workspace) -> RunRecord:
    return extract(workspace, CONFIG, folder, InlineExecutor(workspace.store))


def item(run: RunRecord, name: str) -> ItemRecord:
    return next(record for record in run.items if record.name == name)


def test_every_recording_has_its_fate(run: RunRecord, workspace: Workspace) -> None:
    assert [(record.name, record.status) for record in run.items] == [
        ("exams", Status.DONE),
        ("silent", Status.DONE),
        ("tone", Status.DONE),
        ("truncated", Status.QUARANTINED),
        ("unasked.mp4", Status.SKIPPED),
    ]
    assert "not a readable recording" in (item(run, "truncated").reason or "")
    assert "unasked.consent.json" in (item(run, "unasked.mp4").reason or "")
    assert workspace.find_run("extraction") == run


def test_speech_becomes_a_session_with_roles_turns_and_clips(run: RunRecord, workspace: Workspace) -> None:
    record = item(run, "exams")
    store, digests = workspace.store, record.artefacts
    session = decode(Session, store.read(digests["session"]), "session")
    turns = decode(Transcript, store.read(digests["utterances"]), "utterances")
    clips = decode_all(Clip, store.read(digests["clips"]), "clips")
    assert session.id == record.item == turns.session
    assert [turn.speaker for turn in turns.utterances[:2]] == ["A", "B"]
    assert [clip.utterances[0] for clip in clips] == [turn.id for turn in turns.utterances]
    assert any(clip.usable for clip in clips)
    assert all(f"clip/{clip.id}" in digests for clip in clips if clip.usable)
    assert record.counts["turns"] == len(clips)
    assert record.counts["clips"] == sum(clip.usable for clip in clips)
    assert 0 < record.counts["clipped_ms"] <= record.counts["speech_ms"]


def test_recordings_without_speech_are_complete_and_empty(run: RunRecord, workspace: Workspace) -> None:
    for name in ("silent", "tone"):
        digests = item(run, name).artefacts
        assert decode(Session, workspace.store.read(digests["session"]), "session").speakers == ()
        assert decode_all(Clip, workspace.store.read(digests["clips"]), "clips") == ()
    assert "video" in item(run, "silent").artefacts
    assert "video" not in item(run, "tone").artefacts


def test_the_view_is_readable(run: RunRecord, workspace: Workspace) -> None:
    view = workspace.root / "view" / "sessions" / "exams"
    assert {"audio.wav", "video.mp4", "transcript.txt", "transcript.json"} <= {path.name for path in view.iterdir()}
    assert "A (" in (view / "transcript.txt").read_text()
    names = sorted(path.name for path in (view / "clips").iterdir())
    assert names and all(name.startswith("clip_0") and name.endswith(".mp4") for name in names)


def test_a_second_run_does_nothing_and_says_the_same(run: RunRecord, folder: Path, workspace: Workspace) -> None:
    count = Count()
    assert extract(workspace, CONFIG, folder, InlineExecutor(workspace.store), count) == run
    assert count.ran == []


def test_shorter_clips_and_other_roles_encode_nothing_again(run: RunRecord, folder: Path, workspace: Workspace) -> None:
    count = Count()
    config = ExtractionConfig(
        clips=ClipsConfig(min_clip_ms=60_000), roles=RolesConfig(roles={"exams": {"A": Role.OTHER}})
    )
    again = extract(workspace, config, folder, InlineExecutor(workspace.store), count)
    assert set(count.ran) == {"roles", "cut", "present"}
    digests = item(again, "exams").artefacts
    session = decode(Session, workspace.store.read(digests["session"]), "session")
    assert session.role_of("A") is Role.OTHER
    assert {clip.faults for clip in decode_all(Clip, workspace.store.read(digests["clips"]), "clips")} == {
        frozenset({Fault.TOO_SHORT})
    }


def test_worker_processes_write_the_same_bytes(run: RunRecord, folder: Path, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    assert extract(other, CONFIG, folder, LocalExecutor(other.store, 2)) == run


def test_a_wrong_folder_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.find_run("extraction")
    with pytest.raises(MissingInput, match="no such folder"):
        extract(workspace, CONFIG, tmp_path / "nowhere", InlineExecutor(workspace.store))
    assert workspace.find_run("extraction") == before


def test_clips_are_cut_from_an_undamaged_recording_only(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make_recording(folder / "silent.mp4", RecordingSpec(tone_hz=None))
    rights = {"group": "silent", "consent": json.loads(encode(make_consent()))}
    (folder / "silent.consent.json").write_text(json.dumps(rights))
    workspace = Workspace(tmp_path / "workspace")
    (done,) = extract(workspace, CONFIG, folder, InlineExecutor(workspace.store)).items
    blob = workspace.store.path(done.artefacts["video"])
    blob.chmod(0o644)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    other = ExtractionConfig(clips=ClipsConfig(min_clip_ms=2500))
    with pytest.raises(StoreError, match=r"standardised recording of ses_\w+, is damaged: delete"):
        extract(workspace, other, folder, InlineExecutor(workspace.store))
    blob.unlink()
    (again,) = extract(workspace, other, folder, InlineExecutor(workspace.store)).items
    assert again.status is Status.DONE
    assert again.artefacts == done.artefacts


@pytest.mark.parametrize(
    ("transcriber", "reason"),
    [
        ("embedded", "a cannot be read (Permission denied)"),
        ("files", "a: its transcript: a.vtt cannot be read (Permission denied)"),
    ],
)
def test_what_cannot_be_read_any_more_costs_only_its_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transcriber: str, reason: str
) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.mp4").write_text(name)
        (folder / f"{name}.vtt").write_text("WEBVTT")
        rights = {"group": name, "consent": json.loads(encode(make_consent()))}
        (folder / f"{name}.consent.json").write_text(json.dumps(rights))
    found = find_recordings(folder, hash_file)
    denied = folder / ("a.mp4" if transcriber == "embedded" else "a.vtt")
    begin = Path.open

    def open_allowed(path: Path, *args: Any, **kwargs: Any) -> IO[Any]:
        if path == denied:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        opened: IO[Any] = begin(path, *args, **kwargs)
        return opened

    class Listed:
        def recordings(self, workspace: Workspace) -> tuple[Recording | Refusal, ...]:
            return found

    monkeypatch.setattr(Path, "open", open_allowed)
    workspace = Workspace(tmp_path / "work")
    config = ExtractionConfig.model_validate({"transcriber": transcriber})
    run = extract(workspace, config, Listed(), InlineExecutor(workspace.store))
    assert [(each.name, each.status) for each in run.items] == [("a", Status.SKIPPED), ("b", Status.QUARANTINED)]
    assert (run.items[0].reason or "").startswith(reason)

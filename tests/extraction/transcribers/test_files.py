"""Transcripts beside recordings are taken as they are: what they do not say is not made up."""

import json
from pathlib import Path

import pytest

from ai_therapist.errors import InvalidRecord
from ai_therapist.extraction.config import ClipsConfig, ExtractionConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.sources.local import FolderNeighbours
from ai_therapist.extraction.transcribers.files import Beside, find_beside, transcribe
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Role, Session, Transcript
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.workspace import Status, Workspace
from ai_therapist.testing import RecordingSpec, make_consent, make_recording, make_session

SESSION = make_session().id
CONFIG = ExtractionConfig(transcriber="files", clips=ClipsConfig(min_clip_ms=500))
VTT = """WEBVTT

00:00.100 --> 00:00.900
<v Dr>what would you like to talk about and how does it feel when it happens

00:01.000 --> 00:01.950
<v Cl>i feel i cannot sleep and my boss keeps calling me and i am so tired i just keep going
"""
SRT = "1\n00:00:00,100 --> 00:00:00,900\nso\n\n2\n00:00:01,000 --> 00:00:01,900\nyes\n"
RTTM = b"SPEAKER s 1 0.0 0.95 <NA> <NA> B <NA> <NA>\nSPEAKER s 1 0.95 1.0 <NA> <NA> A <NA> <NA>\n"


def recorded(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        make_recording(folder / f"{name}.mp4", RecordingSpec(tone_hz=200.0 + 50 * place))
        rights = {"group": name, "consent": json.loads(encode(make_consent()))}
        (folder / f"{name}.consent.json").write_text(json.dumps(rights))
    return folder


def test_recordings_with_and_without_a_transcript(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "in", "good", "bare", "broken", "two")
    (folder / "good.vtt").write_text(VTT)
    (folder / "broken.srt").write_text("not a subtitle at all")
    (folder / "two.srt").write_text(SRT)
    (folder / "two.vtt").write_text(VTT)
    workspace = Workspace(tmp_path / "work")
    run = extract(workspace, CONFIG, folder, InlineExecutor(workspace.store))
    fates = {item.name: (item.status, item.reason or "") for item in run.items}
    assert fates["good"] == (Status.DONE, "")
    assert fates["bare"][0] is Status.SKIPPED and "has no transcript beside it" in fates["bare"][1]
    assert fates["two"][0] is Status.SKIPPED and "two.srt and two.vtt" in fates["two"][1]
    assert fates["broken"][0] is Status.QUARANTINED and "times should stand here" in fates["broken"][1]
    done = next(item for item in run.items if item.name == "good")
    session = decode(Session, workspace.store.read(done.artefacts["session"]), "x")
    turns = decode(Transcript, workspace.store.read(done.artefacts["utterances"]), "x")
    assert turns.transcriber == "files: vtt"
    assert [turn.speaker for turn in turns.utterances] == ["Dr", "Cl"]
    assert session.role_of("Dr") is Role.THERAPIST
    assert all(turn.words == () for turn in turns.utterances)
    (folder / "good.vtt").write_text(VTT.replace("sleep", "rest"))
    again = extract(workspace, CONFIG, folder, InlineExecutor(workspace.store))
    changed = next(item for item in again.items if item.name == "good")
    assert changed.artefacts["transcript"] != done.artefacts["transcript"]
    assert changed.artefacts["video"] == done.artefacts["video"]


def test_whoever_no_file_names_is_unknown_and_never_merged(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "in", "one")
    (folder / "one.srt").write_text(SRT)
    workspace = Workspace(tmp_path / "work")
    (item,) = extract(workspace, CONFIG, folder, InlineExecutor(workspace.store)).items
    session = decode(Session, workspace.store.read(item.artefacts["session"]), "x")
    turns = decode(Transcript, workspace.store.read(item.artefacts["utterances"]), "x")
    assert [(one.label, one.role) for one in session.speakers] == [("UNKNOWN", Role.UNKNOWN)]
    assert [turn.text for turn in turns.utterances] == ["so", "yes"]


def test_an_rttm_says_who_spoke() -> None:
    transcript = transcribe("srt", SRT.encode(), RTTM, SESSION, 2000)
    assert [one.speaker for one in transcript.utterances] == ["B", "A"]
    assert transcript.transcriber == "files: srt with rttm"


def test_the_transcript_of_another_recording_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="is it the transcript of this recording"):
        transcribe("srt", SRT.encode(), None, SESSION, 800)
    slightly_long = transcribe("srt", SRT.encode(), None, SESSION, 1500)
    assert slightly_long.utterances[-1].span.end_ms == 1500


def test_what_lies_beside_is_found_by_name_and_content(tmp_path: Path) -> None:
    beside = FolderNeighbours(tmp_path)
    reason = find_beside("one", beside)
    assert isinstance(reason, str) and "one with one of .vtt" in reason
    (tmp_path / "one.consent.json").write_text("{}")
    (tmp_path / "one.rttm").write_bytes(RTTM)
    assert isinstance(find_beside("one", beside), str)
    (tmp_path / "one.json").write_text('{"segments": []}')
    assert find_beside("one", beside) == Beside(("whisperx", b'{"segments": []}'), RTTM)
    (tmp_path / "one.json").write_text("{}")
    reason = find_beside("one", beside)
    assert isinstance(reason, str) and "no known recogniser" in reason
    (tmp_path / "one.json").unlink()
    outside = tmp_path.parent / f"{tmp_path.name}.vtt"
    outside.write_text(VTT)
    (tmp_path / "one.vtt").symlink_to(outside)
    assert isinstance(find_beside("one", beside), str)
    outside.unlink()

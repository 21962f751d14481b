"""A folder of a bucket as a source: rights beside recordings, each version fetched once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput
from ai_therapist.extraction.config import ExtractionConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.sources.bucket import BucketSource
from ai_therapist.extraction.sources.recording import Recording, Refusal
from ai_therapist.extraction.transcribers import files
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.records import Transcript, Use
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.objects import BucketFolder
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import RecordingSpec, make_consent, make_recording
from tests.store.buckets import bucket

__all__ = ["bucket"]


def put(bucket: BucketFolder, name: str, content: bytes, *uses: Use) -> None:
    bucket.create(name, content)
    rights = {"group": "pair", "consent": json.loads(encode(make_consent(*uses)))}
    bucket.create(f"{Path(name).stem}.consent.json", json.dumps(rights).encode())


def names(found: tuple[Recording | Refusal, ...]) -> list[str]:
    return [entry.source.name if isinstance(entry, Recording) else f"- {entry.reason}" for entry in found]


def test_recordings_come_with_their_rights_and_the_rest_says_why(bucket: BucketFolder, workspace: Workspace) -> None:
    put(bucket, "anna_2.mp4", b"two")
    put(bucket, "anna_10.mp4", b"ten")
    put(bucket, "ANNA_2.mkv", b"twin")
    put(bucket, "same.mp4", b"two")
    put(bucket, "no.mp4", b"no", Use.PUBLISH)
    bucket.create("bare.wav", b"bare")
    bucket.create("deeper/other.mp4", b"x")
    bucket.create("notes.txt", b"x")
    found = BucketSource(bucket, InlineExecutor).recordings(workspace)
    assert names(found) == [
        "ANNA_2",
        "- anna_2.mp4 has the same name as ANNA_2.mkv: rename one of them and its consent record",
        "anna_10",
        "- bare.wav has no consent record: write bare.consent.json beside it, as docs/extraction.md shows",
        "- no.mp4: its consent record does not permit 'transcribe' (it permits: publish): change no.consent.json only "
        "if the people agreed to it",
        "same",
    ]
    (first, *_) = found
    assert isinstance(first, Recording)
    assert first.path.read_bytes() == b"twin"


def test_what_is_there_is_not_fetched_again_and_a_new_version_is(
    bucket: BucketFolder, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "a.mp4", b"one")
    source = BucketSource(bucket, InlineExecutor)
    first = source.recordings(workspace)
    fetched: list[str] = []
    real = BucketFolder.download

    def download(folder: BucketFolder, name: str, target: Path) -> None:
        fetched.append(name)
        real(folder, name, target)

    monkeypatch.setattr(BucketFolder, "download", download)
    assert source.recordings(workspace) == first
    assert fetched == []
    bucket.delete("a.mp4")
    bucket.create("a.mp4", b"another")
    (again,) = source.recordings(workspace)
    assert isinstance(again, Recording)
    assert again.path.read_bytes() == b"another"
    assert fetched == ["a.mp4"]


def test_workers_fetch_as_well(bucket: BucketFolder, workspace: Workspace) -> None:
    for number in range(3):
        put(bucket, f"{number}.mp4", str(number).encode())
    found = BucketSource(bucket, lambda store: LocalExecutor(store, 2)).recordings(workspace)
    assert names(found) == ["0", "1", "2"]


def test_an_object_that_changes_while_it_is_read_is_read_again(
    bucket: BucketFolder, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "a.mp4", b"one")
    real = BucketFolder.download

    def download(folder: BucketFolder, name: str, target: Path) -> None:
        real(folder, name, target)
        folder.delete(name)
        folder.create(name, b"changed")

    monkeypatch.setattr(BucketFolder, "download", download)
    (entry,) = BucketSource(bucket, InlineExecutor).recordings(workspace)
    assert isinstance(entry, Refusal)
    assert "changed while it was read" in entry.reason


def test_an_empty_folder_holds_nothing(bucket: BucketFolder, workspace: Workspace) -> None:
    with pytest.raises(MissingInput, match="holds no recording"):
        BucketSource(bucket, InlineExecutor).recordings(workspace)


def test_transcripts_beside_the_objects_are_taken(
    bucket: BucketFolder, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, hz in (("one", 300.0), ("two", 400.0), ("three", 500.0)):
        recording = make_recording(tmp_path / f"{name}.m4a", RecordingSpec(picture=False, tone_hz=hz))
        put(bucket, recording.name, recording.read_bytes())
    bucket.create("ONE.srt", b"1\n00:00:00,000 --> 00:00:00,900\nhow are you\n")
    bucket.create("one.rttm", b"SPEAKER one 1 0.0 0.9 <NA> <NA> A <NA> <NA>\n")
    monkeypatch.setattr(files, "LARGEST_BYTES", 1 << 10)
    bucket.create("two.vtt", b"x" * 2000)
    bucket.create("deeper/three.srt", b"x")
    config = ExtractionConfig(transcriber="files")
    source = BucketSource(bucket, InlineExecutor)
    run = extract(workspace, config, source, InlineExecutor(workspace.store))
    reasons = {item.name: item.reason or "" for item in run.items}
    assert [item.name for item in run.done] == ["one"]
    assert "larger than" in reasons["two"]
    assert "no transcript beside it" in reasons["three"]
    (done,) = run.done
    transcript = decode(Transcript, workspace.store.read(done.artefacts["transcript"]), "x")
    assert [(one.speaker, one.text) for one in transcript.utterances] == [("A", "how are you")]
    again = extract(workspace, config, source, InlineExecutor(workspace.store))
    assert again.done == run.done


def test_a_consent_record_that_goes_away_costs_only_its_recording(
    bucket: BucketFolder, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "anna.mp4", b"anna")
    put(bucket, "ben.mp4", b"ben")
    read = BucketFolder.read

    def read_or_miss(folder: BucketFolder, name: str) -> bytes:
        if name == "anna.consent.json":
            raise MissingInput("anna.consent.json is not there")
        return read(folder, name)

    monkeypatch.setattr(BucketFolder, "read", read_or_miss)
    found = names(BucketSource(bucket, InlineExecutor).recordings(workspace))
    assert found == ["- anna.mp4 has no consent record that can be read: anna.consent.json is not there", "ben"]

"""The command says what goes, asks, removes it, and a forgotten recording is refused when it comes back."""

import io
import sys
from pathlib import Path

import pytest

from ai_therapist.extraction.config import ExtractionConfig
from ai_therapist.extraction.run import extract
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store.actions import TicketRecord
from ai_therapist.store.codec import encode
from ai_therapist.store.uploads import note_copy, note_upload
from ai_therapist.store.workspace import Status, Workspace
from ai_therapist.testing import make_consent
from tests.cli.conftest import Cli
from tests.store.arc import Arc, make_arc
from tests.store.test_uploads import make_upload


@pytest.fixture
def arc(tmp_path: Path) -> Arc:
    return make_arc(tmp_path / "study", "one", "two", turns=6)


def test_forgetting_is_told_and_final(run_cli: Cli, arc: Arc) -> None:
    shown = run_cli("forget", "one", "-w", arc.workspace.root, "--yes")
    assert shown.code == 0
    assert arc.planted[0].id in shown.out
    assert "tainted model" in shown.out
    assert "Remote copies that remain in repositories: none" in shown.out
    assert "bucket" not in shown.out
    again = run_cli("forget", "one", "-w", arc.workspace.root, "--yes")
    assert again.code == 2
    assert "no session has this name; runs/extraction.json" in again.err


def test_a_copy_elsewhere_is_named_with_what_to_do(run_cli: Cli, arc: Arc) -> None:
    note_upload(arc.workspace.root, make_upload(arc.planted[0].id))
    (arc.workspace.root / "sync.json").write_text("{}")
    shown = run_cli("forget", "one", "-w", arc.workspace.root, "--yes")
    assert "dataset lab/talks at https://hub.example" in shown.out
    assert "squash its history" in shown.out
    assert "sync push --mirror" in shown.out


def test_copies_in_buckets_are_named(run_cli: Cli, arc: Arc) -> None:
    for url in ("gs://lab/study", "s3://other/study"):
        note_copy(arc.workspace.root, url)
    shown = run_cli("forget", "one", "-w", arc.workspace.root, "--yes")
    for url in ("gs://lab/study", "s3://other/study"):
        assert f"sync push {url} --mirror" in shown.out


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_nothing_goes_without_a_yes(run_cli: Cli, arc: Arc, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    shown = run_cli("forget", "one", "-w", arc.workspace.root)
    assert (shown.code, "nothing was removed" in shown.err) == (2, True)
    assert arc.workspace.load_run("finetuning", "finetune").read == 1


def test_a_forgotten_recording_is_refused(run_cli: Cli, arc: Arc, tmp_path: Path) -> None:
    run_cli("forget", arc.planted[0].id, "-w", arc.workspace.root, "--yes")
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "again.mp4").write_bytes(arc.planted[0].recording)
    consent = encode(make_consent()).decode()
    (folder / "again.consent.json").write_text(f'{{"group": "g", "consent": {consent}}}')
    workspace = Workspace(arc.workspace.root)
    run = extract(workspace, ExtractionConfig(), folder, InlineExecutor(workspace.store))
    (skipped,) = run.of_status(Status.SKIPPED)
    assert "forgotten here on request" in str(skipped.reason)
    assert not workspace.store.has(workspace.index.source_digest(folder / "again.mp4"))


def test_what_was_sent_to_a_paid_service_is_named(run_cli: Cli, tmp_path: Path) -> None:
    arc = make_arc(tmp_path / "study", "one", "two", turns=6)
    session = arc.workspace.load_run("extraction", "extract").done[0].item
    ticket = TicketRecord(key="0" * 64, stage="transcribe-assemblyai", item=session, ticket="job-7")
    arc.workspace.store.keep_ticket(ticket)
    shown = run_cli("forget", session, "-w", arc.workspace.root, "--yes")
    assert shown.code == 0
    assert "sent away by transcribe-assemblyai (job job-7)" in shown.out
    assert list(arc.workspace.store.job_records(session)) == []

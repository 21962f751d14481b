"""The whole arc on the sample sessions, once, held to its bars. The longest test: a few minutes."""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai_therapist.records import Example
from ai_therapist.store.codec import decode_all
from ai_therapist.store.lineage import trace
from ai_therapist.store.workspace import Status, Workspace

SAMPLES = Path(__file__).parents[1] / "samples"
TOP_LEVEL_KEYS = {
    "sessions",
    "utterances",
    "clips",
    "quarantined",
    "wer",
    "speaker_accuracy",
    "role_accuracy",
    "clips_exact",
    "emotion",
    "strategy",
    "train",
    "evaluation",
    "seconds",
}


@dataclass(frozen=True)
class Arc:
    """A finished demo."""

    workspace: Workspace
    report: dict[str, object]
    shown: str


def demo(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ai_therapist", "demo", "-w", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def arc(tmp_path_factory: pytest.TempPathFactory) -> Arc:
    folder = tmp_path_factory.mktemp("demo") / "demo-workspace"
    shown = demo(folder)
    workspace = Workspace.existing(folder)
    return Arc(workspace, json.loads(workspace.report_json.read_bytes()), shown)


@pytest.mark.timeout(900)
def test_report_has_every_key(arc: Arc) -> None:
    assert set(arc.report) >= TOP_LEVEL_KEYS
    train = arc.report["train"]
    assert isinstance(train, dict)
    assert set(train) >= {"loss_first", "loss_last", "seconds"}


def test_extraction_meets_its_bars(arc: Arc) -> None:
    assert arc.report["wer"] <= 0.12  # type: ignore[operator]
    assert arc.report["speaker_accuracy"] >= 0.95  # type: ignore[operator]
    assert arc.report["role_accuracy"] == 1.0
    assert arc.report["clips_exact"] == 1.0


def test_training_loss_falls(arc: Arc) -> None:
    train = arc.report["train"]
    assert isinstance(train, dict)
    assert train["loss_last"] <= 0.6 * train["loss_first"]


def test_the_truncated_sample_is_quarantined_and_counts_add_up(arc: Arc) -> None:
    run = arc.workspace.load_run("extraction", "extract")
    recordings = len(list((SAMPLES / "recordings").glob("*.mp4")))
    assert run.read == recordings
    (bad,) = run.of_status(Status.QUARANTINED)
    assert bad.name == "truncated"
    assert bad.reason
    assert len(run.done) == recordings - 1 == arc.report["sessions"]
    assert arc.report["quarantined"] == 1


def test_a_second_run_does_nothing_twice(arc: Arc) -> None:
    before = {path: path.stat().st_mtime_ns for path in arc.workspace.store.root.rglob("*") if path.is_file()}
    start = time.perf_counter()
    shown = demo(arc.workspace.root)
    assert time.perf_counter() - start <= 15
    after = {path: path.stat().st_mtime_ns for path in arc.workspace.store.root.rglob("*") if path.is_file()}
    assert after == before
    assert "report.html" in shown
    assert json.loads(arc.workspace.report_json.read_bytes()) == arc.report


def test_a_dataset_row_leads_back_to_its_recording(arc: Arc) -> None:
    (done,) = arc.workspace.load_run("dataset", "dataset").done
    examples = decode_all(Example, arc.workspace.store.read(done.artefacts["examples"]), "examples")
    steps = trace(arc.workspace, examples[0].id)
    sources = {digest for step in steps for _, digest in step.sources}
    recording = next(
        item.artefacts["recording"]
        for item in arc.workspace.load_run("extraction", "extract").done
        if item.item == examples[0].session
    )
    assert recording in sources
    assert {step.action.item for step in steps} <= {"dataset", examples[0].session}


def test_nothing_in_the_store_is_damaged(arc: Arc) -> None:
    assert list(arc.workspace.store.verify()) == []


def test_the_page_asks_for_nothing_and_names_no_path(arc: Arc) -> None:
    page = arc.workspace.report_html.read_text("utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", page)
    assert str(arc.workspace.root.parent) not in page
    assert str(arc.workspace.root.parent) not in arc.workspace.report_json.read_text("utf-8")


def test_the_demo_ends_with_the_path_of_the_report(arc: Arc) -> None:
    assert "The arc on the sample sessions" in arc.shown
    assert re.search(r"Report: .*report\.html", arc.shown)

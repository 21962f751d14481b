"""What lies beside report.json: Markdown, the model card's block, predictions, and a page that a browser opens."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.evaluation.outputs import read_predictions, render_markdown, render_model_index
from ai_therapist.evaluation.report import Report
from ai_therapist.evaluation.run import evaluate
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.store.workspace import Workspace
from tests.browser import BROWSER, NO_BROWSER
from tests.evaluation.arc import make_arc, make_gold, write_golds

GOLDS = [make_gold(name) for name in ("one", "two", "three", "four")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outputs")
    workspace = make_arc(root / "workspace", GOLDS)
    for item in workspace.load_run("extraction", "extract").done:
        (digest,) = (digest for name, digest in item.artefacts.items() if name.startswith("clip/"))
        workspace.show(f"sessions/{item.name}", {"clips/clip_001_therapist.mp4": digest})
    config = EvaluationConfig(systems=("text-only", "majority", "copy-gold"), quote=True, resamples=1000)
    evaluate(workspace, config, InlineExecutor(workspace.store), write_golds(root / "gold", GOLDS), {})
    return workspace.root


def report_of(place: Path) -> Report:
    return Report.model_validate_json(Workspace(place).report_json.read_bytes())


def test_markdown_marks_the_leaking_baseline(place: Path) -> None:
    text = (place / "report.md").read_text("utf-8")
    # A report that was read back has its systems in another order.
    assert sorted(text.splitlines()) == sorted(render_markdown(report_of(place)).splitlines())
    assert "| copy-gold (told gold labels) |" in text
    assert "Leak audit:" in text
    assert all(turn.text not in text for gold in GOLDS for turn in gold.utterances)


def test_a_model_card_carries_the_tuned_model_or_nothing(place: Path) -> None:
    assert json.loads((place / "model-index.json").read_bytes()) == {"model-index": []}
    report = report_of(place)
    tuned = report.model_copy(update={"evaluation": {"tuned": report.evaluation["text-only"]}})
    (entry,) = json.loads(render_model_index(tuned))["model-index"]
    assert {metric["name"] for metric in entry["results"][0]["metrics"]} == {"accuracy", "macro_f1"}
    marked = tuned.model_copy(update={"watermark": "LEAK"})
    assert json.loads(render_model_index(marked)) == {"model-index": []}


def test_predictions_are_read_back(place: Path, tmp_path: Path) -> None:
    rows = read_predictions(place)
    assert rows == read_predictions(place / "predictions.jsonl")
    assert {row.system for row in rows} == {"text-only", "majority", "copy-gold"}
    with pytest.raises(MissingInput, match="ai-therapist evaluate"):
        read_predictions(tmp_path)
    (tmp_path / "predictions.jsonl").write_text("")
    with pytest.raises(RequestError, match="holds no prediction"):
        read_predictions(tmp_path)
    (tmp_path / "predictions.jsonl").write_text('{"example": 3}\n')
    with pytest.raises(InvalidRecord):
        read_predictions(tmp_path)


def open_in_browser(page: Path, folder: Path, *options: str) -> tuple[str, list[str], list[str]]:
    """What a browser makes of a page: its DOM, what it writes to the console, and what the page asks of the network."""
    folder.mkdir()
    log, requests = folder / "chrome_debug.log", folder / "net.json"
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder}",
        f"--log-net-log={requests}",
        "--enable-logging=stderr",
        *options,
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    written = done.stderr + (log.read_text("utf-8", "replace") if log.exists() else "")
    parameters = [event.get("params", {}) for event in json.loads(requests.read_text("utf-8"))["events"]]
    # Requests of the browser itself have no origin.
    asked = [
        each["url"]
        for each in parameters
        if each.get("initiator", "not an origin") != "not an origin" and each.get("url", "").startswith("http")
    ]
    return done.stdout, [line for line in written.splitlines() if "CONSOLE" in line], asked


@pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)
@pytest.mark.parametrize("options", [["--window-size=390,844"], ["--window-size=1200,900", "--force-dark-mode"]])
def test_a_browser_opens_the_page_without_error_or_request(place: Path, tmp_path: Path, options: list[str]) -> None:
    shown, console, asked = open_in_browser(place / "report.html", tmp_path / "page", *options)
    assert "From recordings to a model, measured" in shown
    assert "The surest errors of text-only" in shown
    links = re.findall(r'<a href="(view/[^"]+)"', shown)
    assert len(links) == len(GOLDS)
    assert all((place / link).is_file() for link in links)
    assert console == []
    assert asked == []


@pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)
def test_the_browser_test_would_notice(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><img src='http://127.0.0.1:9/x.png'><script>throw new Error('no')</script>", "utf-8")
    _, console, asked = open_in_browser(bad, tmp_path / "page")
    assert console
    assert asked == ["http://127.0.0.1:9/x.png"]

"""The whole evaluation over a workspace: what is there is measured, what is not is named, nothing is done twice."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.errors import MissingInput
from ai_therapist.evaluation import run as evaluation_run
from ai_therapist.evaluation.config import EvaluationConfig, SystemName
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.run import evaluate
from ai_therapist.models.catalogue import open_model
from ai_therapist.pipeline.driver import Unobserved
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.pipeline.workers import LocalExecutor
from ai_therapist.records import Annotation, Example, Split, Task
from ai_therapist.store.codec import decode_all, encode, encode_all
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from tests.evaluation.arc import make_arc, make_gold, write_golds
from tests.models.test_contextual import save_encoder

GOLDS = [make_gold("one"), make_gold("two"), make_gold("three"), make_gold("four", traits=["overlap"])]
BASELINES = EvaluationConfig(systems=("text-only", "majority"), resamples=1000)


class Ledger(Unobserved):
    """Remembers which stages ran and which were taken from the store."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reused: list[str] = []

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        (self.reused if reused else self.ran).append(f"{stage} {item}")


def run(workspace: Workspace, gold: Path | None, config: EvaluationConfig = BASELINES, **seconds: float) -> RunRecord:
    return evaluate(workspace, config, InlineExecutor(workspace.store), gold, seconds)


def report_of(workspace: Workspace) -> dict[str, object]:
    report: dict[str, object] = json.loads(workspace.report_json.read_bytes())
    return report


def notes_of(workspace: Workspace) -> str:
    notes = report_of(workspace)["not_run"]
    assert isinstance(notes, list)
    return "\n".join(notes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path, RunRecord]:
    root = tmp_path_factory.mktemp("evaluation")
    workspace, gold = make_arc(root / "workspace", GOLDS), write_golds(root / "gold", GOLDS)
    return workspace, gold, run(workspace, gold, extract=3.5, total=3.5)


def test_the_ledger_holds_the_report_its_systems_and_its_sessions(
    finished: tuple[Workspace, Path, RunRecord],
) -> None:
    workspace, _, record = finished
    assert record == workspace.load_run("evaluation", "evaluate")
    assert [item.name for item in record.items] == ["report", "text-only", "majority", "one", "two", "three", "four"]
    assert all(item.status is Status.DONE for item in record.items)
    artefacts = record.items[0].artefacts
    assert set(artefacts) == {"predictions", "report", "page"}
    assert workspace.store.read(artefacts["report"]) == workspace.report_json.read_bytes()
    assert workspace.store.read(artefacts["page"]) == workspace.report_html.read_bytes()
    predictions = decode_all(Prediction, workspace.store.read(artefacts["predictions"]), "predictions")
    assert {(row.system, row.field.name) for row in predictions} == {
        (system, field)
        for system in ("text-only", "majority")
        for field in ("CLIENT_EMOTION", "STRATEGY", "THERAPIST_EMOTION")
    }


def test_the_report_holds_the_figures(finished: tuple[Workspace, Path, RunRecord]) -> None:
    report = report_of(finished[0])
    assert (report["sessions"], report["quarantined"], report["clips"], report["clips_exact"]) == (4, 1, 4, 1.0)
    assert report["wer"] == 0.0
    assert report["role_accuracy"] == 1.0
    assert report["seconds"] == {"extract": 3.5}
    assert report["train"] is None
    assert "The tuned model" not in notes_of(finished[0])


def test_a_second_run_does_nothing_twice(finished: tuple[Workspace, Path, RunRecord]) -> None:
    workspace, gold, record = finished
    files = {path for path in workspace.store.root.rglob("*") if path.is_file()}
    watch = Ledger()
    seconds = {"extract": 3.5, "evaluate": 9.9, "total": 13.4}
    assert evaluate(workspace, BASELINES, InlineExecutor(workspace.store), gold, seconds, watch) == record
    assert watch.ran == []
    assert len(watch.reused) == 8
    assert {path for path in workspace.store.root.rglob("*") if path.is_file()} == files


def test_other_intervals_and_other_seconds_predict_nothing_again(
    finished: tuple[Workspace, Path, RunRecord],
) -> None:
    workspace, gold, _ = finished
    watch = Ledger()
    config = EvaluationConfig(systems=("text-only", "majority"), resamples=1001, seed=3)
    evaluate(workspace, config, InlineExecutor(workspace.store), gold, {"extract": 7.0}, watch)
    assert watch.ran == []
    assert report_of(workspace)["seconds"] == {"extract": 7.0}


def test_without_gold_and_model_the_report_says_so(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    record = run(workspace, None, EvaluationConfig(resamples=1000))
    baselines = ["text-only", "copy-prediction", "random", "majority", "copy-gold"]
    assert [item.name for item in record.items] == ["report", *baselines, "one", "two"]
    assert "The tuned model: there is none in this workspace (ai-therapist finetune)." in notes_of(workspace)
    assert "no gold transcripts were given" in notes_of(workspace)
    assert report_of(workspace)["wer"] is None


def test_a_model_tuned_on_other_examples_is_not_evaluated(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2], tuned=True)
    dataset = workspace.load_run("dataset", "dataset")
    item = dataset.items[0]
    changed = item.model_copy(update={"artefacts": {"examples": workspace.store.put_bytes(b"[]\n")}})
    workspace.save_run(dataset.model_copy(update={"items": (changed,)}))
    record = run(workspace, None, EvaluationConfig(resamples=1000))
    assert "tuned" not in [item.name for item in record.items]
    assert "tuned on other examples" in notes_of(workspace)


def test_a_model_that_cannot_be_opened_is_quarantined_and_the_rest_goes_on(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2], tuned=True)
    record = run(workspace, None, EvaluationConfig(resamples=1000))
    states = {item.name: item.status for item in record.items}
    assert states["tuned"] is Status.QUARANTINED
    assert states["majority"] is Status.DONE
    assert "The system 'tuned'" in notes_of(workspace)
    train = report_of(workspace)["train"]
    assert isinstance(train, dict)
    assert (train["loss_first"], train["loss_last"], train["seconds"]) == (4.8, 1.7, 31.5)


def test_a_wrong_gold_file_costs_its_session_only(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:3])
    gold = write_golds(tmp_path / "gold", GOLDS[:1])
    (gold / "two.json").write_bytes(encode(GOLDS[0]))
    (gold / "lost.json").write_bytes(encode(GOLDS[0]))
    record = run(workspace, gold)
    (bad,) = record.of_status(Status.QUARANTINED)
    assert bad.name == "two"
    assert "it is of session 'one', not 'two'" in (bad.reason or "")
    notes = notes_of(workspace)
    assert "The session 'two'" in notes
    assert "Sessions without a gold transcript: three." in notes
    assert "Gold transcripts without a complete session: lost." in notes
    assert report_of(workspace)["wer"] == 0.0


def test_without_a_dataset_there_is_nothing_to_evaluate(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="ai-therapist dataset"):
        run(workspace, None)
    made = make_arc(tmp_path / "made", GOLDS[:1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match="holds no gold transcript"):
        run(made, tmp_path / "empty")


def test_without_scikit_learn_the_text_baseline_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        assert name == "sklearn"

    monkeypatch.setattr(evaluation_run, "find_spec", missing)
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    record = run(workspace, None)
    assert [item.name for item in record.items] == ["report", "majority", "one", "two"]
    assert "The text-only baseline: scikit-learn is not installed" in notes_of(workspace)
    assert "scikit-learn is not installed" in notes_of(workspace)


@pytest.mark.parametrize("systems", [(), ("majority",)])
def test_forgetting_a_session_leaves_no_file_of_the_report(tmp_path: Path, systems: tuple[SystemName, ...]) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    before = set(workspace.root.iterdir())
    run(workspace, None, EvaluationConfig(systems=systems, resamples=1000))
    written = {path for path in workspace.root.iterdir() if path.is_file()} - before
    assert {"report.json", "report.md", "model-index.json", "predictions.jsonl"} < {path.name for path in written}
    assert (workspace.root / "predictions.jsonl").read_bytes() or not systems
    forget(workspace, plan(workspace, "one"))
    assert not [path for path in written if path.name.startswith(("report", "model", "predictions")) and path.exists()]


def test_sessions_can_be_measured_in_worker_processes(tmp_path: Path) -> None:
    workspace, gold = make_arc(tmp_path / "workspace", GOLDS[:2]), write_golds(tmp_path / "gold", GOLDS[:2])
    config = EvaluationConfig(systems=("majority",), resamples=1000)
    evaluate(workspace, config, LocalExecutor(workspace.store, 1), gold, {})
    local = workspace.report_json.read_bytes()
    other = make_arc(tmp_path / "other", GOLDS[:2])
    run(other, gold, config)
    assert names(other) == names(workspace)
    assert other.report_json.read_bytes() == local


def names(workspace: Workspace) -> Sequence[str]:
    return sorted(path.name for path in (workspace.store.root / "cas").glob("*/*"))


def test_the_leaking_baseline_is_shown_and_marked(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS)
    run(workspace, None, EvaluationConfig(systems=("majority", "copy-gold"), resamples=1000))
    systems = report_of(workspace)["systems"]
    assert isinstance(systems, dict)
    assert systems["copy-gold"]["leaks"] is True
    assert systems["majority"]["leaks"] is False
    assert "told gold labels" in workspace.report_html.read_text("utf-8")


def test_figures_of_a_leaking_dataset_are_withheld_or_marked(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    dataset = workspace.load_run("dataset", "dataset")
    (item,) = dataset.items
    examples = decode_all(Example, workspace.store.read(item.artefacts["examples"]), "examples")
    leaking = [
        each.model_copy(update={"split": Split.TEST if at % 2 else Split.TRAIN}) for at, each in enumerate(examples)
    ]
    artefacts = {"examples": workspace.store.put_bytes(encode_all(leaking))}
    workspace.save_run(dataset.model_copy(update={"items": (item.model_copy(update={"artefacts": artefacts}),)}))
    config = EvaluationConfig(systems=("majority",), resamples=1000)
    run(workspace, None, config)
    report = report_of(workspace)
    assert report["watermark"] is None
    assert "the leak audit failed" in json.dumps(report["evaluation"])
    assert '"scored"' not in json.dumps(report["evaluation"])
    run(workspace, None, config.model_copy(update={"allow_leak": True}))
    report = report_of(workspace)
    assert str(report["watermark"]).startswith("LEAK: group in two splits")
    assert '"scored"' in json.dumps(report["evaluation"])
    assert "LEAK: group in two splits" in workspace.report_html.read_text("utf-8")


def test_a_model_named_by_its_spec_predicts_too(tmp_path: Path) -> None:
    script = tmp_path / "answers.json"
    answer = "Client emotion: fear\\nStrategy: Restatement\\nTherapist emotion: neutral\\nReply: So it is hard."
    script.write_text(f'{{"replies": ["{answer}", "gibberish"], "repeat": true}}')
    workspace = make_arc(tmp_path / "workspace", GOLDS)
    specs = ("embedded", f"scripted:{script}")
    run(workspace, None, EvaluationConfig(systems=("majority",), models=specs, resamples=1000))
    embedded, name = (open_model(spec).name for spec in specs)
    assert str(tmp_path) not in workspace.report_json.read_text("utf-8")
    report = report_of(workspace)
    evaluation, replies = report["evaluation"], report["reply_scores"]
    assert isinstance(evaluation, dict)
    assert isinstance(replies, dict)
    assert set(evaluation) == {"majority", embedded, name}
    assert evaluation[embedded]["client_emotion"]["accuracy"]["kind"] == "scored"
    assert evaluation[embedded]["strategy"]["accuracy"]["kind"] == "unscored"
    assert evaluation[name]["strategy"]["abstention_rate"]["value"] == 0.5
    assert replies[name]["words"]["value"] == 4


def test_replies_are_compared_by_an_encoder_that_is_given(tmp_path: Path) -> None:
    script = tmp_path / "answers.json"
    script.write_text('{"replies": ["Reply: So the evening is long."], "repeat": true}')
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    config = EvaluationConfig(systems=(), models=(f"scripted:{script}",), resamples=1000)
    run(workspace, None, config)
    (without,) = replies_of(workspace)
    assert without["bertscore"]["reason"] == "no local model for BERTScore was given, and none is fetched"
    folder = save_encoder(tmp_path / "encoder")
    run(workspace, None, config.model_copy(update={"bertscore_model": str(folder), "bertscore_layer": 1}))
    (compared,) = replies_of(workspace)
    assert compared["bertscore"]["kind"] == "scored"
    assert compared["bertscore_model"].endswith("layer 1")
    assert compared["bertscore_model"] in workspace.report_html.read_text("utf-8")
    assert str(tmp_path) not in workspace.report_json.read_text("utf-8")
    with pytest.raises(MissingInput, match="holds no model"):
        run(workspace, None, config.model_copy(update={"bertscore_model": str(tmp_path)}))


def replies_of(workspace: Workspace) -> list[dict[str, Any]]:
    report = json.loads(workspace.report_json.read_bytes())
    return list(report["reply_scores"].values())


def test_clips_that_extraction_shows_are_linked_from_the_report(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    item = workspace.load_run("extraction", "extract").done[0]
    (digest,) = (digest for name, digest in item.artefacts.items() if name.startswith("clip/"))
    workspace.show(f"sessions/{item.name}", {"clips/clip_001_client.mp4": digest, "clips/clip_x.mp4": digest})
    run(workspace, None, EvaluationConfig(systems=("majority",), resamples=1000))
    links = re.findall(r'href="([^"]+mp4)"', workspace.report_html.read_text("utf-8"))
    assert links == [f"view/sessions/{item.name}/clips/clip_001_client.mp4"]
    assert (workspace.root / links[0]).is_file()


def test_annotators_are_scored_against_what_people_decided(tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "workspace", GOLDS[:2])
    config = EvaluationConfig(systems=("majority",), resamples=1000)
    run(workspace, None, config)
    assert report_of(workspace)["annotators"] == {}
    item = workspace.load_run("annotation", "annotate").done[0]
    notes = decode_all(Annotation, workspace.store.read(item.artefacts["annotations"]), "annotations")
    labelled = [each for each in notes if each.task is Task.EMOTION and each.label is not None]
    for note in labelled:
        provenance = note.provenance.model_copy(update={"annotator": "person:ada"})
        workspace.decisions.add(item.item, Annotation.of(note.utterance, note.task, note.outcome, provenance))
    run(workspace, None, config)
    found = json.loads(workspace.report_json.read_bytes())["annotators"]["emotion"]
    assert found["decided"] == len(labelled)
    (annotator,) = {note.provenance.annotator for note in notes}
    assert set(found["annotators"]) == {annotator, "majority, in hindsight"}
    assert found["annotators"][annotator]["accuracy"]["value"] == 1.0
    assert "Annotators against people" in workspace.report_html.read_text("utf-8")
    assert "Annotators against people: emotion" in (workspace.root / "report.md").read_text("utf-8")

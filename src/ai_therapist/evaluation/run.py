"""Evaluates a workspace: measures its sessions, lets systems predict the held-out split, writes the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ai_therapist.dataset.read import dataset_item
from ai_therapist.errors import install_command
from ai_therapist.evaluation.audit import audit_examples
from ai_therapist.evaluation.config import EvaluationConfig, SystemName
from ai_therapist.evaluation.evidence import CurvePoint, Evidence, SessionEvidence, Training
from ai_therapist.evaluation.gold import GoldSession, gold_files
from ai_therapist.evaluation.outputs import predictions_jsonl, render_markdown, render_model_index
from ai_therapist.evaluation.page import render_page
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.rated import rated_in
from ai_therapist.evaluation.replies import ReplyTable
from ai_therapist.evaluation.report import build_report
from ai_therapist.evaluation.stages import (
    EncoderRecord,
    SessionQuality,
    SystemRecord,
    measure_stage,
    predict_stage,
    rate_stage,
)
from ai_therapist.evaluation.systems import TUNINGS
from ai_therapist.models.catalogue import open_model
from ai_therapist.models.weights_folder import folder_revision
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor, InlineExecutor
from ai_therapist.records import Annotation, Example, Session, Transcript
from ai_therapist.store.blobs import Store, write_atomically
from ai_therapist.store.codec import decode, decode_all, encode, encode_all
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

RUN = "evaluation"
_ARC = ("extraction", "annotation", "dataset", "finetuning")
_NOT_A_STAGE_BEFORE = frozenset({"evaluate", RUN, "total"})
_NEED_SKLEARN = frozenset({"text-only", "copy-prediction"})
_NEVER_PART = (
    "Replies were compared with the one reply that was given; no judge and no person has rated them.",
    "People: no second annotator, so nobody knows how far two people would agree on these labels.",
)


def evaluate(
    workspace: Workspace,
    config: EvaluationConfig,
    executor: Executor,
    gold: Path | None,
    seconds: Mapping[str, float],
    observer: Observer | None = None,
) -> RunRecord:
    """Measure what is there and write `report.json` and `report.html`; what is not there is named in the report.

    Sessions are measured where `executor` runs. Models are asked in this process, where each is loaded once. What was
    predicted or measured before is taken from the store; the report is written anew from it, and the same evidence
    gives the same bytes. `gold` is a folder of gold transcripts; `seconds` are those of the stages before, by name
    (its own, which end after the report is written, are left out). Raises MissingInput without a finished dataset or
    for a folder without gold transcripts.
    """
    dataset = dataset_item(workspace)
    runs = [run for name in _ARC if (run := workspace.find_run(name)) is not None]
    golds = {} if gold is None else gold_files(gold)
    sessions = _sessions(runs)
    measured = drive(
        workspace,
        [measure_stage()],
        [_session_item(workspace.store, each, golds) for each in sessions],
        executor,
        observer,
    )
    encoder = _encoder(workspace.store, config)
    systems, left_out = _systems(workspace, config, dataset)
    systems = [replace(item, artefacts=item.artefacts | encoder) for item in systems]
    asker = executor if isinstance(executor, InlineExecutor) else InlineExecutor(workspace.store)
    predicted = drive(workspace, [predict_stage(config), rate_stage()], systems, asker, observer)
    evidence = _evidence(
        workspace,
        config,
        runs,
        measured,
        predicted,
        seconds,
        (
            *left_out,
            *_failures("system", predicted),
            *_failures("session", measured),
            *_unmatched(golds, sessions),
            *_NEVER_PART,
        ),
    )
    return _write(workspace, config, evidence, measured, predicted)


def _sessions(runs: Sequence[RunRecord]) -> list[ItemRecord]:
    """Every session that extraction completed, with its annotations where there are any."""
    done = {run.run: {item.item: item for item in run.done} for run in runs}
    annotated = done.get("annotation", {})
    return [annotated.get(key, item) for key, item in done.get("extraction", annotated).items()]


def _session_item(store: Store, session: ItemRecord, golds: Mapping[str, Path]) -> Item:
    path = golds.get(session.name)
    known = {} if path is None else {"gold": store.put_file(path)}
    return Item(session.item, session.name, session.artefacts | known)


def _systems(workspace: Workspace, config: EvaluationConfig, dataset: ItemRecord) -> tuple[list[Item], list[str]]:
    """The systems that can predict, and a sentence for each that cannot."""
    items, left_out = [], []
    for name in dict.fromkeys(config.systems):
        found = _artefacts_of(name, workspace, dataset)
        if isinstance(found, str):
            left_out.append(found)
        else:
            system = workspace.store.put_bytes(encode(SystemRecord(name=name)))
            items.append(Item(name, name, found | {"system": system}))
    for spec in dict.fromkeys(config.models):
        # A spec may name a place on this machine, which no report should: the model's own name stands for it.
        called = open_model(spec).name
        system = workspace.store.put_bytes(encode(SystemRecord(name=called, spec=spec)))
        items.append(Item(called, called, {"examples": dataset.artefacts["examples"], "system": system}))
    return items, left_out


def _encoder(store: Store, config: EvaluationConfig) -> dict[str, str]:
    """The encoder of BERTScore as an input, found here so that a folder without one stops before anything is asked."""
    if config.bertscore_model is None:
        return {}
    folder = Path(config.bertscore_model).resolve()
    asked = EncoderRecord(folder=str(folder), revision=folder_revision(folder), layer=config.bertscore_layer)
    return {"encoder": store.put_bytes(encode(asked))}


def _artefacts_of(name: SystemName, workspace: Workspace, dataset: ItemRecord) -> dict[str, str] | str:
    """What a system predicts from, or why it cannot."""
    examples = {"examples": dataset.artefacts["examples"]}
    if name in _NEED_SKLEARN and find_spec("sklearn") is None:
        return f"The {name} baseline: scikit-learn is not installed ({install_command('train')})."
    if name not in TUNINGS:
        return examples
    called = f"The tuned model as system {name!r}" if name != "tuned" else "The tuned model"
    run = workspace.find_run("finetuning")
    if run is None or not run.done:
        return f"{called}: there is none in this workspace (ai-therapist finetune)."
    model = run.done[0].artefacts
    # A model tuned before the split changed may have been trained on what is now held out.
    if model["examples"] != examples["examples"]:
        return f"{called}: it was tuned on other examples than the dataset now has (ai-therapist finetune)."
    return examples | {"model": model["model"]}


def _failures(kind: str, items: Sequence[ItemRecord]) -> list[str]:
    return [f"The {kind} {item.name!r}: {item.reason}." for item in items if item.status is not Status.DONE]


def _unmatched(golds: Mapping[str, Path], sessions: Sequence[ItemRecord]) -> list[str]:
    names = {session.name for session in sessions}
    without = sorted(names - golds.keys())
    notes = []
    if not golds:
        notes.append("Extraction and labels against gold: no gold transcripts were given (--gold FOLDER).")
    elif without:
        notes.append(f"Sessions without a gold transcript: {', '.join(without)}.")
    if lost := sorted(golds.keys() - names):
        notes.append(f"Gold transcripts without a complete session: {', '.join(lost)}.")
    return notes


def _evidence(
    workspace: Workspace,
    config: EvaluationConfig,
    runs: Sequence[RunRecord],
    measured: Sequence[ItemRecord],
    predicted: Sequence[ItemRecord],
    seconds: Mapping[str, float],
    not_run: tuple[str, ...],
) -> Evidence:
    store = workspace.store
    tuned = next((run.done[0].artefacts for run in runs if run.run == "finetuning" and run.done), {})
    digest = dataset_item(workspace).artefacts["examples"]
    examples = decode_all(Example, store.read(digest), "examples of the dataset")
    done = [item for item in predicted if item.status is Status.DONE]
    return Evidence(
        runs=tuple(runs),
        sessions=tuple(_session_evidence(workspace, item) for item in measured),
        examples=examples,
        predictions={
            item.name: decode_all(Prediction, store.read(item.artefacts["predictions"]), f"predictions of {item.name}")
            for item in done
        },
        replies={
            item.name: decode(ReplyTable, store.read(item.artefacts["reply_table"]), f"replies of {item.name}")
            for item in done
        },
        audit=audit_examples(examples, config.near_duplicate),
        training=decode(Training, store.read(tuned["training"]), "training") if "training" in tuned else None,
        curve=decode_all(CurvePoint, store.read(tuned["curve"]), "curve") if "curve" in tuned else (),
        seconds={name: value for name, value in seconds.items() if name not in _NOT_A_STAGE_BEFORE},
        not_run=not_run,
        rated=rated_in(workspace) if any(run.run == "annotation" for run in runs) else {},
    )


def _session_evidence(workspace: Workspace, item: ItemRecord) -> SessionEvidence:
    found, name, store = item.artefacts, item.name, workspace.store
    complete = item.status is Status.DONE
    turns = decode(Transcript, store.read(found["utterances"]), f"utterances of {name}")
    return SessionEvidence(
        session=decode(Session, store.read(found["session"]), f"session of {name}"),
        turns=turns,
        annotations=decode_all(Annotation, store.read(found["annotations"]), f"annotations of {name}")
        if "annotations" in found
        else (),
        gold=decode(GoldSession, store.read(found["gold"]), f"gold of {name}")
        if "gold" in found and complete
        else None,
        quality=decode(SessionQuality, store.read(found["quality"]), f"quality of {name}") if complete else None,
        clips=clips_at_hand(workspace, name, turns),
    )


def clips_at_hand(workspace: Workspace, name: str, turns: Transcript) -> dict[str, str]:
    """Relative links from the report to the clips that extraction shows of a session, by utterance id."""
    ids = {turn.index + 1: turn.id for turn in turns.utterances}
    found = {}
    for path in sorted((workspace.root / "view" / "sessions" / name / "clips").glob("clip_*.mp4")):
        number = path.name.split("_")[1]
        if number.isdecimal() and int(number) in ids:
            found[ids[int(number)]] = quote(path.relative_to(workspace.root).as_posix())
    return found


def _write(
    workspace: Workspace,
    config: EvaluationConfig,
    evidence: Evidence,
    measured: Sequence[ItemRecord],
    predicted: Sequence[ItemRecord],
) -> RunRecord:
    """Write report and page beside the store and into it, then the ledger."""
    report = build_report(evidence, config.resampling, allow_leak=config.allow_leak)
    files = {
        "predictions": encode_all([row for rows in evidence.predictions.values() for row in rows]),
        "report": encode(report),
        "page": render_page(report, evidence, quote=config.quote).encode(),
    }
    artefacts = {name: workspace.store.put_bytes(data) for name, data in files.items()}
    write_atomically(workspace.report_json, files["report"])
    write_atomically(workspace.report_html, files["page"])
    for name, text in (
        ("report.md", render_markdown(report)),
        ("model-index.json", render_model_index(report)),
        ("predictions.jsonl", predictions_jsonl(evidence)),
    ):
        write_atomically(workspace.report_json.with_name(name), text.encode())
    workspace.show(
        RUN,
        {
            "predictions.json": artefacts["predictions"],
            "report.json": artefacts["report"],
        },
    )
    whole = ItemRecord(
        item="report",
        name="report",
        status=Status.DONE,
        reason=None,
        artefacts=artefacts,
        actions=tuple(sorted({action for item in (*measured, *predicted) for action in item.actions})),
        counts={"predictions": sum(len(rows) for rows in evidence.predictions.values())},
    )
    items = (whole, *predicted, *measured)
    record = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(items), items=items)
    workspace.save_run(record)
    return record

"""Annotates the extracted sessions of a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from ai_therapist.annotation.annotate import NO_CLIPS, Annotator, SessionClips, annotate_turns
from ai_therapist.annotation.config import AnnotationConfig, ResolvedAnnotation
from ai_therapist.annotation.prompt import load_prompt
from ai_therapist.annotation.table import render_table
from ai_therapist.errors import RequestError
from ai_therapist.models.catalogue import AnyModel, open_model, sends_away
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage
from ai_therapist.privacy.consent import annotation_uses, first_refusal
from ai_therapist.records import Clip, Label, Modality, Session, Task, Transcript, load_codebook
from ai_therapist.store.codec import decode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

RUN = "annotation"


def annotation_stage(config: AnnotationConfig) -> Stage:
    """The stage that annotates one session. Clips are read only where the annotator sees video.

    Raises ConfigError and the like where the annotator cannot be opened, and RequestError where it cannot do a task.
    """
    model = open_model(config.annotator)
    _check_tasks(model, config)
    watches = Modality.VIDEO in model.accepts
    resolved = ResolvedAnnotation(
        **config.model_dump(),
        revision=model.name,
        prompts={task.value: load_prompt(task).sha256 for task in config.tasks},
        codebook=load_codebook().version,
    )
    return Stage(
        name="annotate",
        version=1,
        run=annotate_session,
        needs=("session", "utterances", *(("clips", "clip/*") if watches else ())),
        gives=("annotations", "annotation_table"),
        config=resolved,
        timeout_s=3600,
    )


def annotate(
    workspace: Workspace, config: AnnotationConfig, executor: Executor, observer: Observer | None = None
) -> RunRecord:
    """Annotate every extracted session that permits what the annotator needs; tables go to view/annotations.

    Sessions without the permission are skipped with the reason. Raises MissingInput before the first extraction, and
    what `annotation_stage` raises, before any work.
    """
    extracted = workspace.load_run("extraction", "extract").done
    stage = annotation_stage(config)
    needed = annotation_uses(watches="clips" in stage.needs, leaves=sends_away(config.annotator))
    skipped: dict[str, ItemRecord] = {}
    items = []
    for before in extracted:
        session = decode(Session, workspace.store.read(before.artefacts["session"]), f"session of {before.name}")
        reason = first_refusal(session.consent, needed)
        if reason is None:
            items.append(Item(before.item, before.name, before.artefacts))
        else:
            skipped[before.item] = before.model_copy(update={"status": Status.SKIPPED, "reason": reason, "counts": {}})
    driven = {record.item: record for record in drive(workspace, [stage], items, executor, observer)}
    records = tuple(_with_history(driven | skipped, before) for before in extracted)
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(records), items=records)
    _show(workspace, run.items)
    workspace.save_run(run)
    return run


def annotate_session(job: Job) -> None:
    """Stage: annotations of one session, and the table of them. Only the moment `at` differs between two runs."""
    config = cast(ResolvedAnnotation, job.config)
    model = open_model(config.annotator)
    if model.name != config.revision:
        raise RequestError(f"the annotator {config.revision!r} changed during the run: start it again")
    session = job.record(Session, "session")
    turns = job.record(Transcript, "utterances").utterances
    prompts = {task: load_prompt(task) for task in config.tasks}
    annotator = Annotator(model, config, prompts, load_codebook(), _now)
    annotations = annotate_turns(session, turns, _clips(job), annotator)
    job.give_records("annotations", annotations)
    job.give("annotation_table", render_table(session, turns, annotations).encode())
    labelled = sum(isinstance(annotation.outcome, Label) for annotation in annotations)
    job.count(turns=len(turns), annotations=len(annotations), labels=labelled)


def _clips(job: Job) -> SessionClips:
    if not job.names("clips"):
        return NO_CLIPS
    files = {name.removeprefix("clip/"): job.path(name) for name in job.names("clip/*")}
    return SessionClips(job.record_list(Clip, "clips"), files)


def _check_tasks(model: AnyModel, config: AnnotationConfig) -> None:
    if Task.CUES in config.tasks and not isinstance(model, TextGenerator):
        raise RequestError(
            f"the annotator {model.name!r} weighs labels and cannot write cues: leave 'cues' out of tasks"
        )
    if not isinstance(model, TextGenerator | LabelScorer):
        raise RequestError(f"the annotator {model.name!r} neither writes nor weighs labels")


def _with_history(now: dict[str, ItemRecord], before: ItemRecord) -> ItemRecord:
    """The item's line with the actions of extraction, whose artefacts it still has, among its own."""
    record = now[before.item]
    return record.model_copy(update={"actions": tuple(sorted({*before.actions, *record.actions}))})


def _show(workspace: Workspace, items: Sequence[ItemRecord]) -> None:
    """Links to the labels of every finished session; what an earlier run showed of the others goes."""
    names = {"labels.txt": "annotation_table", "annotations.json": "annotations"}
    for item in items:
        done = item.status is Status.DONE
        files = {name: item.artefacts[artefact] for name, artefact in names.items()} if done else {}
        workspace.show(f"annotations/{item.name}", files)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

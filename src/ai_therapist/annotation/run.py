"""Annotates the extracted sessions of a workspace.

Every annotator has a queue of its own: one model is opened, labels its turns of all sessions, and is given back before
the next is opened. What the annotators said of a session is then put together.

    annotate (each annotator)   session, utterances, clips ─▶ votes/NAME, unread/NAME
    settle                      votes/*                    ─▶ annotations, annotation_table
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from ai_therapist.annotation.annotate import NO_CLIPS, Annotator, SessionClips, annotate_turns
from ai_therapist.annotation.config import AnnotationConfig, Part, ResolvedAnnotation, SettleConfig
from ai_therapist.annotation.journal import Journal
from ai_therapist.annotation.panel import settle
from ai_therapist.annotation.prompt import prompt_digests
from ai_therapist.annotation.table import render_table
from ai_therapist.errors import RequestError
from ai_therapist.models.catalogue import KINDS, AnyModel, kind_name, open_model, sends_away
from ai_therapist.models.loaded import borrow, release
from ai_therapist.models.options import ModelOptions
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor, InlineExecutor
from ai_therapist.pipeline.stage import Job, Stage
from ai_therapist.privacy.consent import annotation_uses, first_refusal
from ai_therapist.records import Annotation, Clip, Modality, Session, Task, Transcript, load_codebook
from ai_therapist.store.codec import decode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

RUN = "annotation"
_JOURNAL = "answers.jsonl"


@dataclass(frozen=True)
class Queue:
    """The work of one annotator: its stage, and whether its weights are loaded here."""

    stage: Stage
    heavy: bool
    watches: bool


@dataclass(frozen=True)
class Plan:
    """All that annotating one session takes: a queue for each annotator, and what puts their votes together."""

    queues: tuple[Queue, ...]
    settle: Stage


def plan_annotation(config: AnnotationConfig) -> Plan:
    """The queues of the settings. Clips are read only where an annotator is shown them.

    Raises ConfigError and the like where an annotator cannot be opened, and RequestError where it cannot do a task.
    """
    members: list[list[Queue]] = []
    if config.clip_annotator is None:
        members.append([_queue(config, config.annotator)])
    else:
        sees = open_model(config.clip_annotator, config.model).accepts
        if Modality.VIDEO not in sees:
            raise RequestError(f"the clip_annotator {config.clip_annotator!r} sees no clips")
        members.append(
            [_queue(config, config.annotator, "words", sees), _queue(config, config.clip_annotator, "clips", sees)]
        )
    members += [[_queue(config, spec)] for spec in config.panel]
    names = tuple(tuple(queue.stage.gives[0] for queue in member) for member in members)
    together = Stage(
        name="settle",
        version=1,
        run=settle_session,
        needs=("session", "utterances", *(name for member in names for name in member)),
        gives=("annotations", "annotation_table"),
        config=SettleConfig(rule=config.settle, members=names),
    )
    return Plan(tuple(queue for member in members for queue in member), together)


def _queue(
    config: AnnotationConfig, spec: str, part: Part = "all", clip_accepts: frozenset[Modality] = frozenset()
) -> Queue:
    model = open_model(spec, config.model)
    tasks = _tasks(model, config, part)
    watches = config.emotion_from_media and Modality.VIDEO in model.accepts
    resolved = ResolvedAnnotation(
        **config.model_dump(exclude={"annotator", "clip_annotator", "panel", "tasks", "model"}),
        annotator=spec,
        tasks=tasks,
        model=config.model,
        revision=model.name,
        prompts=prompt_digests(tasks),
        codebook=load_codebook().version,
        part=part,
        clip_accepts=clip_accepts,
    )
    clips = ("clips", "clip/*") if watches else ("clips",) if part != "all" else ()
    name = hashlib.sha256(f"{model.name} {part}".encode()).hexdigest()[:8]
    stage = Stage(
        name="annotate",
        version=2,
        run=annotate_session,
        needs=("session", "utterances", *clips),
        gives=(f"votes/{name}", f"unread/{name}"),
        config=resolved,
        timeout_s=6 * 3600,
    )
    return Queue(stage, KINDS[kind_name(spec)].weighs_much, watches)


def annotate(
    workspace: Workspace, config: AnnotationConfig, executor: Executor, observer: Observer | None = None
) -> RunRecord:
    """Annotate every extracted session that permits what the annotators need; tables go to view/annotations.

    Sessions without the permission are skipped with the reason. Raises MissingInput before the first extraction, and
    what `plan_annotation` raises, before any work.
    """
    extracted = workspace.load_run("extraction", "extract").done
    plan = plan_annotation(config)
    specs = [config.annotator, *config.panel, *([config.clip_annotator] if config.clip_annotator else [])]
    needed = annotation_uses(
        watches=any(queue.watches for queue in plan.queues), leaves=any(sends_away(spec) for spec in specs)
    )
    now: dict[str, ItemRecord] = {}
    items = []
    for before in extracted:
        session = decode(Session, workspace.store.read(before.artefacts["session"]), f"session of {before.name}")
        reason = first_refusal(session.consent, needed)
        if reason is None:
            items.append(Item(before.item, before.name, before.artefacts))
        else:
            now[before.item] = before.model_copy(update={"status": Status.SKIPPED, "reason": reason, "counts": {}})
    now |= _through_queues(workspace, plan, items, executor, observer)
    records = tuple(_with_history(now, before) for before in extracted)
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(records), items=records)
    _show(workspace, run.items)
    workspace.save_run(run)
    return run


def _through_queues(
    workspace: Workspace, plan: Plan, items: Sequence[Item], executor: Executor, observer: Observer | None
) -> dict[str, ItemRecord]:
    """Take every item through one queue after the other; one that does not come through waits for the next run."""
    records: dict[str, ItemRecord] = {}
    # Weights that take gigabytes are loaded once, here, and not by every worker.
    inline = InlineExecutor(workspace.store)
    steps = [(queue.stage, inline if queue.heavy else executor) for queue in plan.queues] + [(plan.settle, inline)]
    for stage, runs in steps:
        for record in drive(workspace, [stage], items, runs, observer):
            records[record.item] = _joined(records.get(record.item), record)
        release()
        items = [
            Item(item.id, item.name, records[item.id].artefacts)
            for item in items
            if records[item.id].status is Status.DONE
        ]
    return records


def annotate_session(job: Job) -> None:
    """Stage: one annotator's annotations of one session. Only the moment `at` differs between two runs."""
    config = cast(ResolvedAnnotation, job.config)
    kind = KINDS[kind_name(config.annotator)]
    opens: Callable[[str, ModelOptions], AnyModel] = borrow if kind.weighs_much else open_model
    model = opens(config.annotator, config.model)
    if model.name != config.revision:
        raise RequestError(f"the annotator {config.revision!r} changed during the run: start it again")
    journal = Journal(job.work / _JOURNAL if kind.costs else None)
    annotator = Annotator(model, config, load_codebook(), _now, journal, config.part, config.clip_accepts)
    turns = job.record(Transcript, "utterances").utterances
    labelled = annotate_turns(job.record(Session, "session"), turns, _clips(job), annotator)
    votes = next(name for name in job.expected if name.startswith("votes/"))
    job.give_records(votes, labelled.annotations)
    job.give_records(votes.replace("votes/", "unread/"), labelled.unread)
    job.count(**labelled.counts)


def settle_session(job: Job) -> None:
    """Stage: the votes of all annotators, what a panel comes to, and the table of it."""
    config = cast(SettleConfig, job.config)
    session = job.record(Session, "session")
    turns = job.record(Transcript, "utterances").utterances
    members = [[vote for name in member for vote in job.record_list(Annotation, name)] for member in config.members]
    annotations = settle(turns, members, config.rule, _now)
    job.give_records("annotations", annotations)
    job.give("annotation_table", render_table(session, turns, annotations).encode())
    job.count(turns=len(turns), annotations=len(annotations))


def _clips(job: Job) -> SessionClips:
    if not job.names("clips"):
        return NO_CLIPS
    files = {name.removeprefix("clip/"): job.path(name) for name in job.names("clip/*")}
    return SessionClips(job.record_list(Clip, "clips"), files)


def _tasks(model: AnyModel, config: AnnotationConfig, part: Part) -> tuple[Task, ...]:
    """The tasks that an annotator is asked. Raises RequestError where it cannot do one, or none is left."""
    if not isinstance(model, TextGenerator | LabelScorer):
        raise RequestError(f"the annotator {model.name!r} neither writes nor weighs labels")
    tasks = config.tasks
    if Task.CUES in tasks and not isinstance(model, TextGenerator) and part != "words":
        raise RequestError(
            f"the annotator {model.name!r} weighs labels and cannot write cues: leave 'cues' out of tasks"
        )
    return tasks


def _joined(before: ItemRecord | None, now: ItemRecord) -> ItemRecord:
    """What one more stage did to an item, with what the stages before it did."""
    if before is None:
        return now
    counts = {name: before.counts.get(name, 0) + now.counts.get(name, 0) for name in {**before.counts, **now.counts}}
    return now.model_copy(update={"actions": tuple(sorted({*before.actions, *now.actions})), "counts": counts})


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

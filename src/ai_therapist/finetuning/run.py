"""Tunes a model on the training split of a workspace's dataset: base, features of every clip, training."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from ai_therapist.dataset.read import dataset_item, read_training_examples
from ai_therapist.errors import ConfigError, ItemError, MissingExtra, MissingInput
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.finetuning.curve import Point
from ai_therapist.finetuning.event_file import NAME as EVENTS
from ai_therapist.finetuning.event_file import can_write_events, event_file
from ai_therapist.finetuning.processes import awaited, is_first, needed
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig, Task, ignore_progress
from ai_therapist.records import Example, Split
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace

if TYPE_CHECKING:
    from ai_therapist.finetuning.features import ClipEncoder
    from ai_therapist.finetuning.plan import Plan
    from ai_therapist.finetuning.train import Prepared, Tuned
    from ai_therapist.finetuning.verify import Check
    from ai_therapist.models.chat_text import ChatText

RUN = "finetuning"
ITEM = "model"

_FEATURES = "features/"
"""Before the sha256 of a clip: name of its features among the artefacts."""
_DAY_S = 24 * 3600


class FeaturesConfig(StageConfig):
    """What is kept of a clip, besides what base and clip decide."""

    taken: Literal["connector", "towers"]
    """Behind which part: the last one that is frozen."""
    precision: Literal["fp32", "bf16"]
    """Numbers that the towers compute with and that are kept."""


def stages(config: FinetuningConfig) -> tuple[Stage, ...]:
    """Base, features of one clip, training. Each is kept: another learning rate encodes no clip again."""
    libraries = ("torch", "transformers")
    kept = FeaturesConfig(taken="towers" if config.train_connector else "connector", precision=config.precision)
    return (
        Stage("finetuning.base", 2, make_base, (), ("base",), config.base, libraries, timeout_s=_DAY_S),
        Stage("finetuning.features", 3, encode_clip, ("base", "clip"), ("features",), kept, (*libraries, "av")),
        Stage(
            "finetuning.train",
            5,
            tune,
            ("base", "features/*", "examples", "start/*"),
            ("model", "curve", "training", "metrics", "page"),
            config,
            (*libraries, "peft", "tokenizers"),
            timeout_s=30 * _DAY_S,
        ),
    )


def finetune(
    workspace: Workspace,
    config: FinetuningConfig,
    executor: Executor,
    observer: Observer | None = None,
    start: str | None = None,
) -> RunRecord:
    """Tune the base on the examples of split train; a run that was stopped goes on from its last checkpoint.

    `start` is a tuned model to go on from, a folder or a Hub id: its adapter is trained further, on the dataset of
    today. A clip that cannot be encoded is set aside with its reason, and its examples are read without it.
    Raises ConfigError for what cannot be trained, MissingInput where there is no dataset, no example to train on
    or no such model, NotPermitted where a session's permission to train has ended, MissingExtra where a library is
    missing. Of several processes the first alone makes base, features and files; the record of the others is empty.
    """
    examples = training_examples(workspace)
    shown = [example for example in examples if example.split is not Split.TEST] if config.base.sees_clips else []
    digests = sorted({example.clip_sha256 for example in shown if example.clip_sha256 is not None})
    for tracker in config.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise ConfigError(f"finetuning.trackers: {tracker!r} is not installed: pip install {tracker}")
    artefacts = {"examples": dataset_item(workspace).artefacts["examples"]}
    if start is not None:
        artefacts["start/model"] = _kept_start(workspace, start)
    if not is_first():
        return _joined(workspace, config, artefacts, digests)
    base, features, train = stages(config)
    (model,) = drive(workspace, [base], [Item(ITEM, ITEM, artefacts)], executor, observer)
    clips: Sequence[ItemRecord] = ()
    if model.status is Status.DONE:
        inputs = [
            Item(digest, f"clip {digest[:12]}", {"base": model.artefacts["base"], "clip": digest}) for digest in digests
        ]
        clips = _encoded(workspace, features, inputs, executor, observer)
        kept = {f"{_FEATURES}{clip.item}": clip.artefacts["features"] for clip in clips if clip.status is Status.DONE}
        before = model
        (model,) = drive(workspace, [train], [Item(ITEM, ITEM, before.artefacts | kept)], executor, observer)
        behind = {key for record in (before, model, *clips) for key in record.actions}
        counts = model.counts | {"clips": len(kept)}
        model = model.model_copy(update={"actions": tuple(sorted(behind)), "counts": counts})
    items = (model, *(clip for clip in clips if clip.status is not Status.DONE))
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(items), items=items)
    workspace.save_run(run)
    if model.status is Status.DONE:
        _show(workspace, model.artefacts)
    return run


def _show(workspace: Workspace, artefacts: dict[str, str]) -> None:
    """Links with readable names under view/finetuning, and the curve for TensorBoard where that is installed."""
    files = {name: artefacts[kind] for name, kind in _SHOWN.items()}
    if can_write_events():
        curve = [Point.model_validate(point) for point in json.loads(workspace.store.read(artefacts["curve"]))]
        files[EVENTS] = workspace.store.put_bytes(event_file(curve))
    workspace.show("finetuning", files)


def _joined(
    workspace: Workspace, config: FinetuningConfig, artefacts: dict[str, str], digests: Sequence[str]
) -> RunRecord:
    """The part of any process but the first: it waits for base and features, trains with it, and keeps nothing."""
    store, (base, features, train) = workspace.store, stages(config)
    artefacts = artefacts | needed(store, base, artefacts).outputs
    for digest in digests:
        made = awaited(store, features, {"base": artefacts["base"], "clip": digest})
        if made is not None:
            artefacts[f"{_FEATURES}{digest}"] = made.outputs["features"]
    inputs = train.inputs(artefacts)
    task = Task(train, ITEM, inputs, train.key(inputs))
    if store.action(task.key) is None and store.quarantined(task.key) is None:
        with store.scratch() as scratch:
            _trained(Job(ITEM, config, scratch, ignore_progress, store, task))
    needed(store, train, artefacts)
    return RunRecord(run=RUN, config=config.model_dump(mode="json"), read=0, items=())


def _encoded(
    workspace: Workspace, stage: Stage, clips: Sequence[Item], executor: Executor, observer: Observer | None
) -> Sequence[ItemRecord]:
    """What became of every clip; the model with its towers is gone when this returns."""
    if not clips:
        return ()
    try:
        return drive(workspace, [stage], clips, executor, observer)
    finally:
        _OPEN.clear()


_SHOWN = {"metrics.jsonl": "metrics", "training.json": "training", "curve.html": "page"}
"""Names under view/finetuning, and the artefacts that they show."""


def training_examples(workspace: Workspace) -> tuple[Example, ...]:
    """The examples of the dataset, once all that training needs is found. Raises as `finetune`."""
    for package in ("torch", "transformers", "peft"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("fine-tuning", package, "train")
    examples = read_training_examples(workspace)
    if not any(example.split is Split.TRAIN for example in examples):
        groups = len({example.group for example in examples})
        raise MissingInput(
            f"{workspace.root}: the dataset has no example in split 'train' (groups in it: {groups}): a group, as the "
            "consent records name it, lies whole in one split, so that three splits need at least three groups: "
            "extract recordings of other groups, then annotate and make the dataset again"
        )
    return examples


def _kept_start(workspace: Workspace, start: str) -> str:
    """The parts of an earlier model that training goes on from, as a tree of the store."""
    from ai_therapist.models.base import located
    from ai_therapist.models.tuned_folder import ADAPTER, MERGED, PROCESSOR, TunedFolder

    folder = located(start, None)
    if not (folder / TunedFolder.FILE).is_file() or not (folder / ADAPTER).is_dir():
        raise MissingInput(f"{start} holds no tuned model with an adapter to go on from")
    with workspace.store.scratch() as kept:
        shutil.copyfile(folder / TunedFolder.FILE, kept / TunedFolder.FILE)
        shutil.copytree(folder / ADAPTER, kept / ADAPTER)
        words = folder / PROCESSOR if (folder / PROCESSOR).is_dir() else folder / MERGED
        for path in words.glob("*.json"):
            (kept / PROCESSOR).mkdir(exist_ok=True)
            shutil.copyfile(path, kept / PROCESSOR / path.name)
        return workspace.store.put_tree(kept)


def make_base(job: Job) -> None:
    """Stage: the folder of the base, random weights as transformers saves them or a reference to published ones."""
    from ai_therapist.finetuning.base import save_base
    from ai_therapist.models.local import silence_progress_bars

    silence_progress_bars()
    folder = job.scratch / "base"
    save_base(cast(BaseConfig, job.config), folder)
    job.give_tree("base", folder)


_OPEN: dict[tuple[str, str, str], ClipEncoder] = {}
"""The encoder that this process last used, so that a model is not opened once per clip."""


def encode_clip(job: Job) -> None:
    """Stage: the features of one clip."""
    from ai_therapist.finetuning.features import save_features
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.models.clip_input import read_clip

    encoder = _encoder(job, cast(FeaturesConfig, job.config))
    with one_thread():
        made = encoder.encode(read_clip(job.path("clip"), encoder.num_frames))
    save_features(made, job.scratch / "features")
    job.give("features", job.scratch / "features")


def _encoder(job: Job, config: FeaturesConfig) -> ClipEncoder:
    import torch

    from ai_therapist.finetuning.features import ClipEncoder
    from ai_therapist.models.base import open_base

    name = (job.digest("base"), config.taken, config.precision)
    if name not in _OPEN:
        _OPEN.clear()
        job.checkout("base", job.scratch / "base")
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        _OPEN[name] = ClipEncoder(open_base(job.scratch / "base", dtype=dtype).model, config.taken)
    return _OPEN[name]


def tune(job: Job) -> None:
    """Stage: the tuned model, its loss curve, the metrics of every step and the account of the training."""
    from ai_therapist.finetuning.curve_page import curve_page
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.finetuning.saved_model import save_tuned
    from ai_therapist.finetuning.verify import save_proof

    folder = job.scratch / "model"
    tuned, lineage = _trained(job)
    with one_thread():
        save_tuned(
            folder,
            job.scratch / "base",
            tuned.model,
            tuned.processor,
            cast(FinetuningConfig, job.config),
            lineage,
            tuned.context_turns,
        )
        save_proof(tuned.loss, folder)
    job.give_tree("model", folder)
    job.give("curve", canonical_json(tuned.curve))
    job.give("metrics", "".join(point.model_dump_json() + "\n" for point in tuned.curve).encode())
    job.give("training", canonical_json(tuned.account))
    job.give("page", curve_page(tuned.curve, tuned.account).encode())
    job.count(steps=len(tuned.curve), context_turns=tuned.context_turns)


def _trained(job: Job) -> tuple[Tuned, tuple[str, ...]]:
    """The model after the last step, and the names of those that it goes on from."""
    from ai_therapist.finetuning.curve import Watched
    from ai_therapist.finetuning.features import KeptFeatures
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.finetuning.train import tune_on
    from ai_therapist.models.tuned_folder import TunedFolder

    base = job.scratch / "base"
    job.checkout("base", base)
    config = cast(FinetuningConfig, job.config)
    kept = {name.removeprefix(_FEATURES): job.path(name) for name in job.names(f"{_FEATURES}*")}
    examples = [_without_clip(one, kept) for one in job.record_list(Example, "examples")]
    start: Path | None = None
    lineage: tuple[str, ...] = ()
    if job.names("start/*"):
        start = job.scratch / "start"
        job.checkout("start/model", start)
        before = TunedFolder.model_validate_json((start / TunedFolder.FILE).read_bytes())
        lineage = (*before.lineage, before.name)
    watched = Watched(job.progress)
    with one_thread():
        tuned = tune_on(examples, KeptFeatures(kept), base, config, job.work, watched, start)
    return tuned._replace(account=tuned.account | watched.speed()), lineage


def _without_clip(example: Example, kept: Container[str]) -> Example:
    """The example as words alone where its clip could not be encoded."""
    if example.clip_sha256 is None or example.clip_sha256 in kept:
        return example
    return example.model_copy(update={"clip": None, "clip_sha256": None, "cues": None})


def verify_model(workspace: Workspace) -> list[Check]:
    """Compare the tuned model of a workspace with what was kept when it was trained.

    Raises MissingInput where no model was tuned.
    """
    from ai_therapist.finetuning.verify import verify_tuned

    with workspace.store.scratch() as folder:
        workspace.store.checkout(model_digest(workspace), folder)
        return verify_tuned(folder)


def model_digest(workspace: Workspace) -> str:
    """Tree of the model that the last run made. Raises MissingInput where there is none."""
    run = workspace.load_run(RUN, "finetune")
    digest = next((item.artefacts["model"] for item in run.done if "model" in item.artefacts), None)
    if digest is None:
        raise MissingInput("the last fine-tuning run made no model: run  ai-therapist finetune  again")
    return digest


class Planned(NamedTuple):
    """What a training will cost."""

    plan: Plan
    too_long: int
    """Examples that fit into no tree."""
    own_tokens: bool
    """Whether the base's own tokenizer counted; else one that was learned from the dataset, which is an estimate."""


def plan_training(workspace: Workspace, config: FinetuningConfig, folder: Path) -> Planned:
    """The cost of a training; `folder` is private and empty.

    A published model whose sizes are known is not opened, and none of its weights is fetched; its tokenizer is, where
    it can be had. Raises as `finetune`, and ItemError where no example fits.
    """
    from ai_therapist.finetuning.plan import make_plan, shape_of
    from ai_therapist.finetuning.published import PUBLISHED, published_tokenizer, shape_from
    from ai_therapist.finetuning.tokenizer import train_tokenizer
    from ai_therapist.finetuning.train import encode_examples, reading_matter
    from ai_therapist.models.chat_text import ChatText

    decoder = PUBLISHED.get(config.base.language)
    if decoder is None:
        ready, _ = make_trees(workspace, config, folder)
        shape, seen, own = shape_of(ready.loss), ready.seen, True
    else:
        examples = training_examples(workspace)
        tokenizer = published_tokenizer(config.base.language, config.base.language_revision)
        own = tokenizer is not None
        if not own:
            tokenizer = train_tokenizer(reading_matter(examples), _WORDS)
        train = [example for example in examples if example.split is Split.TRAIN]
        shape, seen = (
            shape_from(decoder, config),
            encode_examples(train, ChatText(tokenizer), _marks(train, config), config),
        )
    if not seen.trees:
        raise ItemError(f"finetuning: no example fits into {config.max_tokens} tokens; raise finetuning.max_tokens")
    return Planned(make_plan(shape, seen.trees, config), len(seen.too_long), own)


_WORDS = 100_000
"""Tokens of a vocabulary that holds every word of a dataset, as that of a large model does."""


def _marks(examples: Iterable[Example], config: FinetuningConfig) -> dict[str, str]:
    """The control tokens that stand for each clip, as many as the settings give it."""
    if not config.base.sees_clips:
        return {}
    mark = "<video>" * config.base.tokens_per_clip + "<audio>" * config.base.audio_tokens_per_clip
    return {example.clip_sha256: mark for example in examples if example.clip_sha256 is not None}


def make_trees(workspace: Workspace, config: FinetuningConfig, folder: Path) -> tuple[Prepared, ChatText]:
    """The model with its adapter, and the trees that training would read; `folder` is private and empty.

    Clips count with the tokens that the settings give them; none is decoded. Raises as `finetune`.
    """
    from ai_therapist.finetuning.base import save_base
    from ai_therapist.finetuning.train import prepare
    from ai_therapist.models.chat_text import ChatText
    from ai_therapist.models.local import silence_progress_bars

    examples = training_examples(workspace)
    silence_progress_bars()
    (folder / "base").mkdir()
    save_base(config.base, folder / "base")
    ready = prepare(examples, _marks(examples, config), folder / "base", config)
    return ready, ChatText(getattr(ready.processor, "tokenizer", ready.processor))

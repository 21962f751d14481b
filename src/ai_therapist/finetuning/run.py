"""Tunes a model on the training split of a workspace's dataset."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ai_therapist.dataset.read import dataset_item, read_training_examples
from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import Example, Split
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.workspace import RunRecord, Workspace

if TYPE_CHECKING:
    from ai_therapist.finetuning.train import Prepared
    from ai_therapist.finetuning.verify import Check
    from ai_therapist.models.chat_text import ChatText

RUN = "finetuning"
ITEM = "model"

_DAY_S = 24 * 3600


class FeaturesConfig(StageConfig):
    """Features follow from the base and the clips alone; there is nothing to set."""


def stages(config: FinetuningConfig) -> tuple[Stage, ...]:
    """Base, features, training. Each is kept: another learning rate encodes no clip again."""
    libraries = ("torch", "transformers")
    return (
        Stage("finetuning.base", 2, make_base, (), ("base",), config.base, libraries, timeout_s=_DAY_S),
        Stage(
            "finetuning.features",
            2,
            encode_clips,
            ("base", "clip_digests"),
            ("features",),
            FeaturesConfig(),
            (*libraries, "av"),
            timeout_s=_DAY_S,
        ),
        Stage(
            "finetuning.train",
            3,
            tune,
            ("base", "features", "examples", "start/*"),
            ("model", "curve", "training", "metrics"),
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
    today. Raises ConfigError for what cannot be trained, MissingInput where there is no dataset, no example to train on
    or no such model, NotPermitted where a session's permission to train has ended, MissingExtra where a library is
    missing.
    """
    if config.train_connector:
        raise ConfigError(
            "finetuning.train_connector: clips are kept as the frozen connector gives them, so it cannot be trained yet"
        )
    examples = training_examples(workspace)
    shown = [example for example in examples if example.split is not Split.TEST] if config.base.sees_clips else []
    digests = sorted({example.clip_sha256 for example in shown if example.clip_sha256 is not None})
    artefacts = {
        "examples": dataset_item(workspace).artefacts["examples"],
        "clip_digests": workspace.store.put_bytes(canonical_json(digests)),
    }
    if start is not None:
        artefacts["start/model"] = _kept_start(workspace, start)
    items = drive(workspace, stages(config), [Item(ITEM, ITEM, artefacts)], executor, observer)
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(items), items=items)
    workspace.save_run(run)
    if run.done:
        made = run.done[0].artefacts
        workspace.show("finetuning", {f"{name}.{kind}": made[name] for name, kind in _SHOWN.items()})
    return run


_SHOWN = {"metrics": "jsonl", "training": "json"}
"""Artefacts with readable names under view/finetuning, and the ends of these."""


def training_examples(workspace: Workspace) -> tuple[Example, ...]:
    """The examples of the dataset, once all that training needs is found. Raises as `finetune`."""
    for package in ("torch", "transformers", "peft"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("fine-tuning", package, "train")
    examples = read_training_examples(workspace)
    if not any(example.split is Split.TRAIN for example in examples):
        raise MissingInput(f"{workspace.root}: the dataset has no example in split 'train'")
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


def encode_clips(job: Job) -> None:
    """Stage: the features of every clip, each encoded once; none for a base that sees no clips."""
    from ai_therapist.finetuning.features import ClipEncoder, ClipFeatures, save_features
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.models.base import open_base
    from ai_therapist.models.clip_input import read_clip

    job.checkout("base", job.scratch / "base")
    digests: list[str] = json.loads(job.read("clip_digests"))
    features: list[tuple[str, ClipFeatures]] = []
    if digests:
        model = open_base(job.scratch / "base").model
        encoder = ClipEncoder(model)
        with one_thread():
            for done, digest in enumerate(digests, start=1):
                features.append((digest, encoder.encode(read_clip(job.blob(digest), model.config.num_frames))))
                job.progress(done, len(digests), "clips seen and heard")
    save_features(features, job.scratch / "features")
    job.give("features", job.scratch / "features")
    job.count(clips=len(digests))


def tune(job: Job) -> None:
    """Stage: the tuned model, its loss curve, the metrics of every step and the account of the training."""
    from ai_therapist.finetuning.curve import Watched
    from ai_therapist.finetuning.features import load_features
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.finetuning.saved_model import save_tuned
    from ai_therapist.finetuning.train import tune_on
    from ai_therapist.finetuning.verify import save_proof
    from ai_therapist.models.tuned_folder import TunedFolder

    base, folder = job.scratch / "base", job.scratch / "model"
    job.checkout("base", base)
    config = cast(FinetuningConfig, job.config)
    examples = job.record_list(Example, "examples")
    start: Path | None = None
    lineage: tuple[str, ...] = ()
    if job.names("start/*"):
        start = job.scratch / "start"
        job.checkout("start/model", start)
        before = TunedFolder.model_validate_json((start / TunedFolder.FILE).read_bytes())
        lineage = (*before.lineage, before.name)
    watched = Watched(job.progress)
    with one_thread():
        tuned = tune_on(examples, load_features(job.path("features")), base, config, job.work, watched, start)
        save_tuned(folder, base, tuned.model, tuned.processor, config, lineage)
        save_proof(tuned.loss, folder)
    job.give_tree("model", folder)
    job.give("curve", canonical_json(tuned.curve))
    job.give("metrics", "".join(point.model_dump_json() + "\n" for point in tuned.curve).encode())
    job.give("training", canonical_json(tuned.account | watched.speed()))
    job.count(steps=len(tuned.curve))


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


def make_trees(workspace: Workspace, config: FinetuningConfig, folder: Path) -> tuple[Prepared, ChatText]:
    """The model with its adapter, and the trees that training would read; `folder` is private and empty.

    Clips count with the tokens that the settings give them; none is decoded. Raises as `finetune`.
    """
    from ai_therapist.finetuning.base import save_base
    from ai_therapist.finetuning.train import prepare
    from ai_therapist.models.chat_text import ChatText

    examples = training_examples(workspace)
    (folder / "base").mkdir()
    save_base(config.base, folder / "base")
    mark = "<video>" * config.base.tokens_per_clip + "<audio>" * config.base.audio_tokens_per_clip
    shown = {example.clip_sha256 for example in examples if example.clip_sha256 is not None}
    ready = prepare(examples, dict.fromkeys(shown, mark) if config.base.sees_clips else {}, folder / "base", config)
    return ready, ChatText(getattr(ready.processor, "tokenizer", ready.processor))

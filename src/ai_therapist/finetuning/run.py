"""Tunes a model on the training split of a workspace's dataset."""

from __future__ import annotations

import importlib.util
import json
from typing import cast

from ai_therapist.dataset.read import dataset_item, read_training_examples
from ai_therapist.errors import MissingExtra, MissingInput
from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import Example, Split
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.workspace import RunRecord, Workspace

RUN = "finetuning"
ITEM = "model"

_DAY_S = 24 * 3600


class FeaturesConfig(StageConfig):
    """Features follow from the base and the clips alone; there is nothing to set."""


def stages(config: FinetuningConfig) -> tuple[Stage, ...]:
    """Base, features, training. Each is kept: another learning rate encodes no clip again."""
    libraries = ("torch", "transformers")
    return (
        Stage("finetuning.base", 1, make_base, (), ("base",), config.base, libraries),
        Stage(
            "finetuning.features",
            1,
            encode_clips,
            ("base", "clip_digests"),
            ("features",),
            FeaturesConfig(),
            (*libraries, "av"),
            timeout_s=_DAY_S,
        ),
        Stage(
            "finetuning.train",
            1,
            tune,
            ("base", "features", "examples"),
            ("model", "curve", "training"),
            config,
            (*libraries, "peft", "tokenizers"),
            timeout_s=_DAY_S,
        ),
    )


def finetune(
    workspace: Workspace, config: FinetuningConfig, executor: Executor, observer: Observer | None = None
) -> RunRecord:
    """Tune the base on the examples of split train; a run that was stopped goes on from its last checkpoint.

    Raises MissingInput where there is no dataset or no example to train on, NotPermitted where a session's permission
    to train has ended, MissingExtra where a library is missing.
    """
    for package in ("torch", "transformers", "peft"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("fine-tuning", package, "train")
    examples = read_training_examples(workspace)
    if not any(example.split is Split.TRAIN for example in examples):
        raise MissingInput(f"{workspace.root}: the dataset has no example in split 'train'")
    digests = sorted({e.clip_sha256 for e in examples if e.clip_sha256 is not None and e.split is not Split.TEST})
    artefacts = {
        "examples": dataset_item(workspace).artefacts["examples"],
        "clip_digests": workspace.store.put_bytes(canonical_json(digests)),
    }
    items = drive(workspace, stages(config), [Item(ITEM, ITEM, artefacts)], executor, observer)
    run = RunRecord(run=RUN, config=config.model_dump(mode="json"), read=len(items), items=items)
    workspace.save_run(run)
    return run


def make_base(job: Job) -> None:
    """Stage: the randomly initialised base as transformers saves it."""
    from ai_therapist.finetuning.base import random_base
    from ai_therapist.models.local import silence_progress_bars

    silence_progress_bars()
    folder = job.scratch / "base"
    random_base(cast(BaseConfig, job.config)).save_pretrained(folder)
    job.give_tree("base", folder)


def encode_clips(job: Job) -> None:
    """Stage: the features of every clip, each encoded once."""
    from ai_therapist.finetuning.features import ClipEncoder, ClipFeatures, save_features
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.models.clip_input import read_clip
    from ai_therapist.models.local import load_videollama2

    job.checkout("base", job.scratch / "base")
    model = load_videollama2(job.scratch / "base")
    encoder = ClipEncoder(model)
    digests: list[str] = json.loads(job.read("clip_digests"))
    features: list[tuple[str, ClipFeatures]] = []
    with one_thread():
        for done, digest in enumerate(digests, start=1):
            features.append((digest, encoder.encode(read_clip(job.blob(digest), model.config.num_frames))))
            job.progress(done, len(digests), "clips seen and heard")
    save_features(features, job.scratch / "features")
    job.give("features", job.scratch / "features")
    job.count(clips=len(digests))


def tune(job: Job) -> None:
    """Stage: the tuned model, its loss curve and the account of the training."""
    from ai_therapist.finetuning.features import load_features
    from ai_therapist.finetuning.reproducible import one_thread
    from ai_therapist.finetuning.saved_model import save_tuned
    from ai_therapist.finetuning.train import tune_on

    base, folder = job.scratch / "base", job.scratch / "model"
    job.checkout("base", base)
    config = cast(FinetuningConfig, job.config)
    examples = job.record_list(Example, "examples")
    features = load_features(job.path("features"))
    with one_thread():
        tuned = tune_on(examples, features, base, config, job.work, job.progress)
    save_tuned(folder, base, tuned.model, tuned.tokenizer, config)
    job.give_tree("model", folder)
    job.give("curve", canonical_json(tuned.curve))
    job.give("training", canonical_json(tuned.account))
    job.count(steps=len(tuned.curve))

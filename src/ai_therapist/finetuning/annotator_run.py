"""Trains annotators of emotions and strategies on the training split of a workspace's dataset."""

from __future__ import annotations

from ai_therapist.dataset.read import dataset_item, read_training_examples
from ai_therapist.errors import MissingExtra, MissingInput
from ai_therapist.pipeline.driver import Item, Observer, drive
from ai_therapist.pipeline.executors import Executor
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import Example, Split, Task, load_codebook
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.workspace import RunRecord, Workspace

RUN = "annotator"
FILE = "annotator.safetensors"
_VIEW = "annotator"
_DATA = "turns of the training split of a dataset of the user's"


class AnnotatorConfig(StageConfig):
    """An annotator follows from its rows alone; there is nothing to set."""


def annotator_stage() -> Stage:
    """The stage that trains both heads."""
    return Stage(
        "finetuning.annotator",
        1,
        train_on_examples,
        ("examples",),
        ("classifier", "training"),
        AnnotatorConfig(),
        ("numpy", "scikit-learn", "scipy"),
    )


def train_annotator(workspace: Workspace, executor: Executor, observer: Observer | None = None) -> RunRecord:
    """Train the classifier of a workspace; it lies in view/annotator, to be named as embedded:FILE.

    Raises MissingInput where there is no dataset or no example to train on, NotPermitted where a session's permission
    to train has ended, MissingExtra where a library is missing, RequestError where fewer than two labels occur.
    """
    require_scikit_learn()
    examples = read_training_examples(workspace)
    if not any(example.split is Split.TRAIN for example in examples):
        raise MissingInput(f"{workspace.root}: the dataset has no example in split 'train'")
    artefacts = {"examples": dataset_item(workspace).artefacts["examples"]}
    items = drive(workspace, [annotator_stage()], [Item(RUN, RUN, artefacts)], executor, observer)
    run = RunRecord(run=RUN, config={}, read=len(items), items=items)
    (made,) = items
    workspace.show(_VIEW, {FILE: made.artefacts["classifier"]} if made.reason is None else {})
    workspace.save_run(run)
    return run


def train_on_examples(job: Job) -> None:
    """Stage: the classifier file, and how well its heads did on rows that they did not see."""
    from ai_therapist.finetuning.annotator import classifier_bytes, train_head
    from ai_therapist.finetuning.labelled_rows import rows_of_examples

    book, examples = load_codebook(), job.record_list(Example, "examples")
    heads = {
        task.value: train_head(rows_of_examples(examples, task, book.names(task)).train, book.names(task))
        for task in (Task.EMOTION, Task.STRATEGY)
    }
    job.give("classifier", classifier_bytes(heads, _DATA, book.version, [job.read("examples")]))
    account = {
        name: {
            "rows": head.rows,
            "groups": head.groups,
            "held_out": None if head.held_out is None else head.held_out._asdict(),
        }
        for name, head in heads.items()
    }
    job.give("training", canonical_json(account))
    job.count(rows=sum(head.rows for head in heads.values()))


def require_scikit_learn() -> None:
    """Raises MissingExtra where scikit-learn is not installed."""
    import importlib.util

    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtra("training an annotator", "scikit-learn", "train")

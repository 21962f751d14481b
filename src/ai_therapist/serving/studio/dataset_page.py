"""The dataset as the page shows it: counts, splits, how often each label occurs, and how far annotators agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import combinations

from ai_therapist.annotation.review import Question, cohen_kappa
from ai_therapist.errors import MissingInput
from ai_therapist.records import Example, Split, Task, load_codebook
from ai_therapist.serving.studio.shown import score_line
from ai_therapist.store.actions import JsonObject
from ai_therapist.store.codec import decode_all
from ai_therapist.store.workspace import Status, Workspace

_RUN = "dataset"
_PREDICTED = {"client_emotion": Task.EMOTION, "strategy": Task.STRATEGY, "therapist_emotion": Task.EMOTION}


def dataset_page(workspace: Workspace, questions: Iterable[Question], *, blind: bool = False) -> JsonObject:
    """Everything the tab shows; what is missing is said, never shown as zero.

    In a blind studio `labels` is None: the counts of a split with one turn are that turn's label.
    """
    asked = tuple(questions)
    found: JsonObject = {"agreement": agreement_rows(asked), "answers": answer_counts(asked)}
    try:
        return {**found, **_built(workspace, blind=blind), "missing": None}
    except MissingInput as error:
        return {**found, "missing": str(error)}


def _built(workspace: Workspace, *, blind: bool) -> JsonObject:
    run = workspace.load_run(_RUN, "dataset")
    item = next((item for item in run.items if "examples" in item.artefacts), None)
    if item is None:
        raise MissingInput(f"the dataset of {workspace.root} has no examples: run  ai-therapist dataset  again")
    examples = decode_all(Example, workspace.store.read(item.artefacts["examples"]), "examples of the dataset")
    summary: JsonObject = json.loads(workspace.store.read(item.artefacts["summary"]))
    skipped = [{"name": line.name, "reason": line.reason} for line in run.items if line.status is not Status.DONE]
    labels = None if blind else label_counts(examples)
    return {"summary": summary, "skipped": skipped, "config": run.config, "labels": labels}


def label_counts(examples: Iterable[Example]) -> list[JsonObject]:
    """For every predicted label how often each class is the gold one, split by split, in the codebook's order."""
    read = tuple(examples)
    rows: list[JsonObject] = []
    for field, task in _PREDICTED.items():
        counts = {
            split: Counter(getattr(example.labels, field) for example in read if example.split is split)
            for split in Split
        }
        classes = [*load_codebook().names(task), None]
        rows.append(
            {
                "field": field,
                "classes": [
                    {"name": name, "splits": {split.value: counts[split][name] for split in Split}} for name in classes
                ],
            }
        )
    return rows


def answer_counts(questions: Iterable[Question]) -> list[JsonObject]:
    """How many questions every annotator answered, with a label or without one; people by their pseudonyms."""
    labels: Counter[tuple[str, bool, Task]] = Counter()
    abstained: Counter[tuple[str, bool, Task]] = Counter()
    for question in questions:
        for name, person, label in _answers(question):
            (abstained if label is None else labels)[name, person, question.task] += 1
    keys = sorted({*labels, *abstained}, key=lambda key: (key[2], key[1], key[0]))
    return [
        {"annotator": key[0], "person": key[1], "task": key[2].value, "labels": labels[key], "none": abstained[key]}
        for key in keys
    ]


def agreement_rows(questions: Iterable[Question]) -> list[JsonObject]:
    """Cohen's kappa of every two annotators on what both labelled, task by task; people beside models."""
    pairs: dict[tuple[Task, str, str], list[tuple[str, str]]] = {}
    people: set[str] = set()
    for question in questions:
        given = sorted((name, person, label) for name, person, label in _answers(question) if label is not None)
        people |= {name for name, person, _ in given if person}
        for (one, _, first), (other, _, second) in combinations(given, 2):
            pairs.setdefault((question.task, one, other), []).append((first, second))
    return [
        {
            "task": task.value,
            "one": one,
            "other": other,
            "people": sum(name in people for name in (one, other)),
            "both": len(both),
            "same": sum(first == second for first, second in both),
            "kappa": score_line(cohen_kappa(both)),
        }
        for (task, one, other), both in sorted(pairs.items())
    ]


def _answers(question: Question) -> list[tuple[str, bool, str | None]]:
    """Name, whether it is a person's, and label of every answer that counts; of a model's answers the last.

    What a panel came to is left out: it is made of answers that are counted themselves.
    """
    models = {vote.provenance.annotator: vote.label for vote in question.votes if not vote.provenance.is_panel}
    people = {note.provenance.rater or "": note.label for note in question.standing}
    return [
        *((name, False, label) for name, label in models.items()),
        *((name, True, label) for name, label in people.items()),
    ]

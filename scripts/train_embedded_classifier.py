"""Trains the weights of the embedded classifier and writes them into the package.

    python scripts/train_embedded_classifier.py --goemotions FOLDER

FOLDER holds original_labels.txt and original_train.tsv, original_dev.tsv of GoEmotions. The other half of the data
lies beside this script in embedded_classifier/{emotions,strategies}/LABEL.txt: original sentences, one a line,
"what came before || what was said" where the turn before matters. embedded_classifier/goemotions.json maps the labels
of GoEmotions to ours, null where there is no counterpart. Same input, same package versions and same kind
of machine give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from ai_therapist.models.embedded import Card, Head, HeadCard, weights_bytes
from ai_therapist.models.text_features import FEATURES_VERSION, features_of
from ai_therapist.models.turn_lines import TurnLine
from ai_therapist.records import Role, Task, load_codebook

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "src" / "ai_therapist" / "models" / "embedded.safetensors"
BUCKETS = {Task.EMOTION: 1 << 17, Task.STRATEGY: 1 << 16}
INVERSE_PENALTY = {Task.EMOTION: 6.0, Task.STRATEGY: 8.0}
ORIGINAL_WEIGHT = 8.0
"""How many comments one original sentence counts for: the comments are sixty times as many, and not counselling."""
LISTENING_WEIGHT = 1.0
"""The same for a therapist's sentence, which is taken as neutral where its strategy shows no feeling."""
SHOWS_FEELING = frozenset({"Approval", "Self-disclosure"})
FOLDS = 5
DATA = (
    "GoEmotions (Google Research; Demszky et al. 2020, CC BY 4.0 / Apache-2.0 copy), training split mapped to the "
    "codebook, and original sentences of this project (Apache-2.0)"
)


@dataclass(frozen=True)
class Sample:
    """A text with its label and what it counts for; `fold` is None for what is never held out."""

    turns: tuple[TurnLine, ...]
    label: str
    weight: float
    fold: int | None


def read_goemotions(folder: Path, part: str) -> list[tuple[str, str]]:
    """Comments of a part with their one mapped label, in the order of the file. Others are left out."""
    names = (folder / "original_labels.txt").read_text("utf-8").split()
    counterpart = json.loads((HERE / "embedded_classifier" / "goemotions.json").read_text("utf-8"))
    rows = []
    for line in (folder / f"original_{part}.tsv").read_text("utf-8").splitlines():
        text, indices, _ = line.split("\t")
        mapped = {counterpart[names[int(index)]] for index in indices.split(",")}
        if len(mapped) == 1 and (label := mapped.pop()) is not None:
            rows.append((text, label))
    return rows


def read_originals(task: Task) -> list[tuple[str, str, str]]:
    """Original sentences of a task: (what came before or "", what was said, label). One file for every label."""
    folder = HERE / "embedded_classifier" / ("emotions" if task is Task.EMOTION else "strategies")
    rows = []
    for label in load_codebook().names(task):
        path = folder / f"{re.sub('[ -]', '_', label.lower())}.txt"
        for line in path.read_text("utf-8").splitlines():
            before, _, said = line.rpartition(" || ")
            rows.append((before, said, label))
    return rows


def as_heard(text: str) -> str:
    """The text as a speech recogniser writes it: no case, no punctuation."""
    return re.sub(r"[^\w\s']+", " ", text).lower()


def original_samples(task: Task) -> list[Sample]:
    """Every original sentence twice: as written with its speaker's role, and as heard without."""
    speaker, listener = (Role.CLIENT, Role.THERAPIST) if task is Task.EMOTION else (Role.THERAPIST, Role.CLIENT)
    samples = []
    for before, said, label in read_originals(task):
        written = [TurnLine(listener, before)] if before else []
        written.append(TurnLine(speaker, said))
        heard = [TurnLine(None, as_heard(turn.text)) for turn in written]
        fold = zlib.crc32(said.encode()) % FOLDS
        samples += [Sample(tuple(turns), label, ORIGINAL_WEIGHT, fold) for turns in (written, heard)]
    return samples


def emotion_samples(folder: Path) -> list[Sample]:
    """Comments, every other one as heard; original sentences; and therapists' sentences that show no feeling."""
    comments = [
        Sample((TurnLine(None, text if place % 2 else as_heard(text)),), label, 1.0, None)
        for place, (text, label) in enumerate(read_goemotions(folder, "train"))
    ]
    listening = [
        replace(sample, label="neutral", weight=LISTENING_WEIGHT)
        for sample in original_samples(Task.STRATEGY)
        if sample.label not in SHOWS_FEELING and sample.turns[-1].role is not None
    ]
    return comments + original_samples(Task.EMOTION) + listening


def matrix(samples: Sequence[Sample], buckets: int) -> csr_matrix:
    """Features of the samples, one row each."""
    starts, columns, values = [0], list[int](), list[float]()
    for sample in samples:
        features = features_of(sample.turns, buckets)
        columns += features.keys()
        values += features.values()
        starts.append(len(columns))
    return csr_matrix((np.array(values, np.float32), columns, starts), shape=(len(samples), buckets))


def fit(task: Task, samples: Sequence[Sample], rows: csr_matrix) -> LogisticRegression:
    """Softmax regression; a class counts for the square root of how rare it is."""
    labels = np.array([sample.label for sample in samples])
    weights = np.array([sample.weight for sample in samples])
    total = {label: weights[labels == label].sum() for label in set(labels)}
    rarity = {label: (weights.sum() / len(total) / mass) ** 0.5 for label, mass in total.items()}
    weights = weights * np.array([rarity[label] for label in labels])
    model = LogisticRegression(C=INVERSE_PENALTY[task], max_iter=400, tol=1e-3)
    return model.fit(rows, labels, sample_weight=weights)


def held_out_scores(
    task: Task, samples: Sequence[Sample], rows: csr_matrix, folds: int
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Scores and labels of original sentences by models that did not see them, for the first `folds` folds."""
    scores, labels = [], list[str]()
    order = list(load_codebook().names(task))
    for fold in range(folds):
        kept = [place for place, sample in enumerate(samples) if sample.fold != fold]
        held = [place for place, sample in enumerate(samples) if sample.fold == fold]
        model = fit(task, [samples[place] for place in kept], rows[kept])
        scores.append(model.decision_function(rows[held])[:, [list(model.classes_).index(name) for name in order]])
        labels += [samples[place].label for place in held]
    return np.concatenate(scores), labels


def temperature_of(task: Task, scores: npt.NDArray[np.float64], labels: Sequence[str]) -> float:
    """The temperature with the least mean negative log-likelihood (Guo et al. 2017)."""
    names = list(load_codebook().names(task))
    truth = np.array([names.index(label) for label in labels])

    def loss(temperature: float) -> float:
        return float(-log_softmax(scores / temperature, axis=1)[np.arange(len(truth)), truth].mean())

    found = minimize_scalar(loss, bounds=(0.2, 5.0), method="bounded", options={"xatol": 1e-3})
    return round(float(found.x), 3)


def train(task: Task, samples: Sequence[Sample], folds: int) -> tuple[npt.NDArray[np.float32], ...]:
    """Weights, bias and [temperature] of one head, rows in the codebook's order."""
    names = list(load_codebook().names(task))
    rows = matrix(samples, BUCKETS[task])
    scores, labels = held_out_scores(task, samples, rows, folds)
    right = np.mean([names[place] == label for place, label in zip(scores.argmax(axis=1), labels, strict=True)])
    temperature = temperature_of(task, scores, labels)
    print(f"{task.value}: {len(samples)} samples; held-out original sentences {right:.3f} right (n = {len(labels)})")
    print(f"{task.value}: temperature {temperature}")
    model = fit(task, samples, rows)
    order = [list(model.classes_).index(name) for name in names]
    return model.coef_[order], model.intercept_[order], np.array([temperature])


def inputs_digest(folder: Path) -> str:
    """Sha256 over this script, the original sentences and the GoEmotions files it reads."""
    digest = hashlib.sha256()
    own = [Path(__file__), *sorted((HERE / "embedded_classifier").rglob("*.*"))]
    for path in (*own, folder / "original_labels.txt", folder / "original_train.tsv"):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def main() -> None:
    """Train both heads and write the weights file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goemotions", type=Path, required=True, help="folder with original_train.tsv")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="weights file to write")
    options = parser.parse_args()
    book = load_codebook()
    cards, heads = {}, {}
    # One fold of the emotions is enough for a temperature; the strategies are few and quick.
    for task, samples, folds in (
        (Task.EMOTION, emotion_samples(options.goemotions), 1),
        (Task.STRATEGY, original_samples(Task.STRATEGY), FOLDS),
    ):
        weight, bias, temperature = train(task, samples, folds)
        heads[task.value] = Head(weight.astype(np.float32), bias.astype(np.float32))
        cards[task.value] = HeadCard(labels=book.names(task), temperature=float(temperature[0]))
    card = Card(
        features=FEATURES_VERSION,
        codebook=book.version,
        heads=cards,
        data=DATA,
        inputs_sha256=inputs_digest(options.goemotions),
    )
    data = weights_bytes(card, heads)
    options.output.write_bytes(data)
    print(f"{options.output}: {len(data) / 1e6:.1f} MB, sha256 {hashlib.sha256(data).hexdigest()[:12]}")


if __name__ == "__main__":
    main()

"""The classifier that ships with the package: needs no key, no download and no accelerator.

A linear softmax over hashed features (`text_features`) for each of the codebook's two label sets. It reads text only,
weighs nothing but words and their order, and is meant for trying the toolkit out: its measured scores and limits are
in docs/embedded-classifier.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ai_therapist.errors import StoreError
from ai_therapist.models.text_features import FEATURES_VERSION, features_of
from ai_therapist.models.turn_lines import read_turns
from ai_therapist.records.annotation import Modality, Task
from ai_therapist.records.base import Record
from ai_therapist.records.codebook import Codebook, load_codebook
from ai_therapist.records.message import Message

_FILE = "embedded.safetensors"
# One key, because safetensors writes several in an order that differs from run to run.
_CARD_KEY = "card"

Floats = npt.NDArray[np.float32]


class HeadCard(Record):
    """Labels of one head, in the order of the rows of its weights, and the temperature of its softmax."""

    labels: tuple[str, ...]
    temperature: float = Field(gt=0)
    """Scores are divided by it before the softmax; fitted on texts that the weights were not trained on."""


class Card(Record):
    """What the weights file says about itself."""

    features: str
    """FEATURES_VERSION of the features that the weights belong to."""
    codebook: str
    heads: dict[str, HeadCard]
    data: str
    """What the weights were trained on, and under which terms."""
    inputs_sha256: str
    """Digest over the training script, its examples and the data files it read."""


class EmbeddedClassifier:
    """A LabelScorer for the emotions and for the strategies of the codebook.

    It judges the last turn that the messages show (see `turn_lines`); earlier turns are context, and messages of the
    system do not count.
    """

    def __init__(self, card: Card, weights: dict[str, Floats], biases: dict[str, Floats], revision: str) -> None:
        self.card = card
        self._weights = weights
        self._biases = biases
        self._revision = revision

    @classmethod
    def from_file(cls, path: Path, codebook: Codebook | None = None) -> Self:
        """The classifier whose weights lie in a safetensors file.

        Raises StoreError where the file is not such a file, belongs to other features, or has other labels than the
        codebook (the one that ships, unless another is given).
        """
        try:
            with safe_open(path, framework="numpy") as file:
                card = Card.model_validate_json((file.metadata() or {}).get(_CARD_KEY, ""))
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, ValidationError, OSError) as error:
            raise StoreError(f"{path.name} holds no embedded classifier ({type(error).__name__})") from None
        _check(path.name, card, tensors, codebook or load_codebook())
        revision = hashlib.sha256(path.read_bytes()).hexdigest()
        weights = {name: tensors[f"{name}.weight"].astype(np.float32) for name in card.heads}
        biases = {name: tensors[f"{name}.bias"].astype(np.float32) for name in card.heads}
        return cls(card, weights, biases, revision)

    @property
    def name(self) -> str:
        """ "embedded@" and the first 12 digits of the sha256 of the weights file."""
        return f"embedded@{self._revision[:12]}"

    @property
    def accepts(self) -> frozenset[Modality]:
        """Text only."""
        return frozenset({Modality.TEXT})

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probability of each label for the last turn shown, in the given order; `prefix` has no influence.

        Raises ValueError for labels that are not exactly those of one head, for messages that show more than text,
        and for messages without words.
        """
        if any(message.modalities - self.accepts for message in messages):
            raise ValueError("the embedded classifier reads text only")
        head = self._head_for(labels)
        values = features_of(read_turns(messages), self._weights[head].shape[1])
        buckets = np.fromiter(values.keys(), np.int64, len(values))
        scores = self._weights[head][:, buckets] @ np.fromiter(values.values(), np.float32, len(values))
        probabilities = _softmax((scores + self._biases[head]) / self.card.heads[head].temperature)
        by_label = dict(zip(self.card.heads[head].labels, probabilities.tolist(), strict=True))
        return {label: by_label[label] for label in labels}

    def _head_for(self, labels: Sequence[str]) -> str:
        for name, head in self.card.heads.items():
            if sorted(labels) == sorted(head.labels):
                return name
        known = " or ".join(f"the {len(head.labels)} labels of {name!r}" for name, head in self.card.heads.items())
        raise ValueError(f"the embedded classifier was not made for these {len(labels)} labels, but for {known}")


@cache
def load_embedded() -> EmbeddedClassifier:
    """The classifier that ships with the package."""
    with resources.as_file(resources.files("ai_therapist.models").joinpath(_FILE)) as path:
        return EmbeddedClassifier.from_file(path)


def weights_bytes(card: Card, weights: dict[str, Floats], biases: dict[str, Floats]) -> bytes:
    """The content of a weights file; weights are kept in half precision. Equal input gives equal bytes."""
    tensors: dict[str, npt.NDArray[np.float16] | Floats] = {}
    for name in sorted(card.heads):
        tensors[f"{name}.weight"] = weights[name].astype(np.float16)
        tensors[f"{name}.bias"] = biases[name].astype(np.float32)
    return save(tensors, metadata={_CARD_KEY: json.dumps(card.model_dump(mode="json"), sort_keys=True)})


def _check(file: str, card: Card, tensors: dict[str, npt.NDArray[np.generic]], codebook: Codebook) -> None:
    if card.features != FEATURES_VERSION:
        raise StoreError(f"{file} belongs to features {card.features!r}, this version makes {FEATURES_VERSION!r}")
    wanted = {task.value: codebook.names(task) for task in (Task.EMOTION, Task.STRATEGY)}
    if {name: head.labels for name, head in card.heads.items()} != wanted:
        raise StoreError(
            f"{file} was trained for the labels of codebook {card.codebook}, not for those of {codebook.version}: "
            "train it again with  scripts/train_embedded_classifier.py"
        )
    for name, labels in wanted.items():
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        shapes = (None, None) if weight is None or bias is None else (weight.shape[:1], bias.shape)
        if shapes != ((len(labels),), (len(labels),)):
            raise StoreError(f"{file} lacks the weights of {name!r}")


def _softmax(scores: Floats) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(scores.astype(np.float64) - float(scores.max()))
    total: float = powers.sum()
    return powers / total

"""The classifier that ships with the package: needs no key, no download and no accelerator.

A linear softmax over hashed features (`text_features`) for each of the codebook's two label sets. It reads text only,
weighs nothing but words and their order, and is meant for trying the toolkit out: its measured scores and limits are
in docs/embedded-classifier.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ai_therapist.errors import MissingInput, StoreError
from ai_therapist.models.text_features import FEATURES_VERSION, features_of
from ai_therapist.models.turn_lines import TurnLine, read_turns
from ai_therapist.records.annotation import Modality, Task
from ai_therapist.records.base import Record
from ai_therapist.records.codebook import Codebook, load_codebook
from ai_therapist.records.message import Message

_FILE = "embedded.safetensors"
# One key, because safetensors writes several in an order that differs from run to run.
_CARD_KEY = "card"
_INHERITED_SCALE = np.float32(0.05)

Floats = npt.NDArray[np.float32]


class HeadCard(Record):
    """Labels of one head, in the order of the rows of its weights, and what its features are."""

    labels: tuple[str, ...]
    temperature: float = Field(gt=0)
    """Scores are divided by it before the softmax; fitted on texts that the weights were not trained on."""
    cues: bool = False
    """Whether the features hold the cues of the turn's form."""
    inherits: str | None = None
    """Name of the shipped classifier whose log-probabilities of the turn are features as well; None where none are."""


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


class Head(NamedTuple):
    """Weights of one head."""

    weight: Floats
    """(labels, buckets)."""
    bias: Floats
    """(labels,)."""
    inherited: Floats | None = None
    """(labels, labels of all shipped heads), for a head that builds on them."""


class EmbeddedClassifier:
    """A LabelScorer for each head's labels; the shipped one has the emotions and the strategies of the codebook.

    It judges the last turn that the messages show (see `turn_lines`); earlier turns are context, and messages of the
    system do not count.
    """

    def __init__(self, card: Card, heads: dict[str, Head], revision: str) -> None:
        self.card = card
        self._heads = heads
        self._revision = revision

    @classmethod
    def from_file(cls, path: Path, codebook: Codebook | None = None) -> Self:
        """The classifier whose weights lie in a safetensors file.

        Raises MissingInput where there is none, and StoreError where it is not such a file, belongs to other features
        or builds on another shipped classifier, or has other labels than `codebook`, where one is given.
        """
        if not path.is_file():
            raise MissingInput(f"{path}: there is no such file; make one with  ai-therapist finetune --annotator")
        try:
            with safe_open(path, framework="numpy") as file:
                card = Card.model_validate_json((file.metadata() or {}).get(_CARD_KEY, ""))
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, ValidationError, OSError) as error:
            raise StoreError(f"{path.name} holds no embedded classifier ({type(error).__name__})") from None
        if codebook is not None:
            _check_labels(path.name, card, codebook)
        heads = {name: _head(path.name, name, card, tensors) for name in card.heads}
        return cls(card, heads, hashlib.sha256(path.read_bytes()).hexdigest())

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
        name = self._head_for(labels)
        powers = np.exp(self._log_probabilities(name, read_turns(messages)))
        by_label = dict(zip(self.card.heads[name].labels, (powers / powers.sum()).tolist(), strict=True))
        return {label: by_label[label] for label in labels}

    def most_probable(self, turns: Sequence[TurnLine], labels: Sequence[str]) -> str:
        """The label with the highest probability for the last turn. Raises ValueError as `score` does."""
        name = self._head_for(labels)
        return self.card.heads[name].labels[int(self._log_probabilities(name, turns).argmax())]

    def log_probabilities(self, turns: Sequence[TurnLine]) -> Floats:
        """Log-probabilities of all labels of all heads for the last turn, heads and labels in the card's order."""
        return np.concatenate([self._log_probabilities(name, turns) for name in self._heads]).astype(np.float32)

    def _log_probabilities(self, name: str, turns: Sequence[TurnLine]) -> npt.NDArray[np.float64]:
        card, head = self.card.heads[name], self._heads[name]
        values = features_of(turns, head.weight.shape[1], cues=card.cues)
        buckets = np.fromiter(values.keys(), np.int64, len(values))
        scores = head.weight[:, buckets] @ np.fromiter(values.values(), np.float32, len(values)) + head.bias
        if head.inherited is not None:
            scores = scores + head.inherited @ inherited_features(turns)
        return _log_softmax(scores / card.temperature)

    def _head_for(self, labels: Sequence[str]) -> str:
        for name, head in self.card.heads.items():
            if sorted(labels) == sorted(head.labels):
                return name
        known = " or ".join(f"the {len(head.labels)} labels of {name!r}" for name, head in self.card.heads.items())
        raise ValueError(f"{self.name} was not made for these {len(labels)} labels, but for {known}")


@cache
def load_embedded() -> EmbeddedClassifier:
    """The classifier that ships with the package."""
    with resources.as_file(resources.files("ai_therapist.models").joinpath(_FILE)) as path:
        return EmbeddedClassifier.from_file(path, load_codebook())


def inherited_features(turns: Sequence[TurnLine]) -> Floats:
    """What a head that builds on the shipped classifier is given of it: its log-probabilities of the last turn alone.

    Scaled so that they weigh no more than the words of the turn do.
    """
    return load_embedded().log_probabilities(turns[-1:]) * _INHERITED_SCALE


def weights_bytes(card: Card, heads: Mapping[str, Head]) -> bytes:
    """The content of a weights file; weights are kept in half precision. Equal input gives equal bytes."""
    tensors: dict[str, npt.NDArray[np.float16] | Floats] = {}
    for name in sorted(card.heads):
        head = heads[name]
        tensors[f"{name}.weight"] = head.weight.astype(np.float16)
        tensors[f"{name}.bias"] = head.bias.astype(np.float32)
        if head.inherited is not None:
            tensors[f"{name}.inherited"] = head.inherited.astype(np.float32)
    return save(tensors, metadata={_CARD_KEY: json.dumps(card.model_dump(mode="json"), sort_keys=True)})


def _check_labels(file: str, card: Card, codebook: Codebook) -> None:
    wanted = {task.value: codebook.names(task) for task in (Task.EMOTION, Task.STRATEGY)}
    if {name: head.labels for name, head in card.heads.items()} != wanted:
        raise StoreError(
            f"{file} was trained for the labels of codebook {card.codebook}, not for those of {codebook.version}: "
            "train it again with  scripts/train_embedded_classifier.py"
        )


def _head(file: str, name: str, card: Card, tensors: Mapping[str, npt.NDArray[np.generic]]) -> Head:
    """One head of a weights file. Raises StoreError where its tensors do not fit its card."""
    if card.features != FEATURES_VERSION:
        raise StoreError(f"{file} belongs to features {card.features!r}, this version makes {FEATURES_VERSION!r}")
    head, found = card.heads[name], [tensors.get(f"{name}.{part}") for part in ("weight", "bias", "inherited")]
    weight, bias, inherited = (None if tensor is None else tensor.astype(np.float32) for tensor in found)
    rows = (len(head.labels),)
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[:1] != rows or bias.shape != rows:
        raise StoreError(f"{file} lacks the weights of {name!r}")
    if (head.inherits is None) != (inherited is None):
        raise StoreError(f"{file}: {name!r} does not say what it builds on")
    if head.inherits is not None and head.inherits != load_embedded().name:
        raise StoreError(f"{file} builds on {head.inherits}, this version ships {load_embedded().name}: train it again")
    return Head(weight, bias, inherited)


def _log_softmax(scores: Floats) -> npt.NDArray[np.float64]:
    shifted = scores.astype(np.float64) - float(scores.max())
    found: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found

"""The learned half of the crisis gate: a linear classifier over hashed features, shipped with the package.

It was trained on sentences invented for this project and on calm comments (scripts/train_crisis_classifier.py); it
needs no key, no download and no accelerator. Its measured figures and limits are in docs/safety.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self

from pydantic import Field

from ai_therapist.errors import StoreError
from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest
from ai_therapist.safety.assessment import CLEAR, About, Assessment, Category, Level
from ai_therapist.safety.crisis_features import (
    BUCKETS,
    FEATURES_VERSION,
    ClauseFeatures,
    clause_features,
    may_mention_rules,
    weighted_groups,
    windows,
)
from ai_therapist.safety.rules import read_data

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_PER_LOG_CLAUSE = 0.6
"""Log-odds that a message loses per natural logarithm of its number of clauses."""

SURE = 30.0
"""Log-odds beyond which nothing changes; those of a message without words, below nought."""

WEIGHTS_FILE = "crisis_classifier.safetensors"
CARD_FILE = "crisis_classifier.json"

CALM = "calm"


class Meaning(NamedTuple):
    """What a label stands for in an assessment."""

    rule: str
    level: Level
    category: Category
    about: About


MEANINGS: dict[str, Meaning] = {
    "suicide": Meaning("LM-10", Level.RISK, Category.SUICIDE, About.SELF),
    "suicide_imminent": Meaning("LM-11", Level.IMMINENT, Category.SUICIDE, About.SELF),
    "self_harm": Meaning("LM-12", Level.RISK, Category.SELF_HARM, About.SELF),
    "danger": Meaning("LM-13", Level.IMMINENT, Category.DANGER, About.SELF),
    "harm_to_others": Meaning("LM-14", Level.RISK, Category.HARM_TO_OTHERS, About.SELF),
    "abuse": Meaning("LM-15", Level.RISK, Category.ABUSE, About.SELF),
    "other_person": Meaning("LM-16", Level.CONCERN, Category.SUICIDE, About.OTHER),
}
"""By label; a probability below the threshold of its level means less."""

LABELS = (CALM, *MEANINGS)
"""Columns of the weights: danger against calm first, then one danger against the others."""

Share = Annotated[float, Field(gt=0, lt=1)]


class Thresholds(Record):
    """Probabilities from which a reading is more than calm."""

    concern: Share
    """Probability of any danger from which a message is a concern."""
    risk: Share
    """The same for a risk."""
    imminent: Share
    """Probability of an imminent label from which the level is imminent."""


class Card(Record):
    """What the weights are, and at which probability they speak where they are alone."""

    features: str
    """FEATURES_VERSION of the features that the weights belong to."""
    sha256: Digest
    """Digest of the weights file; another file is refused."""
    thresholds: Thresholds
    data: str
    """What the weights were trained on, and under which terms."""
    inputs_sha256: Digest
    """Digest over the training script and all that it read."""


class Reading(Record):
    """What is read in the gravest part of a message."""

    log_odds: float
    """Of danger against calm."""
    peak: float
    """The same as the words say it of the gravest part by itself, however much stands around it."""
    kinds: dict[str, float]
    """Probability of each danger, if there is one."""
    mentions_rules: bool
    """Whether words of a written rule may stand in the message; False spares the rules a look."""

    @classmethod
    def of(cls, log_odds: float, scores: Sequence[float], *, peak: float, mentions_rules: bool) -> Self:
        """From the log-odds of danger and one score per danger, in the order of LABELS."""
        powers = [math.exp(score - max(scores)) for score in scores]
        return cls(
            log_odds=log_odds,
            peak=peak,
            kinds={label: power / sum(powers) for label, power in zip(LABELS[1:], powers, strict=True)},
            mentions_rules=mentions_rules,
        )

    @property
    def danger(self) -> float:
        """Probability that the message is not calm."""
        return 1.0 / (1.0 + math.exp(-max(-SURE, min(SURE, self.log_odds))))

    @property
    def label(self) -> str:
        """The most probable danger."""
        return max(self.kinds, key=lambda label: self.kinds[label])

    def judged(self, thresholds: Thresholds) -> Assessment:
        """What the reading amounts to, or CLEAR."""
        if self.danger < thresholds.concern:
            return CLEAR
        rule, level, category, about = MEANINGS[self.label]
        if self.danger < thresholds.risk:
            level = min(level, Level.CONCERN)
        elif level is Level.IMMINENT and self.kinds[self.label] < thresholds.imminent:
            level = Level.RISK
        return Assessment(level=level, category=category, rule=rule, about=about)


class CrisisClassifier:
    """The weights in memory."""

    def __init__(self, card: Card, weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> None:
        self.card = card
        self._weights = weights
        self._bias = bias

    def read(self, text: str) -> Reading:
        """The gravest window of a message; a message without words is calm."""
        parts = clause_features(text)
        gravest = max(self._scores(parts), key=lambda score: score[0]) if parts else [-SURE] * len(LABELS)
        # The gravest of many windows is grave by chance: a long message needs more.
        log_odds = gravest[0] - _PER_LOG_CLAUSE * math.log(max(1, len(parts)))
        return Reading.of(log_odds, gravest[1:], peak=gravest[0], mentions_rules=may_mention_rules(parts))

    def _scores(self, parts: Sequence[ClauseFeatures]) -> list[list[float]]:
        """One score per label of every window over these clauses."""
        import numpy as np

        buckets: list[int] = []
        values: list[float] = []
        counts: list[int] = []
        starts: list[int] = []
        for start, end in windows(len(parts)):
            starts.append(len(buckets))
            for group, value in weighted_groups(parts[start:end]):
                buckets.extend(group)
                values.append(value)
                counts.append(len(group))
        rows = self._weights[buckets] * np.repeat(np.array(values, np.float32), counts)[:, None]
        scores: list[list[float]] = (np.add.reduceat(rows, starts, axis=0) + self._bias).tolist()
        return scores


@cache
def load_classifier() -> CrisisClassifier:
    """The classifier that ships with the package.

    Raises StoreError where its weights are not those that its card names, or belong to other features.
    """
    import numpy as np
    from safetensors.numpy import load

    card = Card.model_validate_json(read_data(CARD_FILE))
    data = resources.files("ai_therapist.safety").joinpath(WEIGHTS_FILE).read_bytes()
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise StoreError(f"{WEIGHTS_FILE} is not the file that {CARD_FILE} names: install the package again")
    if card.features != FEATURES_VERSION:
        raise StoreError(f"{WEIGHTS_FILE} belongs to features {card.features!r}, this version has {FEATURES_VERSION!r}")
    tensors = load(data)
    weights, bias = tensors["weight"].astype(np.float32), tensors["bias"].astype(np.float32)
    if weights.shape != (BUCKETS, len(LABELS)) or bias.shape != (len(LABELS),):
        raise StoreError(f"{WEIGHTS_FILE} has weights of another shape")
    return CrisisClassifier(card, weights, bias)

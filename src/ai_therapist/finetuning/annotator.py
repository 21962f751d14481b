"""Trains the embedded classifier on labelled turns of the user's own: a linear softmax over hashed features.

What it stands on: words and characters of the turn, cues of its form, its context where the rows have one, and what the
shipped classifier makes of it. Classes weigh alike however rare they are. Folds that keep groups together give the
held-out scores from which the temperature is fitted (Guo et al. 2017), and the mean of the folds' weights and those of
all rows is what is kept: an average over slightly different training sets, which costs nothing more.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ai_therapist.errors import RequestError
from ai_therapist.models.embedded import (
    Card,
    EmbeddedClassifier,
    Head,
    HeadCard,
    inherited_features,
    load_embedded,
    weights_bytes,
)
from ai_therapist.models.text_features import FEATURES_VERSION, features_of
from ai_therapist.models.turn_lines import TurnLine

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

_BUCKETS = 2**17
_INVERSE_PENALTY = 5.0
_FOLDS = 5
_LEAST_LOGIT = -20.0
"""Bias of a label that no training row has: its probability is as good as none."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelledTurn:
    """A turn with its label; `turns` ends with it and begins with the oldest turn of its context."""

    turns: tuple[TurnLine, ...]
    label: str
    group: str
    """Conversation, client or channel: never split between training and measuring."""


class Measured(NamedTuple):
    """How a classifier did on rows that it was not trained on."""

    n: int
    accuracy: float
    macro_f1: float
    """Mean of the F1 of the labels that occur."""


@dataclass(frozen=True)
class Trained:
    """A trained head and what was seen while it was made."""

    card: HeadCard
    head: Head
    rows: int
    groups: int
    held_out: Measured | None
    """The training rows by the folds that did not see their group; None where there are too few groups."""


def train_head(rows: Sequence[LabelledTurn], labels: Sequence[str]) -> Trained:
    """One head for `labels`, in their order. The same rows give the same head.

    Raises RequestError for rows of fewer than two labels and for a label that is none of `labels`.
    """
    counts = Counter(row.label for row in rows)
    unknown = sorted(set(counts) - set(labels))
    if unknown:
        raise RequestError(f"training rows hold the label {unknown[0]!r}, which is none of {', '.join(labels)}")
    if len(counts) < 2:
        raise RequestError(f"training an annotator needs rows of at least two labels; found {len(counts)}")
    dense = inherited_matrix(rows)
    features = feature_matrix(rows)
    places = np.array([labels.index(row.label) for row in rows])
    groups = sorted({row.group for row in rows})
    members = [_fit(features, dense, places, labels)]
    scores = np.zeros((0, len(labels)))
    seen = np.zeros(0, np.int64)
    if len(groups) >= _FOLDS:
        scores = np.zeros((len(rows), len(labels)))
        fold_of = {group: number % _FOLDS for number, group in enumerate(_mixed(groups))}
        folds = np.array([fold_of[row.group] for row in rows])
        for number in range(_FOLDS):
            kept, held = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
            if len(set(places[kept])) < 2:
                raise RequestError("training an annotator: a label stands in one group only; add groups that have it")
            member = _fit(features[kept], dense[kept], places[kept], labels)
            scores[held] = _scores(member, features[held], dense[held])
            members.append(member)
        seen = places
    return Trained(
        card=HeadCard(
            labels=tuple(labels),
            temperature=_temperature(scores, seen) if len(seen) else 1.0,
            cues=True,
            inherits=load_embedded().name,
        ),
        head=_mean(members),
        rows=len(rows),
        groups=len(groups),
        held_out=_measured(scores.argmax(1), seen) if len(seen) else None,
    )


def measure(model: EmbeddedClassifier, rows: Sequence[LabelledTurn], labels: Sequence[str]) -> Measured:
    """The most probable label of every row beside its own. Raises RequestError where there is no row."""
    if not rows:
        raise RequestError("a classifier cannot be measured on no rows")
    said = np.array([labels.index(model.most_probable(row.turns, labels)) for row in rows])
    places = np.array([labels.index(row.label) for row in rows])
    return _measured(said, places)


def classifier_bytes(heads: Mapping[str, Trained], data: str, codebook: str, sources: Iterable[bytes]) -> bytes:
    """The content of a classifier file with these heads. `data` says in words what it was trained on, and `sources`
    are the bytes it was read from, of which the digest is kept."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(hashlib.sha256(source).digest())
    card = Card(
        features=FEATURES_VERSION,
        codebook=codebook,
        heads={name: trained.card for name, trained in heads.items()},
        data=data,
        inputs_sha256=digest.hexdigest(),
    )
    return weights_bytes(card, {name: trained.head for name, trained in heads.items()})


def feature_matrix(rows: Sequence[LabelledTurn]) -> csr_matrix:
    """Hashed features of the rows, (rows, buckets)."""
    from scipy.sparse import csr_matrix

    starts, columns, values = [0], list[int](), list[float]()
    for row in rows:
        found = features_of(row.turns, _BUCKETS, cues=True)
        columns += found.keys()
        values += found.values()
        starts.append(len(columns))
    return csr_matrix((np.array(values, np.float64), columns, starts), shape=(len(rows), _BUCKETS))


def inherited_matrix(rows: Sequence[LabelledTurn]) -> Floats:
    """What the shipped classifier makes of the rows, (rows, labels of its heads)."""
    return np.array([inherited_features(row.turns) for row in rows], np.float64)


def _fit(features: csr_matrix, dense: Floats, places: npt.NDArray[np.int64], labels: Sequence[str]) -> Head:
    """Weights of one softmax regression, rows in the order of `labels`; a label without a row is as good as never."""
    from scipy.sparse import hstack

    # Buckets that no row fills have no weight, and leaving them out halves the time.
    filled = np.flatnonzero(features.getnnz(axis=0))
    model = _regression().fit(hstack([features[:, filled], dense]).tocsr(), places)
    weight = np.zeros((len(labels), features.shape[1]))
    inherited = np.zeros((len(labels), dense.shape[1]))
    bias = np.full(len(labels), _LEAST_LOGIT)
    # Of two classes the regression keeps one row of weights: the other's are its negative.
    rows = np.vstack([-model.coef_ / 2, model.coef_ / 2]) if len(model.classes_) == 2 else model.coef_
    offsets = np.array([-1, 1]) * model.intercept_ / 2 if len(model.classes_) == 2 else model.intercept_
    weight[np.ix_(model.classes_, filled)] = rows[:, : len(filled)]
    inherited[model.classes_] = rows[:, len(filled) :]
    bias[model.classes_] = offsets
    return Head(weight.astype(np.float32), bias.astype(np.float32), inherited.astype(np.float32))


def _regression() -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_INVERSE_PENALTY, max_iter=300, tol=1e-3, class_weight="balanced")


def _scores(head: Head, features: csr_matrix, dense: Floats) -> Floats:
    inherited = np.zeros((len(head.bias), dense.shape[1])) if head.inherited is None else head.inherited
    return np.asarray(features @ head.weight.T + dense @ inherited.T + head.bias, np.float64)


def _mean(members: Sequence[Head]) -> Head:
    inherited = [member.inherited for member in members if member.inherited is not None]
    return Head(
        np.mean([member.weight for member in members], axis=0, dtype=np.float32),
        np.mean([member.bias for member in members], axis=0, dtype=np.float32),
        np.mean(inherited, axis=0, dtype=np.float32),
    )


def _mixed(groups: Sequence[str]) -> list[str]:
    """The groups in an order that does not depend on their names' order."""
    return sorted(groups, key=lambda group: hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest())


def _temperature(scores: Floats, places: npt.NDArray[np.int64]) -> float:
    """The temperature with the least mean negative log-likelihood of held-out rows (Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(temperature: float) -> float:
        return float(-log_softmax(scores / temperature, axis=1)[np.arange(len(places)), places].mean())

    found = minimize_scalar(loss, bounds=(0.2, 5.0), method="bounded", options={"xatol": 1e-3})
    return round(float(found.x), 3)


def _measured(said: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> Measured:
    from sklearn.metrics import f1_score

    f1 = f1_score(places, said, average="macro", labels=sorted(set(places.tolist())), zero_division=0.0)
    return Measured(len(places), float((said == places).mean()), float(f1))

"""Systems that need no tuned model. A figure without them beside it says nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import accumulate, pairwise
from typing import Any

from ai_therapist.dataset.render import LABEL_FIELDS, Field, label_of
from ai_therapist.errors import MissingExtra
from ai_therapist.records import Abstention, Example, Label


class Majority:
    """Always the most frequent label of the train split; of equally frequent ones the first in the codebook."""

    def __init__(self, train: Sequence[Example]) -> None:
        self._outcomes = {field: _most_frequent(field, train) for field in LABEL_FIELDS}

    def predict(self, example: Example) -> Mapping[Field, Label | Abstention]:
        """The same for every example, with the frequencies as probabilities."""
        return self._outcomes


class StratifiedRandom:
    """A label drawn with the frequencies of the train split; the same example always gets the same draw."""

    def __init__(self, train: Sequence[Example]) -> None:
        self._frequencies = {field: _most_frequent(field, train) for field in LABEL_FIELDS}

    def predict(self, example: Example) -> Mapping[Field, Label | Abstention]:
        """A draw per field, with the frequencies as probabilities."""
        return {field: self._draw(field, example.id) for field in LABEL_FIELDS}

    def _draw(self, field: Field, example: str) -> Label | Abstention:
        outcome = self._frequencies[field]
        if isinstance(outcome, Abstention) or outcome.probabilities is None:
            return outcome
        digest = hashlib.sha256(f"{field}:{example}".encode()).digest()
        point = int.from_bytes(digest[:8], "big") / 2**64
        sums = accumulate(outcome.probabilities.values())
        likely = [name for name, share in outcome.probabilities.items() if share]
        value = next((name for name, top in zip(outcome.probabilities, sums, strict=True) if point < top), likely[-1])
        return Label(value=value, probabilities=outcome.probabilities)


class CopyPrediction:
    """What the text-only baseline said of the session's previous example: how far standing still gets.

    Of the first example of a session, what it says of that one.
    """

    def __init__(self, train: Sequence[Example], held_out: Sequence[Example]) -> None:
        self._text_only = TextOnly(train)
        self._before = _previous(held_out)

    def predict(self, example: Example) -> Mapping[Field, Label | Abstention]:
        """The earlier prediction of each field."""
        return self._text_only.predict(self._before.get(example.id, example))


class CopyGold:
    """The gold label of the session's previous example. A leak: no system that is used knows it."""

    def __init__(self, held_out: Sequence[Example]) -> None:
        self._before = _previous(held_out)

    def predict(self, example: Example) -> Mapping[Field, Label | Abstention]:
        """The earlier gold label of each field; an abstention where there is none."""
        before = self._before.get(example.id)
        labels = {field: None if before is None else label_of(before.labels, field) for field in LABEL_FIELDS}
        return {
            field: Abstention(reason="there is no earlier gold label") if value is None else Label(value=value)
            for field, value in labels.items()
        }


class TextOnly:
    """TF-IDF of words and word pairs with a logistic regression per field: what words alone can tell.

    Classes weigh the same however rare they are. A class that the train split lacks is never predicted; a field with
    fewer than two classes in the train split gets an abstention. Raises MissingExtra without scikit-learn.
    """

    def __init__(self, train: Sequence[Example]) -> None:
        if find_spec("sklearn") is None:
            raise MissingExtra("the text-only baseline", "scikit-learn", "train")
        self._models = {field: _fitted(field, train) for field in LABEL_FIELDS}

    def predict(self, example: Example) -> Mapping[Field, Label | Abstention]:
        """The likeliest class of each field."""
        return {field: _likeliest(model, words_of(example)) for field, model in self._models.items()}


def words_of(example: Example) -> str:
    """The words of the context and of the client's current turn: all that comes before the reply."""
    return " ".join(turn.text for turn in (*example.context, example.client))


def _previous(examples: Sequence[Example]) -> dict[str, Example]:
    """By example id the one before it in the same session; the first of a session has none."""
    ordered = sorted(examples, key=lambda example: (example.session, example.reply.start_ms))
    return {later.id: earlier for earlier, later in pairwise(ordered) if earlier.session == later.session}


def _most_frequent(field: Field, train: Sequence[Example]) -> Label | Abstention:
    counts = Counter(label for example in train if (label := label_of(example.labels, field)) is not None)
    if not counts:
        return Abstention(reason="the train split has no label")
    value = max(field.choices, key=lambda name: counts[name])
    return Label(value=value, probabilities={name: counts[name] / counts.total() for name in field.choices})


def _fitted(field: Field, train: Sequence[Example]) -> Any | Abstention:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = [(words_of(example), label) for example in train if (label := label_of(example.labels, field)) is not None]
    if len({label for _, label in rows}) < 2:
        return Abstention(reason="the train split has fewer than two classes")
    model = make_pipeline(
        TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    return model.fit([text for text, _ in rows], [label for _, label in rows])


def _likeliest(model: Any | Abstention, text: str) -> Label | Abstention:
    if isinstance(model, Abstention):
        return model
    probabilities = {
        str(name): float(share) for name, share in zip(model.classes_, model.predict_proba([text])[0], strict=True)
    }
    return Label(value=max(probabilities, key=probabilities.__getitem__), probabilities=probabilities)

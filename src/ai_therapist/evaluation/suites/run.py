"""Runs a suite of labelled texts: audit first, then every system on the held-out part, then the published rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise

from ai_therapist.errors import RequestError, install_command
from ai_therapist.evaluation.audit import AuditRow, LeakAudit, audit
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.evaluation.scores import LabelScores, score_labels, unscored_labels
from ai_therapist.evaluation.suites.labelled import Suite
from ai_therapist.evaluation.suites.layout import Published, Row
from ai_therapist.evaluation.systems import SystemNote
from ai_therapist.models.catalogue import AnyModel
from ai_therapist.models.protocol import LabelScorer
from ai_therapist.records.base import Record
from ai_therapist.records.message import Message

_HELD_OUT = ("test", "dev")
_NEAR_DUPLICATE = 0.8
_MAX_TOKENS = 24

Guess = Callable[[Row], str | None]


class SuiteReport(Record):
    """A suite's result."""

    schema_version: str = "1"
    suite: str
    protocol: str
    held_out: str
    """Split that the figures rest on."""
    rows: dict[str, int]
    """Rows per split."""
    leak_audit: LeakAudit
    watermark: str | None
    systems: dict[str, SystemNote]
    evaluation: dict[str, LabelScores]
    published: tuple[Published, ...]
    not_run: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What differs from the published set."""


def run_suite(
    suite: Suite,
    rows: Sequence[Row],
    resampling: Resampling,
    *,
    model: AnyModel | None = None,
    stored: Mapping[str, str] | None = None,
    allow_leak: bool = False,
) -> SuiteReport:
    """Score the baselines, `model` and `stored` labels by row id on the test part, or the dev part where there is none.

    Raises RequestError where there is no train part or no held-out part, or where no stored label is of a held-out row.
    """
    counts = Counter(row.split for row in rows)
    held = next((name for name in _HELD_OUT if counts[name]), None)
    if held is None or not counts["train"]:
        raise RequestError(f"{suite.name}: needs a train split and a test or dev split; found {', '.join(counts)}")
    train, test = ([row for row in rows if row.split == name] for name in ("train", held))
    found = audit(
        [AuditRow(row.id, row.split, row.group, row.group, row.text) for row in (*train, *test)], _NEAR_DUPLICATE
    )
    guesses, not_run = _baselines(train, test)
    notes = tuple(
        f"the published {split} part has {published} rows, this file {counts[split]}: another set"
        for split, published in suite.counts.items()
        if counts[split] not in (0, published)
    )
    if model is not None:
        guesses[f"model {model.name}"] = _asked(model, suite.classes)
    if stored is not None:
        if not any(row.id in stored for row in test):
            raise RequestError(f"{suite.name}: no stored label is of a row of the {held} part")
        guesses["stored"] = lambda row: stored.get(row.id)
    withheld = None if found.passed or allow_leak else f"withheld: the leak audit failed ({found.summary})"
    return SuiteReport(
        suite=suite.name,
        protocol=suite.protocol,
        held_out=held,
        rows=dict(sorted(counts.items())),
        leak_audit=found,
        watermark=None if found.passed or withheld else f"LEAK: {found.summary}. These figures are not results.",
        systems={name: SystemNote(meaning=name, leaks=name == "copy-gold") for name in guesses},
        evaluation={name: _scored(guess, test, suite, resampling, withheld) for name, guess in guesses.items()},
        published=suite.published,
        not_run=not_run,
        notes=notes,
    )


def _scored(
    guess: Guess, test: Sequence[Row], suite: Suite, resampling: Resampling, withheld: str | None
) -> LabelScores:
    if withheld is not None:
        return unscored_labels(withheld, suite.classes, len(test), len({row.group for row in test}))
    return score_labels([Answer(row.group, row.gold, guess(row)) for row in test], suite.classes, resampling)


def _baselines(train: Sequence[Row], test: Sequence[Row]) -> tuple[dict[str, Guess], tuple[str, ...]]:
    most_frequent = Counter(row.gold for row in train).most_common(1)[0][0]
    ordered = sorted(test, key=lambda row: (row.group, row.order))
    before = {later.id: earlier.gold for earlier, later in pairwise(ordered) if earlier.group == later.group}
    guesses: dict[str, Guess] = {"majority": lambda row: most_frequent, "copy-gold": lambda row: before.get(row.id)}
    if find_spec("sklearn") is None or len({row.gold for row in train}) < 2:
        return guesses, (f"text-only: needs scikit-learn ({install_command('train')}) and two classes",)
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    fitted = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(train) > 1000 else 1),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    ).fit([row.text for row in train], [row.gold for row in train])
    said = dict(zip((row.id for row in test), fitted.predict([row.text for row in test]), strict=True))
    return guesses | {"text-only": lambda row: str(said[row.id])}, ()


def _asked(model: AnyModel, classes: Sequence[str]) -> Guess:
    """A model as a guess: a scorer weighs the classes, a generator must write exactly one of them."""
    names = {name.casefold(): name for name in classes}
    system = Message.of_text("system", f"Label the text. Answer with one of: {', '.join(classes)}. Nothing else.")

    def guess(row: Row) -> str | None:
        messages = (system, Message.of_text("user", row.text))
        if isinstance(model, LabelScorer):
            weights = model.score(messages, classes)
            return max(weights, key=weights.__getitem__)
        text = "".join(model.generate(messages, max_tokens=_MAX_TOKENS))
        return names.get(text.strip().strip(".").casefold())

    return guess

"""The leak audit, before any figure: does the held-out split share anything with what a system learned from?

Looked for are groups (persons, channels), sessions and targets in several splits, texts of several splits that are
nearly the same, and gold labels in what a system is shown.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ai_therapist.dataset.leakage import word_runs
from ai_therapist.dataset.render import LABEL_FIELDS, render_prompt
from ai_therapist.records import Example, load_codebook
from ai_therapist.records.annotation import Task
from ai_therapist.records.base import Record

_NAMED = 5
"""Ids that a finding names."""
_TOLERATED = 0.005
_MIN_RUNS = 6
"""Runs of three words below which two texts are alike by chance: greetings, short questions."""


@dataclass(frozen=True)
class AuditRow:
    """One item as the audit sees it."""

    id: str
    split: str
    group: str
    """What must not be in two splits: a person, a channel, a transcript."""
    session: str
    text: str
    """Compared for near-duplicates: the target of a reply, or the utterance that is labelled."""
    prompt: str = ""
    """All words that a system is shown."""


class Leak(Record):
    """One kind of leak."""

    kind: str
    count: Annotated[int, Field(gt=0)]
    named: tuple[str, ...]
    """Ids or names of the first of them."""

    def __str__(self) -> str:
        """The finding as a line."""
        return f"{self.kind}: {self.count} ({', '.join(self.named)}{', …' if self.count > len(self.named) else ''})"


class LeakAudit(Record):
    """What the audit found. Figures of a set that leaks are withheld, or marked where they are asked for."""

    checked: int
    leaks: tuple[Leak, ...]
    tolerated: tuple[Leak, ...] = ()
    """Near-duplicates so few that they move no figure: at most one in 200 of the rows outside the train split."""

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.leaks

    @property
    def summary(self) -> str:
        """All findings in one line."""
        return "; ".join(str(leak) for leak in self.leaks) or "no leak found"


def audit_examples(examples: Sequence[Example], threshold: float) -> LeakAudit:
    """The audit of a dataset: replies are compared, prompts are those that systems are shown."""
    rows = [
        AuditRow(
            id=example.id,
            split=example.split.value,
            group=example.group,
            session=example.session,
            text=example.reply.text,
            prompt="\n".join(
                message.text
                for message in render_prompt(example.context, example.client, None, example.cues)
                if message.role != "system"
            ),
        )
        for example in examples
    ]
    twice = _in_two_splits((example.reply.utterance, example.split.value) for example in examples)
    return audit(rows, threshold, {"target in two splits": twice})


def audit(rows: Sequence[AuditRow], threshold: float, known: Mapping[str, Sequence[str]] | None = None) -> LeakAudit:
    """Look at rows of all splits; `threshold` is the share of word runs from which two texts are nearly the same.

    `known` holds ids by kind of leak that the caller has found already.
    """
    found: dict[str, Sequence[str]] = {
        **(known or {}),
        "group in two splits": _in_two_splits((row.group, row.split) for row in rows),
        "session in two splits": _in_two_splits((row.session, row.split) for row in rows),
        "near-duplicates across splits": _near_duplicates(rows, threshold),
        "gold label in the prompt": [row.id for row in rows if _LABELLED.search(row.prompt)],
    }
    leaks = [Leak(kind=kind, count=len(ids), named=tuple(ids[:_NAMED])) for kind, ids in found.items() if ids]
    few = _TOLERATED * sum(row.split != "train" for row in rows)
    tolerated = [leak for leak in leaks if leak.kind.startswith("near") and leak.count <= few]
    return LeakAudit(
        checked=len(rows),
        leaks=tuple(leak for leak in leaks if leak not in tolerated),
        tolerated=tuple(tolerated),
    )


def _in_two_splits(pairs: Iterable[tuple[str, str]]) -> list[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for name, split in pairs:
        splits[name].add(split)
    return sorted(name for name, places in splits.items() if len(places) > 1)


def _near_duplicates(rows: Sequence[AuditRow], threshold: float) -> list[str]:
    """Ids of rows whose text is nearly that of an earlier row of another split, by Jaccard index of word runs."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sets = [word_runs(row.text) for row in rows]
    found = []
    for later, own in enumerate(sets):
        if len(own) < _MIN_RUNS:
            continue
        common: dict[int, int] = defaultdict(int)
        for run in own:
            for earlier in holders[run]:
                common[earlier] += 1
            holders[run].append(later)
        if any(
            rows[earlier].split != rows[later].split and shared >= threshold * (len(own) + len(sets[earlier]) - shared)
            for earlier, shared in common.items()
        ):
            found.append(rows[later].id)
    return found


def _label_pattern() -> re.Pattern[str]:
    """A field's name with a label after it, or a label alone in brackets, as datasets write them into a history."""
    book = load_codebook()
    labels = "|".join(re.escape(name) for task in (Task.EMOTION, Task.STRATEGY) for name in book.names(task))
    fields = "|".join(re.escape(field) for field in (*LABEL_FIELDS, "Emotion"))
    return re.compile(rf"\b(?:{fields})\s*[:=]\s*(?:{labels})\b|[\[(‹<](?:{labels})[\])›>]", re.IGNORECASE)


_LABELLED = _label_pattern()

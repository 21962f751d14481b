"""What may still be left after redaction, and which rows a person should read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ai_therapist.privacy.redaction.finding import Kind
from ai_therapist.privacy.redaction.redactor import Redacted


@dataclass(frozen=True)
class ResidualRisk:
    """Counts of what was replaced, and a sample of ids to read. It holds no text."""

    rows: int
    replaced: Mapping[str, int]
    rows_touched: int
    sample: tuple[str, ...]
    """Ids of rows for a person to read: half of them with replacements, half without, where there are enough."""


def residual_risk(redacted: Mapping[str, Sequence[Redacted]], sample: int = 20) -> ResidualRisk:
    """The report over rows by id, each with its redacted texts. The sample follows from the ids alone."""
    replaced: Counter[Kind] = Counter()
    touched = []
    for row, texts in redacted.items():
        for text in texts:
            replaced.update(text.counts)
        if any(text.counts for text in texts):
            touched.append(row)
    untouched = redacted.keys() - set(touched)
    chosen = _by_hash(touched)[: sample // 2]
    chosen += _by_hash(untouched)[: sample - len(chosen)]
    return ResidualRisk(
        rows=len(redacted),
        replaced={kind.value: number for kind, number in sorted(replaced.items())},
        rows_touched=len(touched),
        sample=tuple(sorted(chosen)),
    )


def _by_hash(rows: Iterable[str]) -> list[str]:
    return sorted(rows, key=lambda row: hashlib.sha256(row.encode()).digest())

"""Probabilities of labels from the tokens of a written answer and the alternatives that each one had.

answer        {"strategy": "  Open   questions "}
alternatives                  Open   .82 → Open questions
                              Ot     .11 → Others
                              Res    .04 → Restatement
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """A token and its log-probability."""

    text: str
    logprob: float


def value_start(answer: str, key: str) -> int | None:
    """Where the value of `key` begins in a JSON object, or None where it holds no such text."""
    found = re.search(rf'"{re.escape(key)}"\s*:\s*"', answer)
    return None if found is None else found.end()


def label_masses(tokens: Sequence[Sequence[Candidate]], start: int, labels: Sequence[str]) -> dict[str, float] | None:
    """Probability of each label as the text that begins at `start`, summing to 1; None where none begins there.

    `tokens` are the answer's tokens in order, each with its alternatives behind it. At every token the alternatives
    that lead to other labels give these their share, and the written one leads on to the labels that are left. An
    alternative that begins several labels is shared out among them alike, since how it would go on is not known.
    """
    masses = dict.fromkeys(labels, 0.0)
    left, mass, written, at = list(labels), 1.0, "", 0
    for candidates in tokens:
        token = candidates[0]
        end = at + len(token.text)
        if end <= start:
            at = end
            continue
        opening = max(start - at, 0)
        before = token.text[:opening]
        seen = {token.text}
        for other in candidates[1:]:
            if other.text in seen or not other.text.startswith(before):
                continue
            seen.add(other.text)
            reached = [label for label in left if _fits(label, written + other.text[opening:])]
            for label in reached:
                masses[label] += mass * _probability(other) / len(reached)
        written += token.text[opening:]
        left = [label for label in left if _fits(label, written)]
        mass *= _probability(token)
        at = end
        if len(left) < 2:
            break
    for label in left:
        masses[label] += mass / len(left)
    total = sum(masses.values())
    if not left or not total > 0:
        return None
    return {label: value / total for label, value in masses.items()}


def _fits(label: str, text: str) -> bool:
    """Whether the text may still become the label, or is the label and its closing quote, and more."""
    whole = f'{label}"'
    return bool(text) and (whole.startswith(text) or text.startswith(whole))


def _probability(candidate: Candidate) -> float:
    value = math.exp(min(candidate.logprob, 0.0))
    return value if math.isfinite(value) else 0.0

"""Word error rate: how many words must be changed to turn what was heard into what was said.

    WER = (substitutions + deletions + insertions) / words said

Both sides are compared as words in lower case without punctuation; a hyphen or dash parts two words. Words stand in
the order in which their utterances begin, so overlapping speech costs errors. Rates over several sessions add up
errors and words before dividing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from ai_therapist.records.base import Record


class WordErrors(Record):
    """Edit distance in words, and the number of words that were said."""

    errors: Annotated[int, Field(ge=0)]
    words: Annotated[int, Field(ge=0)]


def normalised_words(text: str) -> list[str]:
    """Words in lower case: NFKC, dashes as spaces, everything but letters, digits and spaces removed."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    parted = re.sub(r"[-‐-―/]", " ", folded)
    return re.sub(r"[^\w\s]|_", "", parted).split()


def word_errors(said: str, heard: str) -> WordErrors:
    """Errors of `heard` against `said`."""
    reference = normalised_words(said)
    return WordErrors(errors=edit_distance(reference, normalised_words(heard)), words=len(reference))


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein distance: fewest single insertions, deletions and substitutions from one sequence to the other.

    One row of the table at a time. Within a row, the best path that ends in insertions is
    min over j ≤ i of (cell[j] + i − j), which is a running minimum of cell[j] − j.
    """
    numbers: dict[str, int] = {}
    left = np.array([numbers.setdefault(word, len(numbers)) for word in one], dtype=np.int64)
    right = np.array([numbers.setdefault(word, len(numbers)) for word in other], dtype=np.int64)
    steps = np.arange(len(right) + 1)
    row = steps
    for word in left:
        changed = row[:-1] + (right != word)
        cells = np.concatenate(([row[0] + 1], np.minimum(changed, row[1:] + 1)))
        row = np.minimum.accumulate(cells - steps) + steps
    return int(row[-1])

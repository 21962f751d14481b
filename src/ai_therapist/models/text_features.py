"""Hashed features of a turn and of what came before it: the input of the embedded classifier.

    group     what is hashed                                                    norm
    word      words, pairs and triples of words, with marks of start and end    1.0
    char      runs of 3 to 5 characters inside each word                        0.6
    before    words of the two turns before                                     0.3
    shape     speaker's role, length, how much the turn repeats the one before  0.4
    cue       what the turn does, told from its form (`cue_features`); on request 0.6

Each group is a set: every feature counts once, and the group is scaled to its norm, so a long turn weighs no more
than a short one. Bucket of a feature = crc32(utf-8 of "group:feature") modulo the number of buckets.

Case, apostrophes and commas are dropped, since speech recognisers write none; question and exclamation marks are
words of their own where they are given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ai_therapist.models.cue_features import cues_of
from ai_therapist.models.turn_lines import TurnLine
from ai_therapist.records.ngrams import buckets_of, character_runs, word_runs

FEATURES_VERSION = "1"
"""Raised whenever the same text would give other features: weights are bound to it."""

_NORMS = {"word": 1.0, "char": 0.6, "before": 0.3, "shape": 0.4, "cue": 0.6}
_WORDS = (1, 2, 3)
_CHARACTERS = (3, 4, 5)
_TURNS_BEFORE = 2
_LONGEST_CHARACTERS = 4_000
_TOKEN = re.compile(r"[^\W_]+|[?!]")
_APOSTROPHE = re.compile(r"['’‘`´]")
# Said back by the listener, "my" becomes "your": the pairs that keep a restatement from looking new.
_SAID_BACK = {"i": "you", "me": "you", "my": "your", "mine": "yours", "im": "youre", "ive": "youve", "am": "are"}
_SHORTEST_CONTENT_WORD = 4


def tokens_of(text: str) -> list[str]:
    """Words of a text in lower case without apostrophes, and its question and exclamation marks.

    Only the first 4,000 characters count.
    """
    folded = unicodedata.normalize("NFKC", text[:_LONGEST_CHARACTERS]).casefold()
    return _TOKEN.findall(_APOSTROPHE.sub("", folded))


def features_of(turns: Sequence[TurnLine], buckets: int, *, cues: bool = False) -> dict[int, float]:
    """Value per bucket for the last of `turns`, the earlier ones being its context, oldest first."""
    *earlier, target = turns
    tokens = tokens_of(target.text)
    before = [tokens_of(turn.text) for turn in earlier[-_TURNS_BEFORE:]]
    groups = {
        "word": word_runs(tokens, _WORDS),
        "char": {run for token in set(tokens) for run in character_runs(token, _CHARACTERS)},
        "before": {token for words in before for token in words},
        "shape": _shape(target, tokens, before[-1] if before else []),
        "cue": cues_of(target.text[:_LONGEST_CHARACTERS], tokens_of) if cues else set[str](),
    }
    values: dict[int, float] = {}
    for group, grams in groups.items():
        if not grams:
            continue
        value = _NORMS[group] / len(grams) ** 0.5
        for bucket in buckets_of(group, grams, buckets):
            values[bucket] = values.get(bucket, 0.0) + value
    return values


def _shape(target: TurnLine, tokens: Sequence[str], before: Sequence[str]) -> set[str]:
    words = [token for token in tokens if token not in "?!"]
    shape = {f"length {min(len(words), 24).bit_length()}"}
    if target.role is not None:
        shape.add(f"role {target.role.value}")
    content = {token for token in words if len(token) >= _SHORTEST_CONTENT_WORD}
    if before and content:
        known = {_SAID_BACK.get(token, token) for token in before}
        shape.add(f"repeats {int(4 * len(content & known) / len(content))}")
    return shape

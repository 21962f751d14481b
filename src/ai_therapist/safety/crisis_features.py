"""What the crisis classifier sees of a message: hashed features of its clauses, and of windows over them.

    group   what is hashed                                            norm
    word    words, pairs and triples of words, with start and end     1.0
    pair    two words with one to three words between them            0.7
    char    runs of 3 to 5 characters inside each word                0.4
    idea    concepts (crisis_concepts.json), their runs of 2 and 3    1.0
            and pairs of them, other words left out
    rule    rules whose words stand there, excused or not             1.2

The text is read as the rules read it (`normalise`): lower case, disguises undone, cut into clauses. A window is one,
two or three neighbouring clauses; so a danger buried in a long message is seen by itself. Each group is a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from ai_therapist.records.ngrams import buckets_of, character_runs, word_runs
from ai_therapist.safety.crisis_rules import mentioned_rules
from ai_therapist.safety.normalise import clauses
from ai_therapist.safety.rules import read_data

FEATURES_VERSION = "2"
"""Raised whenever the same text would give other features: weights are bound to it."""

BUCKETS = 1 << 17
NORMS = {"word": 1.0, "pair": 0.7, "char": 0.4, "idea": 1.0, "rule": 1.2}

_WORDS = (1, 2, 3)
_CHARACTERS = (3, 4, 5)
_GAPS = (2, 3, 4)
_DAMPING = 0.35
"""Power of the number of features by which a group is scaled down: 0.5 would drown a few words in a long clause."""
_IDEA_REACH = 5
"""How many concepts further on the second of a pair may stand."""
_LONGEST_CLAUSE_WORDS = 24
_LONGEST_MESSAGE_WORDS = 4_000
"""Words of a message that the classifier reads, half from its beginning and half from its end."""
LONGEST_WINDOW = 3
"""Clauses of the longest window."""


class ClauseFeatures(NamedTuple):
    """Buckets of one clause by group."""

    word: frozenset[int]
    pair: frozenset[int]
    char: frozenset[int]
    idea: frozenset[int]
    rule: frozenset[int]
    cut: bool
    """Whether the clause is a part of a longer one, or of a message that is not read whole."""


def clause_features(text: str) -> list[ClauseFeatures]:
    """Features of every clause of a message, in order. Clauses without an end are cut every 24 words."""
    found, cut = _clauses(text)
    return [_features(words, cut=cut) for words in found]


def may_mention_rules(parts: Sequence[ClauseFeatures]) -> bool:
    """Whether words of a rule may stand in a message of these clauses: where one was cut, nobody can tell."""
    return any(part.rule or part.cut for part in parts)


def windows(count: int) -> Iterator[tuple[int, int]]:
    """First and last (excluded) clause of every window over `count` clauses."""
    for size in range(1, LONGEST_WINDOW + 1):
        yield from ((start, start + size) for start in range(count - size + 1))


def weighted_groups(parts: Sequence[ClauseFeatures]) -> Iterator[tuple[frozenset[int], float]]:
    """Buckets of each group in a window made of these clauses, and the value that each of them has there."""
    # The fields of the clauses stand in the order of NORMS.
    for norm, *groups in zip(NORMS.values(), *parts, strict=False):
        buckets: frozenset[int] = groups[0].union(*groups[1:])
        if buckets:
            yield buckets, norm / len(buckets) ** _DAMPING


def values_of(parts: Sequence[ClauseFeatures]) -> dict[int, float]:
    """Value per bucket of a window made of these clauses."""
    values: dict[int, float] = {}
    for buckets, value in weighted_groups(parts):
        for bucket in buckets:
            values[bucket] = values.get(bucket, 0.0) + value
    return values


def _clauses(text: str) -> tuple[list[list[str]], bool]:
    """Words of the clauses that are read, and whether anything was cut."""
    found: list[list[str]] = []
    cut = False
    for clause in clauses(text):
        words = clause.split()
        cut = cut or len(words) > _LONGEST_CLAUSE_WORDS
        found += [words[i : i + _LONGEST_CLAUSE_WORDS] for i in range(0, len(words), _LONGEST_CLAUSE_WORDS)]
    half = _LONGEST_MESSAGE_WORDS // 2
    if sum(map(len, found)) <= _LONGEST_MESSAGE_WORDS:
        return found, cut
    return [*_first(found, half), *reversed(_first(found[::-1], half))], True


def _first(found: Sequence[list[str]], words: int) -> list[list[str]]:
    taken: list[list[str]] = []
    for clause in found:
        if words <= 0:
            break
        taken.append(clause)
        words -= len(clause)
    return taken


def _features(words: Sequence[str], *, cut: bool) -> ClauseFeatures:
    pairs = {f"{words[i]} … {words[i + gap]}" for gap in _GAPS for i in range(len(words) - gap)}
    return ClauseFeatures(
        word=frozenset(buckets_of("word", word_runs(words, _WORDS), BUCKETS)),
        pair=frozenset(buckets_of("pair", pairs, BUCKETS)),
        char=frozenset().union(*(_characters(word) for word in words)),
        idea=frozenset(buckets_of("idea", _ideas(words), BUCKETS)),
        rule=frozenset(buckets_of("rule", mentioned_rules(" ".join(words)), BUCKETS)),
        cut=cut,
    )


def _ideas(words: Sequence[str]) -> set[str]:
    found = [concept for word in words if (concept := _concept(word)) is not None]
    pairs = {f"{first} … {second}" for i, first in enumerate(found) for second in found[i + 1 : i + 1 + _IDEA_REACH]}
    return word_runs(found, _WORDS) | pairs


@lru_cache(maxsize=4096)
def _concept(word: str) -> str | None:
    whole, beginnings = _concepts()
    if word in whole:
        return whole[word]
    return next((beginnings[word[:length]] for length in range(len(word), 2, -1) if word[:length] in beginnings), None)


@cache
def _concepts() -> tuple[dict[str, str], dict[str, str]]:
    """Concept of every whole word, and of every beginning of words."""
    whole: dict[str, str] = {}
    beginnings: dict[str, str] = {}
    for concept, words in json.loads(read_data("crisis_concepts.json"))["concepts"].items():
        for word in words:
            (beginnings if word.endswith("*") else whole).setdefault(word.rstrip("*"), concept)
    return whole, beginnings


@lru_cache(maxsize=4096)
def _characters(word: str) -> frozenset[int]:
    return frozenset(buckets_of("char", character_runs(word, _CHARACTERS), BUCKETS))

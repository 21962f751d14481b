"""Runs of words and of characters, and the buckets they are hashed to: what the small classifiers see of a text."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence


def word_runs(tokens: Sequence[str], lengths: Collection[int]) -> set[str]:
    """Runs of neighbouring words, with ^ before the first and $ after the last; neither stands alone."""
    framed = ["^", *tokens, "$"]
    return {" ".join(framed[i : i + n]) for n in lengths for i in range(len(framed) - n + 1)} - {"^", "$"}


def character_runs(word: str, lengths: Collection[int]) -> set[str]:
    """Runs of characters inside a word, a space standing before and after it."""
    padded = f" {word} "
    return {padded[i : i + n] for n in lengths for i in range(len(padded) - n + 1)}


def buckets_of(group: str, grams: Iterable[str], buckets: int) -> Iterator[int]:
    """Bucket of each gram, in the order of the sorted grams: crc32 of "group:gram" modulo `buckets`.

    Sorted, so that colliding features add up in the same order in every process.
    """
    for gram in sorted(grams):
        yield zlib.crc32(f"{group}:{gram}".encode("utf-8", "surrogatepass")) % buckets

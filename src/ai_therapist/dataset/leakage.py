"""Finds what one split would tell another: a shared group, a shared session, a reply that is nearly the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ai_therapist.errors import ItemError
from ai_therapist.records import Example, Split

_RUN_WORDS = 3
"""Length in words of the runs that are compared."""

_KEPT_RANK = {Split.TRAIN: 0, Split.VALIDATION: 1, Split.TEST: 2}
"""Of two near-duplicates the one in the later split stays: what is measured on is kept."""


def word_runs(text: str) -> frozenset[tuple[str, ...]]:
    """All runs of three words, without case and punctuation; a shorter text is one run of all its words."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", text.casefold())
    if len(words) <= _RUN_WORDS:
        return frozenset({tuple(words)}) if words else frozenset()
    return frozenset(tuple(words[place : place + _RUN_WORDS]) for place in range(len(words) - _RUN_WORDS + 1))


def near_duplicates(examples: Sequence[Example], threshold: float) -> tuple[tuple[Example, Example], ...]:
    """Pairs (seen, held out) of examples in different splits whose replies share `threshold` of their word runs.

    The measure is the Jaccard index of the sets of three-word runs. Only replies with a run in common are compared.
    """
    runs = [word_runs(example.reply.text) for example in examples]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    pairs: set[tuple[int, int]] = set()
    for later, own in enumerate(runs):
        common: dict[int, int] = defaultdict(int)
        for run in own:
            for earlier in holders[run]:
                common[earlier] += 1
            holders[run].append(later)
        pairs |= {
            (earlier, later)
            for earlier, shared in common.items()
            if examples[earlier].split is not examples[later].split
            and shared >= threshold * (len(own) + len(runs[earlier]) - shared)
        }
    return tuple(_seen_first(examples[a], examples[b]) for a, b in sorted(pairs))


def without_near_duplicates(
    examples: Sequence[Example], threshold: float
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples without those that a held-out split repeats, and those that were taken out."""
    taken = {seen.id for seen, _ in near_duplicates(examples, threshold)}
    kept = tuple(example for example in examples if example.id not in taken)
    return kept, tuple(example for example in examples if example.id in taken)


def check_leakage(examples: Sequence[Example], threshold: float) -> None:
    """Raises ItemError that names the ids where splits share a group, a session, a target or a near-duplicate."""
    places: dict[tuple[str, str], set[Split]] = defaultdict(set)
    targets: set[str] = set()
    for example in examples:
        if example.reply.utterance in targets:
            raise ItemError(f"dataset: {example.reply.utterance} is the target of two examples")
        targets.add(example.reply.utterance)
        places["group", example.group].add(example.split)
        places["session", example.session].add(example.split)
    for (kind, name), splits in places.items():
        if len(splits) > 1:
            raise ItemError(f"dataset: {kind} {name!r} is in {' and '.join(sorted(splits))}")
    for seen, held_out in near_duplicates(examples, threshold):
        raise ItemError(
            f"dataset: the replies of {seen.id} ({seen.split.value}) and {held_out.id} ({held_out.split.value}) "
            "are nearly the same"
        )


def _seen_first(one: Example, other: Example) -> tuple[Example, Example]:
    return (one, other) if _KEPT_RANK[one.split] < _KEPT_RANK[other.split] else (other, one)

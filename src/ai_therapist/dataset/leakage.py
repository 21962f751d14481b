"""Finds what one split would tell another, and what a context would tell of its answer.

Across splits: a shared group, a shared session, a reply or a client's turn that is nearly the same. Within an example:
a label, spelled as the renderer spells labels, in the words that come before the reply.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ai_therapist.dataset.render import LABEL_FIELDS
from ai_therapist.errors import ItemError
from ai_therapist.records import Example, Split

_Runs = frozenset[tuple[str, ...]]

_RUN_WORDS = 3
"""Length in words of the runs that are compared."""

_TELLING_RUNS = 6
"""Fewest runs of a client's turn that count as its own: 8 words. Everybody says "I don't know what to do"."""

_KEPT_RANK = {Split.TRAIN: 0, Split.VALIDATION: 1, Split.TEST: 2}
"""Of two near-duplicates the one in the later split stays: what is measured on is kept."""


_LABEL_LINE = re.compile(
    "|".join(
        rf"\b{re.escape(field.value)}\s*:\s*(?:{'|'.join(map(re.escape, field.choices))})" for field in LABEL_FIELDS
    ),
    re.IGNORECASE,
)
"""A label as the renderer writes it. Nobody speaks like this: it comes from a tool that put labels into transcripts."""


def word_runs(text: str) -> frozenset[tuple[str, ...]]:
    """All runs of three words, without case and punctuation; a shorter text is one run of all its words."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", text.casefold())
    if len(words) <= _RUN_WORDS:
        return frozenset({tuple(words)}) if words else frozenset()
    return frozenset(tuple(words[place : place + _RUN_WORDS]) for place in range(len(words) - _RUN_WORDS + 1))


def near_duplicates(examples: Sequence[Example], threshold: float) -> tuple[tuple[Example, Example], ...]:
    """Pairs (seen, held out) of examples in different splits whose replies share `threshold` of their word runs.

    The measure is the Jaccard index of the sets of three-word runs. Only replies with a run in common are compared.
    Client turns of at least 8 words are compared in the same way: who has seen the turn has seen its label.
    """
    splits = [example.split for example in examples]
    by_reply = _alike([word_runs(example.reply.text) for example in examples], splits, threshold)
    by_client = _alike([_telling_runs(example.client.text) for example in examples], splits, threshold)
    return tuple(_seen_first(examples[a], examples[b]) for a, b in sorted(by_reply | by_client))


def repeated_turns(texts: Sequence[tuple[Split, str]], threshold: float) -> frozenset[int]:
    """Places of the turns of at least 8 words that a turn in a later split nearly repeats."""
    splits = [split for split, _ in texts]
    pairs = _alike([_telling_runs(text) for _, text in texts], splits, threshold)
    return frozenset(one if _KEPT_RANK[splits[one]] < _KEPT_RANK[splits[other]] else other for one, other in pairs)


def _telling_runs(text: str) -> _Runs:
    runs = word_runs(text)
    return runs if len(runs) >= _TELLING_RUNS else frozenset()


def _alike(runs: Sequence[_Runs], splits: Sequence[Split], threshold: float) -> set[tuple[int, int]]:
    """Places of the pairs in different splits whose runs have a Jaccard index of at least `threshold`."""
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
            if splits[earlier] is not splits[later] and shared >= threshold * (len(own) + len(runs[earlier]) - shared)
        }
    return pairs


def without_near_duplicates(
    examples: Sequence[Example], threshold: float
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples without those that a held-out split repeats, and those that were taken out."""
    taken = {seen.id for seen, _ in near_duplicates(examples, threshold)}
    kept = tuple(example for example in examples if example.id not in taken)
    return kept, tuple(example for example in examples if example.id in taken)


def check_leakage(examples: Sequence[Example], threshold: float) -> None:
    """Raises ItemError that names the ids where splits share a group, a session, a target or a near-duplicate, and
    where a label stands in the words before a reply."""
    places: dict[tuple[str, str], set[Split]] = defaultdict(set)
    targets: set[str] = set()
    for example in examples:
        if example.reply.utterance in targets:
            raise ItemError(f"dataset: {example.reply.utterance} is the target of two examples")
        targets.add(example.reply.utterance)
        if any(_LABEL_LINE.search(turn.text) for turn in (*example.context, example.client)):
            raise ItemError(f"dataset: the words before {example.id} spell a label as an answer does")
        places["group", example.group].add(example.split)
        places["session", example.session].add(example.split)
    for (kind, name), splits in places.items():
        if len(splits) > 1:
            raise ItemError(f"dataset: {kind} {name!r} is in {' and '.join(sorted(splits))}")
    for seen, held_out in near_duplicates(examples, threshold):
        raise ItemError(
            f"dataset: {seen.id} ({seen.split.value}) and {held_out.id} ({held_out.split.value}) have nearly the same "
            "reply or client turn"
        )


def _seen_first(one: Example, other: Example) -> tuple[Example, Example]:
    return (one, other) if _KEPT_RANK[one.split] < _KEPT_RANK[other.split] else (other, one)

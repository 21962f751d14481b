"""Puts the votes of a panel together: a label where enough of its members gave it, else an abstention; never a default.

Every vote stays an annotation of its own. What they come to is one more, behind them, whose provenance names the
members and whose request is the digest of their votes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from ai_therapist.records import Abstention, Annotation, Label, Outcome, Provenance, Task, Utterance
from ai_therapist.store.codec import canonical_json

Rule = Literal["majority", "unanimous"]


def settle(
    turns: Sequence[Utterance], members: Sequence[Iterable[Annotation]], rule: Rule, now: Callable[[], str]
) -> list[Annotation]:
    """All votes and what they come to, turn by turn; with one member its annotations as they are.

    `members` are the annotations of each member. Descriptions (CUES) are kept and not put together.
    """
    votes: dict[tuple[str, Task], list[Annotation]] = {}
    for member in members:
        for vote in member:
            votes.setdefault((vote.utterance, vote.task), []).append(vote)
    settled: list[Annotation] = []
    for turn in turns:
        for task in Task:
            given = votes.get((turn.id, task), [])
            settled += given
            if len(members) > 1 and given and task is not Task.CUES:
                settled.append(_settled(given, rule, len(members), now()))
    return settled


def outcome_of(votes: Sequence[Annotation], rule: Rule, members: int) -> Outcome:
    """The label that more than half of the members gave, or all of them; an abstention is no vote for a label."""
    given = Counter(vote.label for vote in votes if vote.label is not None)
    (label, most) = given.most_common(1)[0] if given else (None, 0)
    if label is not None and (most == members if rule == "unanimous" else 2 * most > members):
        return Label(value=label)
    return Abstention(reason=f"panel of {members}: {most} agree, which is not {_WANTED[rule]}")


_WANTED = {"unanimous": "all", "majority": "more than half"}


def _settled(votes: Sequence[Annotation], rule: Rule, members: int, at: str) -> Annotation:
    names = ", ".join(sorted({vote.provenance.annotator for vote in votes}))
    first = votes[0]
    provenance = Provenance(
        annotator=f"panel of {members} ({rule}): {names}",
        prompt_sha256=_digest(vote.provenance.prompt_sha256 for vote in votes),
        codebook=first.provenance.codebook,
        modalities=frozenset().union(*(vote.provenance.modalities for vote in votes)),
        route="votes of a panel",
        request_sha256=_digest(vote.id for vote in votes),
        at=at,
    )
    return Annotation.of(first.utterance, first.task, outcome_of(votes, rule, members), provenance)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(canonical_json(sorted(parts))).hexdigest()

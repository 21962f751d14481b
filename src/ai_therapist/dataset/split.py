"""Which split a group of sessions belongs to: decided by hash, remembered for ever, so that new data moves nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from ai_therapist.records import Split
from ai_therapist.records.base import Record

SALT: Final = "ai-therapist-splits-1"
"""Fixed with the thresholds: another salt would be another split of everything."""

_SHARES = {Split.TRAIN: range(700), Split.VALIDATION: range(700, 850), Split.TEST: range(850, 1000)}
"""Thousandths of the hash that belong to each split."""


class Assignment(Record):
    """The split of one group, and how it came to it."""

    split: Split
    by: Literal["hash", "moved"]
    """"moved": taken from the split that its hash names, because another one would have been empty."""


class SplitLedger(Record):
    """Every assignment ever made in a workspace. What stands here wins over every rule."""

    salt: Literal["ai-therapist-splits-1"] = SALT
    groups: dict[str, Assignment] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _follows_the_hash(self) -> Self:
        if any(a.by == "hash" and a.split is not split_of(group) for group, a in self.groups.items()):
            raise ValueError("an assignment by hash is not what the hash gives")
        return self

    def splits(self, groups: Iterable[str]) -> dict[str, Split]:
        """Split of each of these groups. Raises KeyError for a group without an assignment."""
        return {group: self.groups[group].split for group in groups}


def bucket(group: str) -> int:
    """Place of a group among the thousandths: the sha256 of "salt:group" as a number, modulo 1000."""
    return int(hashlib.sha256(f"{SALT}:{group}".encode()).hexdigest(), 16) % 1000


def split_of(group: str) -> Split:
    """The split that the hash gives: train below 700, validation below 850, test from there."""
    return next(split for split, share in _SHARES.items() if bucket(group) in share)


def assign(groups: Iterable[str], ledger: SplitLedger) -> SplitLedger:
    """The ledger with every one of `groups` assigned. An assignment that stands in it is never changed.

    New groups go where their hash says. Where that leaves a split of the present groups empty and there are at least
    three of them, the new group nearest to that split's share moves there, out of a split that keeps another group.
    """
    present = sorted(set(groups))
    assigned = dict(ledger.groups)
    new = [group for group in present if group not in assigned]
    assigned |= {group: Assignment(split=split_of(group), by="hash") for group in new}
    if len(present) >= len(Split):
        for split in Split:
            mover = _mover(split, {group: assigned[group].split for group in present}, new)
            if mover is not None:
                assigned[mover] = Assignment(split=split, by="moved")
                new.remove(mover)
    return SplitLedger(groups=dict(sorted(assigned.items())))


def _mover(empty: Split, present: Mapping[str, Split], movable: Iterable[str]) -> str | None:
    """The group to put into `empty`; None where it is not empty or no group can be spared."""
    held = list(present.values())
    if empty in held:
        return None
    spare = [group for group in movable if held.count(present[group]) > 1]
    return min(spare, key=lambda group: (_distance(bucket(group), _SHARES[empty]), group), default=None)


def _distance(place: int, share: range) -> int:
    """Steps from a place outside a share to its nearer edge."""
    return max(share.start - place, place - share[-1], 0)

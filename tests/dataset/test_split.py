"""Splits follow from a hash, never move, and are filled where there are groups enough."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ai_therapist.dataset.split import Assignment, SplitLedger, assign, bucket, split_of
from ai_therapist.records import Split
from ai_therapist.store.codec import decode, encode

groups_of_any_size = st.lists(st.text(min_size=1, max_size=8), max_size=30, unique=True)


def test_the_hash_is_the_documented_one() -> None:
    expected = int(hashlib.sha256(b"ai-therapist-splits-1:maria").hexdigest(), 16) % 1000
    assert bucket("maria") == expected


@pytest.mark.parametrize(
    ("place", "split"),
    [(0, "train"), (699, "train"), (700, "validation"), (849, "validation"), (850, "test"), (999, "test")],
)
def test_thresholds(place: int, split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_therapist.dataset.split.bucket", lambda group: place)
    assert split_of("any") is Split(split)


def test_shares_are_about_as_declared() -> None:
    splits = [split_of(f"group {number}") for number in range(4000)]
    assert abs(splits.count(Split.TRAIN) / 4000 - 0.70) < 0.03
    assert abs(splits.count(Split.TEST) / 4000 - 0.15) < 0.03


@given(first=groups_of_any_size, more=groups_of_any_size)
def test_new_groups_move_none_that_was_there(first: list[str], more: list[str]) -> None:
    before = assign(first, SplitLedger())
    after = assign([*first, *more], before)
    assert {group: after.groups[group] for group in before.groups} == before.groups
    assert assign([*first, *more], after) == after
    assert assign(more, after) == after


@given(groups=groups_of_any_size)
def test_every_split_is_filled_where_three_groups_are_new(groups: list[str]) -> None:
    ledger = assign(groups, SplitLedger())
    held = {assignment.split for assignment in ledger.groups.values()}
    if len(groups) >= 3:
        assert held == set(Split)
    moved = [group for group, assignment in ledger.groups.items() if assignment.by == "moved"]
    assert len(moved) <= 2
    assert all(ledger.groups[group].split is not split_of(group) for group in moved)


@given(groups=groups_of_any_size)
def test_order_and_repetition_do_not_matter(groups: list[str]) -> None:
    assert assign([*reversed(groups), *groups], SplitLedger()) == assign(groups, SplitLedger())


def test_the_nearest_group_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"far": 100, "near": 690, "held": 900}
    monkeypatch.setattr("ai_therapist.dataset.split.bucket", places.__getitem__)
    ledger = assign(places, SplitLedger())
    assert ledger.groups["near"] == Assignment(split=Split.VALIDATION, by="moved")
    assert ledger.groups["far"].by == ledger.groups["held"].by == "hash"


def test_recorded_groups_are_never_taken_to_fill_a_split(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"a": 100, "b": 690, "c": 10}
    monkeypatch.setattr("ai_therapist.dataset.split.bucket", places.__getitem__)
    two = assign(["a", "b"], SplitLedger())
    three = assign(places, two)
    assert {group: three.groups[group].split for group in "ab"} == {"a": Split.TRAIN, "b": Split.TRAIN}
    assert three.groups["c"].by == "moved"


def test_a_ledger_survives_its_file_and_refuses_a_forged_hash() -> None:
    ledger = assign(["a", "b", "c"], SplitLedger())
    assert decode(SplitLedger, encode(ledger), "ledger") == ledger
    wrong = next(split for split in Split if split is not split_of("a"))
    with pytest.raises(ValidationError):
        SplitLedger(groups={"a": Assignment(split=wrong, by="hash")})

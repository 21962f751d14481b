"""No group, session, target or nearly equal reply on both sides of a split."""

import pytest

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.leakage import check_leakage, near_duplicates, without_near_duplicates, word_runs
from ai_therapist.errors import ItemError
from ai_therapist.records import Example, Split
from ai_therapist.testing import make_session
from tests.dataset.builders import make_parts, make_talk


def _example(name: str, reply: str, split: Split) -> Example:
    transcript = make_talk(make_session(name), ("B", 0, 900, f"hello from {name}"), ("A", 1000, 1900, reply))
    (example,) = build_examples(make_parts(name, transcript), split, DatasetConfig(min_reply_words=1)).examples
    return example


LONG = "so the evenings are the hardest part of the day for you"


def test_runs_ignore_case_and_punctuation() -> None:
    assert word_runs("So, the EVENINGS are hard.") == word_runs("so the evenings are hard")
    assert word_runs("Yes.") == {("yes",)}
    assert word_runs("…") == frozenset()


def test_near_duplicates_are_found_across_splits_only() -> None:
    train = _example("one", LONG, Split.TRAIN)
    also_train = _example("two", LONG, Split.TRAIN)
    test = _example("three", LONG.upper() + "!", Split.TEST)
    other = _example("four", "what would you like to talk about today", Split.TEST)
    pairs = near_duplicates([test, train, other, also_train], 0.8)
    assert {(seen.id, held.id) for seen, held in pairs} == {(train.id, test.id), (also_train.id, test.id)}


@pytest.mark.parametrize(("reply", "duplicate"), [(LONG + " now", True), ("so the evenings are hard", False)])
def test_the_threshold_is_a_jaccard_index(reply: str, duplicate: bool) -> None:
    pairs = near_duplicates([_example("one", LONG, Split.TRAIN), _example("two", reply, Split.TEST)], 0.8)
    assert bool(pairs) is duplicate


def test_the_held_out_one_stays() -> None:
    train, validation, test = (
        _example(split.value, LONG, split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    )
    kept, taken = without_near_duplicates([train, validation, test], 0.8)
    assert (kept, set(taken)) == ((test,), {train, validation})
    check_leakage(kept, 0.8)


def test_a_shared_group_session_or_reply_is_refused() -> None:
    one = _example("one", LONG, Split.TRAIN)
    elsewhere = _example("two", "what would you like to do", Split.TEST)
    check_leakage([one, elsewhere], 0.8)
    with pytest.raises(ItemError, match="group 'group-one' is in test and train"):
        check_leakage([one, elsewhere.model_copy(update={"group": one.group})], 0.8)
    with pytest.raises(ItemError, match=f"session '{one.session}'"):
        check_leakage([one, elsewhere.model_copy(update={"session": one.session})], 0.8)
    with pytest.raises(ItemError, match="target of two examples"):
        check_leakage([one, one], 0.8)
    copied = _example("three", LONG, Split.TEST)
    with pytest.raises(ItemError, match=copied.id) as caught:
        check_leakage([one, copied], 0.8)
    assert "evenings" not in str(caught.value)

"""No group, session, target or nearly equal reply on both sides of a split."""

import pytest

from ai_therapist.dataset.build import build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.leakage import (
    check_leakage,
    near_duplicates,
    repeated_turns,
    without_near_duplicates,
    word_runs,
)
from ai_therapist.errors import ItemError
from ai_therapist.records import Example, Split
from ai_therapist.testing import make_session
from tests.dataset.builders import make_parts, make_talk


def _example(name: str, reply: str, split: Split, client: str | None = None) -> Example:
    said = client or f"hello from {name}"
    transcript = make_talk(make_session(name), ("B", 0, 900, said), ("A", 1000, 1900, reply))
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


def test_a_client_turn_that_is_repeated_counts_too_where_it_is_long_enough_to_tell() -> None:
    train = _example("one", "how did that feel", Split.TRAIN, LONG)
    test = _example("two", "what happened then", Split.TEST, LONG)
    assert [(seen.id, held.id) for seen, held in near_duplicates([train, test], 0.8)] == [(train.id, test.id)]
    short = [_example(name, f"{name} it is", split, "I do not know") for name, split in _BOTH]
    assert near_duplicates(short, 0.8) == ()


_BOTH = (("one", Split.TRAIN), ("two", Split.TEST))


def test_turns_that_a_later_split_repeats_are_found_by_place() -> None:
    texts = [(Split.TRAIN, LONG), (Split.TRAIN, "yes"), (Split.TEST, LONG), (Split.TEST, "yes"), (Split.TRAIN, LONG)]
    assert repeated_turns(texts, 0.8) == {0, 4}


@pytest.mark.parametrize("said", ["Client emotion: sadness", "so (strategy : restatement) I said"])
def test_a_label_in_the_words_before_a_reply_is_refused(said: str) -> None:
    told = _example("one", LONG, Split.TRAIN, said)
    with pytest.raises(ItemError, match=f"before {told.id} spell a label") as caught:
        check_leakage([told], 0.8)
    assert said not in str(caught.value)


def test_talk_about_strategies_and_feelings_is_no_label() -> None:
    check_leakage([_example("one", LONG, Split.TRAIN, "my strategy: keep going, my emotion is sadness")], 0.8)

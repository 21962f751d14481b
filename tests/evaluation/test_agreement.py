"""Labels are paired with gold by time; what was not heard is counted apart, what was not answered is an error."""

from ai_therapist.evaluation.agreement import LabelPair, pair_labels
from ai_therapist.records import Task
from tests.evaluation.arc import annotate, heard_as, labels_said, make_gold

GOLD = make_gold("one")
TURNS = heard_as(GOLD)


def test_every_gold_label_meets_the_label_of_its_turn() -> None:
    found = pair_labels(GOLD, TURNS, labels_said(GOLD, TURNS, right_every=99), Task.EMOTION)
    assert found.unaligned == 0
    assert [pair.gold for pair in found.pairs] == [each.emotion for each in GOLD.utterances]
    assert all(pair.given == pair.gold for pair in found.pairs)


def test_only_therapists_have_strategies() -> None:
    found = pair_labels(GOLD, TURNS, labels_said(GOLD, TURNS), Task.STRATEGY)
    assert len(found.pairs) == 3


def test_an_abstention_and_a_turn_that_was_never_asked_pair_with_none() -> None:
    first = TURNS.utterances[0]
    found = pair_labels(GOLD, TURNS, [annotate(first, Task.EMOTION, None)], Task.EMOTION)
    assert [pair.given for pair in found.pairs] == [None] * 6


def test_the_last_of_several_annotations_counts() -> None:
    first = TURNS.utterances[0]
    notes = [annotate(first, Task.EMOTION, "joy"), annotate(first, Task.EMOTION, "fear")]
    found = pair_labels(GOLD, TURNS, notes, Task.EMOTION)
    gold = GOLD.utterances[0].emotion
    assert gold is not None
    assert found.pairs[0] == LabelPair(gold=gold, given="fear")


def test_an_utterance_that_nobody_heard_is_counted_and_not_paired() -> None:
    heard = TURNS.model_copy(update={"utterances": TURNS.utterances[1:]})
    found = pair_labels(GOLD, heard, labels_said(GOLD, TURNS), Task.EMOTION)
    assert (len(found.pairs), found.unaligned) == (5, 1)

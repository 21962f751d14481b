"""People come before models, agreement before a label, and nothing is filled in."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.votes import Verdict, Votes, rule_of
from ai_therapist.records import Annotation, Task, annotator_of
from ai_therapist.testing import make_session, make_transcript
from tests.dataset.builders import make_annotation, make_cues

TURN = make_transcript(make_session(), 1).utterances[0].id


def _answers(kind: str, labels: Sequence[str | None]) -> list[Annotation]:
    names = (annotator_of(f"p{place}") if kind == "people" else f"m{place}" for place in range(len(labels)))
    return [make_annotation(TURN, Task.EMOTION, label, name) for label, name in zip(labels, names, strict=True)]


def verdict(models: Sequence[str | None], people: Sequence[str | None], **settings: str) -> Verdict:
    config = DatasetConfig.model_validate(settings)
    return Votes(_answers("models", models), _answers("people", people), config).on(TURN, Task.EMOTION)


def test_a_person_wins_against_any_number_of_models() -> None:
    assert verdict(["joy", "joy", "joy"], ["fear"]) == Verdict("fear", "people", None)


@pytest.mark.parametrize(
    ("people", "reason"), [(["fear", "joy"], "people_disagreement"), ([None], "people_abstention")]
)
def test_where_people_differ_or_cannot_tell_models_do_not_step_in(people: list[str | None], reason: str) -> None:
    assert verdict(["joy"], people) == Verdict(None, None, reason)


def test_where_nobody_decided_the_models_count() -> None:
    assert verdict(["joy", "joy", None], []) == Verdict("joy", "models", None)
    assert verdict(["joy", "fear"], []) == Verdict(None, None, "disagreement")
    assert verdict([None], []) == Verdict(None, None, "abstention")
    assert verdict([], []) == Verdict(None, None, "not_annotated")


def test_the_sides_can_be_taken_alone() -> None:
    assert verdict(["joy"], ["fear"], labels_from="models").label == "joy"
    assert verdict(["joy"], [], labels_from="people") == Verdict(None, None, "not_annotated")
    assert verdict([], ["fear"], labels_from="people").source == "people"


def test_a_majority_is_more_than_half_and_a_tie_is_no_label() -> None:
    assert verdict(["joy", "joy", "fear"], [], label_rule="majority").label == "joy"
    assert verdict(["joy", "fear"], [], label_rule="majority").label is None
    assert verdict(["joy", "joy", "fear", "anger"], [], label_rule="majority").label is None


def test_what_a_panel_came_to_stands_for_its_members() -> None:
    votes = [
        *_answers("models", ["joy", "joy", "fear"]),
        make_annotation(TURN, Task.EMOTION, "joy", "panel of 3 (majority): m0, m1, m2"),
    ]
    assert Votes(votes, [], DatasetConfig()).on(TURN, Task.EMOTION) == Verdict("joy", "models", None)
    split = make_annotation(TURN, Task.EMOTION, None, "panel of 2 (unanimous): m0, m1")
    silent = Votes([*_answers("models", ["joy", "joy"]), split], [], DatasetConfig())
    assert silent.on(TURN, Task.EMOTION) == Verdict(None, None, "abstention")


@given(
    models=st.lists(st.sampled_from([None, "joy", "fear"]), max_size=5),
    people=st.lists(st.sampled_from([None, "joy", "fear"]), max_size=3),
    labels_from=st.sampled_from(["people_first", "people", "models"]),
    label_rule=st.sampled_from(["unanimous", "majority"]),
)
def test_a_label_is_always_one_that_its_side_gave(
    models: list[str | None], people: list[str | None], labels_from: str, label_rule: str
) -> None:
    found = verdict(models, people, labels_from=labels_from, label_rule=label_rule)
    assert (found.label is None) == (found.source is None) == (found.reason is not None)
    if found.source is not None:
        assert found.label in {"people": people, "models": models}[found.source]
        assert found.source != "models" or labels_from == "models" or not people


def test_the_rule_is_one_sentence_of_the_card() -> None:
    sentences = {
        rule_of(DatasetConfig.model_validate({"labels_from": whose, "label_rule": when}))
        for whose in ("people_first", "people", "models")
        for when in ("unanimous", "majority")
    }
    assert len(sentences) == 6


def test_cues_are_those_that_a_person_wrote_last_else_those_of_a_model() -> None:
    models = [make_cues(TURN, "looks away", "m1"), make_cues(TURN, "looks down", "m2")]
    people = [make_cues(TURN, "cries", annotator_of("p1")), make_cues(TURN, "wept", annotator_of("p2"))]
    assert Votes(models, people, DatasetConfig()).cues_on(TURN) == "wept"
    assert Votes(models, [], DatasetConfig()).cues_on(TURN) == "looks down"
    assert Votes(models, people, DatasetConfig(labels_from="models")).cues_on(TURN) == "looks down"
    assert Votes(models, [], DatasetConfig(labels_from="people")).cues_on(TURN) is None
    assert Votes(_answers("models", ["joy"]), [], DatasetConfig()).cues_on(TURN) is None

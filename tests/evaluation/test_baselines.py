"""Baselines: what they answer, and what they say where they cannot."""

import pytest

from ai_therapist.dataset.render import LABEL_FIELDS, Field
from ai_therapist.errors import MissingExtra
from ai_therapist.evaluation import baselines
from ai_therapist.evaluation.baselines import CopyGold, CopyPrediction, Majority, StratifiedRandom, TextOnly, words_of
from ai_therapist.records import Abstention, Example, Label, Labels
from tests.evaluation.arc import make_examples, make_gold

EXAMPLES = make_examples([make_gold(f"s{number}") for number in range(4)], test=0)


def labelled(example: Example, **labels: str | None) -> Example:
    base = {"client_emotion": None, "strategy": None, "therapist_emotion": None}
    return example.model_copy(update={"labels": Labels(**(base | labels))})


def test_the_majority_answers_the_most_frequent_label_with_the_frequencies() -> None:
    emotions = ("fear", "joy", "joy", None)
    train = [labelled(EXAMPLES[at], client_emotion=emotion) for at, emotion in enumerate(emotions)]
    answer = Majority(train).predict(EXAMPLES[5])[Field.CLIENT_EMOTION]
    assert isinstance(answer, Label)
    assert answer.value == "joy"
    assert answer.probabilities is not None
    assert answer.probabilities["joy"] == pytest.approx(2 / 3)
    assert answer.probabilities["sadness"] == 0


def test_of_equally_frequent_labels_the_first_of_the_codebook_wins() -> None:
    train = [labelled(EXAMPLES[0], client_emotion="fear"), labelled(EXAMPLES[1], client_emotion="anger")]
    answer = Majority(train).predict(EXAMPLES[5])[Field.CLIENT_EMOTION]
    assert isinstance(answer, Label)
    assert answer.value == "anger"


def test_without_a_label_to_learn_from_there_is_no_default() -> None:
    train = [labelled(example) for example in EXAMPLES]
    assert set(Majority(train).predict(EXAMPLES[0]).values()) == {Abstention(reason="the train split has no label")}
    expected = Abstention(reason="the train split has fewer than two classes")
    assert set(TextOnly(train).predict(EXAMPLES[0]).values()) == {expected}
    assert set(Majority([]).predict(EXAMPLES[0])) == set(LABEL_FIELDS)


def test_words_alone_tell_what_words_can_tell() -> None:
    train = []
    for at, example in enumerate(EXAMPLES * 3):
        sad = at % 2 == 0
        client = example.client.model_copy(update={"text": "grey heavy rain" if sad else "bright happy morning"})
        bare = example.model_copy(update={"client": client, "context": ()})
        train.append(labelled(bare, client_emotion="sadness" if sad else "joy"))
    system = TextOnly(train)
    for example in train[:2]:
        answer = system.predict(example)[Field.CLIENT_EMOTION]
        assert isinstance(answer, Label)
        assert answer.value == example.labels.client_emotion
        assert set(answer.probabilities or ()) == {"sadness", "joy"}


def test_the_words_are_those_before_the_reply() -> None:
    example = EXAMPLES[-1]
    words = words_of(example)
    assert example.client.text in words
    assert all(turn.text in words for turn in example.context)
    changed = example.reply.model_copy(update={"text": "zebra"})
    assert words_of(example.model_copy(update={"reply": changed})) == words


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="scikit-learn"):
        TextOnly(EXAMPLES)


def test_random_draws_follow_the_train_split_and_stay_the_same() -> None:
    emotions = ["joy"] * 3 + ["fear"]
    train = [labelled(EXAMPLES[at % len(EXAMPLES)], client_emotion=name) for at, name in enumerate(emotions)]
    system = StratifiedRandom(train)
    ids = [EXAMPLES[0].model_copy(update={"id": f"exm_{at:012x}"}) for at in range(400)]
    drawn = [system.predict(example)[Field.CLIENT_EMOTION] for example in ids]
    values = [each.value for each in drawn if isinstance(each, Label)]
    assert set(values) == {"joy", "fear"}
    assert 0.68 < values.count("joy") / len(values) < 0.82
    assert drawn == [system.predict(example)[Field.CLIENT_EMOTION] for example in ids]
    assert set(StratifiedRandom([]).predict(ids[0]).values()) == {Abstention(reason="the train split has no label")}


def test_copying_looks_at_the_example_before_in_the_same_session() -> None:
    first, second, *_ = sorted(EXAMPLES, key=lambda each: (each.session, each.reply.start_ms))
    assert first.session == second.session
    first = labelled(first, client_emotion="anger")
    copied = CopyGold([second, first])
    assert copied.predict(second)[Field.CLIENT_EMOTION] == Label(value="anger")
    assert copied.predict(first)[Field.CLIENT_EMOTION] == Abstention(reason="there is no earlier gold label")
    said = TextOnly(EXAMPLES)
    standing = CopyPrediction(EXAMPLES, [second, first])
    assert standing.predict(second) == said.predict(first)
    assert standing.predict(first) == said.predict(first)

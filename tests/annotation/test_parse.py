"""Replies and scores: what is read, what is not, and that no label is ever invented."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.parse import MAX_REPLY_CHARACTERS, collect_reply, parse_reply, parse_scores
from ai_therapist.records import Abstention, Cues, Label, Outcome, Task, load_codebook

BOOK = load_codebook()
LABELS = BOOK.names(Task.EMOTION)
JOY = Label(value="joy")


def parse(reply: str | bytes) -> Outcome:
    return parse_reply(reply, Task.EMOTION, "emotion", BOOK)


@pytest.mark.parametrize(
    "reply",
    [
        '{"emotion": "joy"}',
        ' {"emotion":"Joy "}\n',
        b'{"emotion": "happy"}',
        '```json\n{"emotion": "joy"}\n```',
        '```\n{"emotion": "joy"}```',
        'I would say {"emotion": "joy"}, because the client laughs.',
        'The turn {sic} ```json\n{"emotion": "joy"}\n``` shows it.',
    ],
)
def test_a_label_is_read_strictly_or_after_the_one_repair(reply: str | bytes) -> None:
    assert parse(reply) == JOY


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty reply"),
        (" \n", "empty reply"),
        ("joy", "no JSON objects in the reply"),
        ("I cannot help with that.", "no JSON objects in the reply"),
        ('{"emotion": "joy"', "no JSON objects in the reply"),
        ('{"emotion": "joy"} or {"emotion": "fear"}', "2 JSON objects in the reply"),
        ('```\n{"emotion": "joy"}\n```\n```\n{"emotion": "fear"}\n```', "2 JSON objects in the reply"),
        ("it is {emotion: joy}", "reply is not JSON"),
        ('[{"emotion": "joy"}]', "reply is not a JSON object"),
        ('"joy"', "reply is not a JSON object"),
        ('{"emotion": "joy", "emotion": "fear"}', "a key stands twice in the reply"),
        ('{"emotion": NaN}', "reply holds a number that JSON does not have"),
        ('{"emotion": -Infinity}', "reply holds a number that JSON does not have"),
        ('{"emotion": null}', "reply is not an object with the one key 'emotion' and a text"),
        ('{"emotion": ""}', "reply is not an object with the one key 'emotion' and a text"),
        ('{"emotion": ["joy"]}', "reply is not an object with the one key 'emotion' and a text"),
        ('{"emotion": "joy", "note": "x"}', "reply is not an object with the one key 'emotion' and a text"),
        ('{"strategy": "joy"}', "reply is not an object with the one key 'emotion' and a text"),
        ('{"emotion": "surprise"}', "label is not in the codebook"),
        ('{"emotion": "joyful and sad"}', "label is not in the codebook"),
        (b'{"emotion": "\xff"}', "reply is not UTF-8"),
        ('{"emotion": "\\ud800"}', "reply is not UTF-8"),
        ("[" * 3_900, "reply is nested too deeply"),
        ("x" * 1_000_000, f"reply longer than {MAX_REPLY_CHARACTERS} characters"),
    ],
)
def test_what_cannot_be_read_is_an_abstention_with_its_reason(reply: str | bytes, reason: str) -> None:
    assert parse(reply) == Abstention(reason=reason)


@given(st.one_of(st.text(), st.binary()))
def test_any_reply_has_an_outcome(reply: str | bytes) -> None:
    assert isinstance(parse(reply), Label | Abstention)


VALUES = st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(LABELS)


@given(VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(st.text(), VALUES, max_size=3))
def test_only_the_asked_object_with_a_known_label_is_a_label(value: object) -> None:
    outcome = parse(json.dumps({"emotion": value}))

    known = isinstance(value, str) and BOOK.canonical(Task.EMOTION, value) is not None
    assert isinstance(outcome, Label) == known


def test_a_reason_never_repeats_the_reply() -> None:
    for reply in ('{"emotion": "Mr Miller drinks"}', '{"Mr Miller": "joy"}', "Mr Miller {drinks}"):
        outcome = parse(reply)
        assert isinstance(outcome, Abstention)
        assert "Miller" not in outcome.reason


def test_cues_are_free_text() -> None:
    outcome = parse_reply('{"cues": " looks down, speaks slowly "}', Task.CUES, "cues", BOOK)

    assert outcome == Cues(text="looks down, speaks slowly")


def test_an_endless_reply_is_cut_off() -> None:
    def endless() -> object:
        while True:
            yield "again "

    assert len(collect_reply(endless())) == MAX_REPLY_CHARACTERS + 1  # type: ignore[arg-type]


def scores(**values: float) -> dict[str, float]:
    rest = (1 - sum(values.values())) / (len(LABELS) - len(values))
    return {label: values.get(label, rest) for label in LABELS}


def weigh(values: dict[str, float], **settings: float) -> Outcome:
    return parse_scores(values, LABELS, AnnotationConfig.model_validate(settings))


def test_the_most_probable_label_comes_with_all_probabilities() -> None:
    outcome = weigh(scores(fear=0.7))

    assert isinstance(outcome, Label)
    assert outcome.value == "fear"
    assert outcome.probabilities == {label: 0.7 if label == "fear" else 0.05 for label in LABELS}


def test_too_little_and_too_close_are_abstentions() -> None:
    assert weigh(scores(fear=0.25)) == Abstention(reason="most probable label below 0.3")
    assert weigh(scores(fear=0.45, joy=0.44)) == Abstention(reason="two labels closer than 0.05")
    assert isinstance(weigh(scores(fear=0.45, joy=0.44), min_margin=0.0), Label)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"joy": 1.0},
        scores(joy=0.5) | {"surprise": 0.0},
        scores(joy=float("nan")),
        scores(joy=7.0),
        dict.fromkeys(LABELS, 0.5),
        dict.fromkeys(LABELS, -1.0),
    ],
)
def test_scores_that_are_no_probabilities_are_an_abstention(values: dict[str, float]) -> None:
    assert weigh(values) == Abstention(reason="scores are not probabilities of the labels")

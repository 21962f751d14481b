"""Labels are predicted in the renderer's order, each knowing those before it; bad weights are no label."""

import math

import pytest

from ai_therapist.dataset.render import LABEL_FIELDS, Field, answer_prefix
from ai_therapist.inference.events import LabelsPredicted
from ai_therapist.inference.predict import Speaker, answer_pieces
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.records import Abstention, Label, Labels
from ai_therapist.records.message import Message

ASKED = (Message.of_text("user", "Hello."),)


def weights_for(field: Field, best: str) -> dict[str, float]:
    rest = 0.2 / (len(field.choices) - 1)
    return {choice: 0.8 if choice == best else rest for choice in field.choices}


def predicted(scorer: ScriptedScorer | None, generator: ScriptedGenerator) -> tuple[LabelsPredicted, str]:
    labels, *pieces = answer_pieces(Speaker(generator, scorer, is_toy=True), ASKED, 50)
    assert isinstance(labels, LabelsPredicted)
    return labels, "".join(str(piece) for piece in pieces)


def test_each_label_conditions_the_next_and_all_condition_the_reply() -> None:
    chosen = ("sadness", "Restatement", "neutral")
    scorer = ScriptedScorer([weights_for(field, best) for field, best in zip(LABEL_FIELDS, chosen, strict=True)])
    generator = ScriptedGenerator(["So the evenings are hard."])
    labels, reply = predicted(scorer, generator)
    assert reply == "So the evenings are hard."
    given = Labels(client_emotion=chosen[0], strategy=chosen[1], therapist_emotion=chosen[2])
    assert [request.prefix for request in scorer.requests] == [answer_prefix(field, given) for field in LABEL_FIELDS]
    assert generator.requests[0].prefix == answer_prefix(Field.REPLY, given)
    assert isinstance(labels.strategy, Label)
    assert labels.strategy.value == "Restatement"
    assert labels.strategy.probabilities == pytest.approx(weights_for(Field.STRATEGY, "Restatement"))


def test_labels_that_were_learned_apart_condition_nothing() -> None:
    scorer = ScriptedScorer([weights_for(field, field.choices[0]) for field in LABEL_FIELDS])
    generator = ScriptedGenerator(["Yes."])
    speaker = Speaker(generator, scorer, is_toy=True, labels_lead=False)
    labels, *_ = answer_pieces(speaker, ASKED, 50)
    assert isinstance(labels, LabelsPredicted)
    assert isinstance(labels.strategy, Label)
    assert [request.prefix for request in scorer.requests] == [f"{field}: " for field in LABEL_FIELDS]
    assert generator.requests[0].prefix == "Reply: "


def test_without_a_scorer_every_label_is_an_abstention_and_the_reply_comes_all_the_same() -> None:
    labels, reply = predicted(None, ScriptedGenerator(["Yes."]))
    assert isinstance(labels.client_emotion, Abstention)
    assert reply == "Yes."


@pytest.mark.parametrize("spoiled", [math.nan, -0.1, 1.5, math.inf])
def test_weights_that_are_no_probabilities_are_an_abstention(spoiled: float) -> None:
    weights = weights_for(Field.CLIENT_EMOTION, "joy") | {"anger": spoiled}
    good = [weights_for(field, field.choices[0]) for field in LABEL_FIELDS[1:]]
    generator = ScriptedGenerator(["Yes."])
    labels, _ = predicted(ScriptedScorer([weights, *good]), generator)
    assert labels.client_emotion == Abstention(reason="the model gave weights that are no probabilities")
    assert "Client emotion" not in generator.requests[0].prefix


def test_weights_for_other_labels_are_an_abstention() -> None:
    labels, _ = predicted(ScriptedScorer([{"calm": 1.0}], repeat=True), ScriptedGenerator(["Yes."]))
    assert labels.strategy == Abstention(reason="the model weighed other labels than it was given")

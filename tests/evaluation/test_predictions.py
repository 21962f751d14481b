"""Predictions as records: one per field, in the order of the answer, each beside its own gold label."""

from collections.abc import Mapping

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.predictions import Prediction, Reply, predictions_of
from ai_therapist.records import Abstention, Example, Label
from ai_therapist.store.codec import decode_all, encode_all
from tests.evaluation.arc import make_examples, make_gold

EXAMPLE = make_examples([make_gold("one")], test=1)[-1]


class Partial:
    """A system that answers three of the four fields, out of order."""

    def predict(self, example: Example) -> Mapping[Field, Label | Reply | Abstention]:
        return {
            Field.REPLY: Reply(text="Go on."),
            Field.STRATEGY: Abstention(reason="unsure"),
            Field.CLIENT_EMOTION: Label(value="joy"),
        }


RECORDS = predictions_of("partial", Partial(), EXAMPLE)


def test_fields_stand_in_the_order_of_the_answer() -> None:
    assert [record.field for record in RECORDS] == [Field.CLIENT_EMOTION, Field.STRATEGY, Field.REPLY]
    assert [record.given for record in RECORDS] == ["joy", None, None]


def test_each_stands_beside_its_own_gold_label_and_a_reply_beside_none() -> None:
    labels = EXAMPLE.labels
    assert [record.gold for record in RECORDS] == [labels.client_emotion, labels.strategy, None]


def test_a_reply_stays_out_of_repr() -> None:
    assert "Go on" not in repr(RECORDS)


def test_predictions_survive_the_codec() -> None:
    assert list(decode_all(Prediction, encode_all(RECORDS), "predictions")) == RECORDS

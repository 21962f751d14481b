"""Predictions as records: one per field, in the order of the answer, each beside its own gold label."""

from collections.abc import Mapping
from pathlib import Path

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.predictions import Prediction, PredictionLog, Reply, predictions_of
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


def test_a_stopped_run_loses_one_example_at_most(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log.jsonl")
    log.append(RECORDS)
    other = EXAMPLE.model_copy(update={"id": "exm_000000000001"})
    log.append(predictions_of("partial", Partial(), other))
    whole = (tmp_path / "log.jsonl").read_bytes()
    (tmp_path / "log.jsonl").write_bytes(whole[:-10])
    again = PredictionLog(tmp_path / "log.jsonl")
    assert again.examples == {EXAMPLE.id: tuple(RECORDS)}
    again.append(predictions_of("partial", Partial(), other))
    assert (tmp_path / "log.jsonl").read_bytes() == whole

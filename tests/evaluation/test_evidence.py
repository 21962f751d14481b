"""What other rooms write is read by name, and their further fields are left alone."""

import pytest

from ai_therapist.errors import InvalidRecord
from ai_therapist.evaluation.evidence import CurvePoint, Training
from ai_therapist.store.codec import canonical_json, decode, decode_all


def test_further_fields_are_ignored() -> None:
    points = [{"step": 1, "loss": 2, "learning_rate": 0.1}]
    assert decode_all(CurvePoint, canonical_json(points), "curve") == (CurvePoint(step=1, loss=2.0),)
    account = {"loss_first": 4.0, "loss_last": 1.0, "seconds": 3, "tokens": 900, "validation_loss_first": None}
    assert decode(Training, canonical_json(account), "training") == Training(loss_first=4.0, loss_last=1.0, seconds=3.0)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidRecord, match="training: loss_last: Field required"):
        decode(Training, canonical_json({"loss_first": 4.0, "seconds": 3}), "training")

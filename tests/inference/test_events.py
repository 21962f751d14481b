"""Events say what kind they are, and keep what people read out of logs."""

import pytest
from pydantic import TypeAdapter, ValidationError

from ai_therapist.inference.events import Card, Done, Event, ReplyPiece


def test_an_event_survives_json() -> None:
    adapter: TypeAdapter[Event] = TypeAdapter(Event)
    for event in (ReplyPiece(source="model", text="Hello."), Done(outcome="complete")):
        assert adapter.validate_json(event.model_dump_json()) == event


def test_shown_text_stays_out_of_repr_and_is_never_blank() -> None:
    assert "secret" not in repr(ReplyPiece(source="model", text="a secret"))
    with pytest.raises(ValidationError):
        Card(form="help", assessment=None, text="")

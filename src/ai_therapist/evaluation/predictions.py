"""What a system predicted for an example of the held-out split, before it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

from pydantic import Field

from ai_therapist.dataset.render import LABEL_FIELDS, label_of
from ai_therapist.dataset.render import Field as AnswerField
from ai_therapist.records import Abstention, Example, Label
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId


class Reply(Record):
    """What a system would say next."""

    kind: Literal["reply"] = "reply"
    text: Annotated[str, Field(min_length=1, repr=False)]


Outcome = Annotated[Label | Reply | Abstention, Field(discriminator="kind")]


class Prediction(Record):
    """One field of one example, as one system sees it coming."""

    example: RecordId
    session: RecordId
    system: Annotated[str, Field(min_length=1)]
    field: AnswerField
    gold: str | None
    """The label that the dataset holds; None where its annotator abstained, and for the reply."""
    outcome: Outcome

    @property
    def given(self) -> str | None:
        """The predicted label, or None for an abstention or a reply."""
        return self.outcome.value if isinstance(self.outcome, Label) else None


class System(Protocol):
    """Anything that can say what comes next, from what came before alone."""

    def predict(self, example: Example) -> Mapping[AnswerField, Label | Reply | Abstention]:
        """An outcome for each field of the answer that the system has anything to say about."""


def predictions_of(name: str, system: System, example: Example) -> list[Prediction]:
    """The system's outcomes for one example as records, in the order of the answer's fields."""
    outcomes = system.predict(example)
    return [
        Prediction(
            example=example.id,
            session=example.session,
            system=name,
            field=field,
            gold=label_of(example.labels, field) if field in LABEL_FIELDS else None,
            outcome=outcomes[field],
        )
        for field in AnswerField
        if field in outcomes
    ]

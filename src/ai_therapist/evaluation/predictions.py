"""What a system predicted for an example of the held-out split, before it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from ai_therapist.dataset.render import LABEL_FIELDS, label_of
from ai_therapist.dataset.render import Field as AnswerField
from ai_therapist.evaluation.replies import GoldLikelihood
from ai_therapist.records import Abstention, Example, Label
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId
from ai_therapist.store.codec import decode_all, encode_all


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
    gold_likelihood: GoldLikelihood | None = None
    """Of the reply that was given, where the field is the reply and the system gives likelihoods."""

    @property
    def given(self) -> str | None:
        """The predicted label, or None for an abstention or a reply."""
        return self.outcome.value if isinstance(self.outcome, Label) else None


class PredictionLog:
    """Predictions as they are made, one example a line, so that a run that was stopped loses one example at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.examples: dict[str, tuple[Prediction, ...]] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        # A line without its end was being written when the run stopped.
        for line in lines:
            if line.endswith(b"\n"):
                rows = decode_all(Prediction, line, path.name)
                self.examples[rows[0].example] = rows
        whole = b"".join(line for line in lines if line.endswith(b"\n"))
        if lines and whole != b"".join(lines):
            path.write_bytes(whole)

    def append(self, rows: Sequence[Prediction]) -> None:
        """Keep the predictions of one example."""
        with self._path.open("ab") as file:
            file.write(encode_all(rows).rstrip(b"\n") + b"\n")
        self.examples[rows[0].example] = tuple(rows)


class System(Protocol):
    """Anything that can say what comes next, from what came before alone."""

    def predict(self, example: Example) -> Mapping[AnswerField, Label | Reply | Abstention]:
        """An outcome for each field of the answer that the system has anything to say about."""


@runtime_checkable
class ReplyReader(Protocol):
    """A system that tells how likely it holds the reply that was given."""

    def gold_likelihood(self, example: Example) -> GoldLikelihood | None:
        """The likelihood of the example's reply, or None where the system gives none."""


def predictions_of(name: str, system: System, example: Example) -> list[Prediction]:
    """The system's outcomes for one example as records, in the order of the answer's fields."""
    outcomes = system.predict(example)
    read = system.gold_likelihood(example) if isinstance(system, ReplyReader) else None
    return [
        Prediction(
            example=example.id,
            session=example.session,
            system=name,
            field=field,
            gold=label_of(example.labels, field) if field in LABEL_FIELDS else None,
            outcome=outcomes[field],
            gold_likelihood=read if field is AnswerField.REPLY else None,
        )
        for field in AnswerField
        if field in outcomes
    ]

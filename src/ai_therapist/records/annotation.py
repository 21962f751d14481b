"""What an annotator said about an utterance. There is no default label, ever."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest, RecordId, content_id


class Task(StrEnum):
    """The question that an annotation answers about what was said."""

    EMOTION = "emotion"
    STRATEGY = "strategy"
    CUES = "cues"


class Modality(StrEnum):
    """What an annotator or model is given to look at."""

    TEXT = "text"
    VIDEO = "video"
    AUDIO = "audio"


class Label(Record):
    """One label of the codebook, with the probability of every class where the annotator gives them."""

    kind: Literal["label"] = "label"
    value: Annotated[str, Field(min_length=1)]
    probabilities: dict[str, float] | None = None

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if self.probabilities is None:
            return self
        if any(not 0 <= p <= 1 for p in self.probabilities.values()):
            raise ValueError("a probability lies outside 0 to 1")
        if abs(sum(self.probabilities.values()) - 1) > 1e-3:
            raise ValueError("probabilities do not sum to 1")
        if self.value not in self.probabilities:
            raise ValueError("the label is missing from its probabilities")
        return self


class Cues(Record):
    """Free text on what is seen and heard."""

    kind: Literal["cues"] = "cues"
    text: Annotated[str, Field(min_length=1, repr=False)]


class Abstention(Record):
    """No answer, and why: an unreadable reply, too little evidence, a refusal."""

    kind: Literal["abstention"] = "abstention"
    reason: Annotated[str, Field(min_length=1)]


Outcome = Annotated[Label | Cues | Abstention, Field(discriminator="kind")]


RaterId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
"""How a person who labels is called in the records: a pseudonym of up to 40 letters, digits, dots and dashes."""

_PERSON = "person:"
_PANEL = "panel of "


class Provenance(Record):
    """Who said it, from what, when."""

    annotator: Annotated[str, Field(min_length=1)]
    """Model name and revision, "person:" and the id of a person, or "panel of " and what several models came to."""
    prompt_sha256: Digest
    codebook: Annotated[str, Field(min_length=1)]
    """Version of the codebook."""
    modalities: frozenset[Modality]
    """What the annotator was shown."""
    route: Annotated[str, Field(min_length=1)]
    """Why it was shown that and nothing else."""
    request_sha256: Digest
    at: str
    """Moment in UTC, ISO 8601 to the second; not part of the id."""

    @property
    def rater(self) -> str | None:
        """Id of the person who said it, or None where a model did."""
        return self.annotator.removeprefix(_PERSON) if self.annotator.startswith(_PERSON) else None

    @property
    def is_panel(self) -> bool:
        """Whether it is what the answers of several models came to, which stand beside it."""
        return self.annotator.startswith(_PANEL)


def annotator_of(rater: str) -> str:
    """What stands as the annotator where the person with this id answered."""
    return f"{_PERSON}{rater}"


class Annotation(Record):
    """An answer of one annotator about one utterance. Annotations are appended, never changed."""

    id: RecordId
    utterance: RecordId
    task: Task
    outcome: Outcome
    provenance: Provenance

    @classmethod
    def of(cls, utterance: str, task: Task, outcome: Label | Cues | Abstention, provenance: Provenance) -> Annotation:
        """An annotation with the id that its utterance, task, annotator and request give it."""
        key = content_id("ann", utterance, task, provenance.annotator, provenance.request_sha256)
        return cls(id=key, utterance=utterance, task=task, outcome=outcome, provenance=provenance)

    @property
    def label(self) -> str | None:
        """The label, or None where the annotator abstained or gave cues."""
        return self.outcome.value if isinstance(self.outcome, Label) else None

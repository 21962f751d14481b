"""What a model can be asked. A provider implements what it can and says what it accepts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import Message

JsonSchema = Mapping[str, object]


def answer_schema(key: str, labels: Sequence[str] | None) -> JsonSchema:
    """The schema of an object with the one key `key` and a text: one of `labels`, or any where there are none."""
    text: dict[str, object] = {"type": "string"} if labels is None else {"type": "string", "enum": list(labels)}
    return {"type": "object", "properties": {key: text}, "required": [key], "additionalProperties": False}


class Model(Protocol):
    """A model with a name that tells it from every other."""

    @property
    def name(self) -> str:
        """Name and revision, as provenance records it."""

    @property
    def accepts(self) -> frozenset[Modality]:
        """What its messages may show; a message that shows more is refused with ValueError."""


@runtime_checkable
class TextGenerator(Model, Protocol):
    """A model that writes."""

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pieces of the assistant's answer as they come, greedy where the model allows a choice.

        `prefix` is the beginning of the answer that is already fixed; it is not repeated in the output.
        Raises TransientError where another attempt may help.
        """


class Sampling(NamedTuple):
    """How the words of an answer are chosen; without anything said, always the likeliest."""

    temperature: float = 0.0
    """0 takes the likeliest token; 1 draws by the model's own probabilities, more by flatter ones."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest ones that together have this probability."""
    seed: int | None = None
    """The same seed draws the same answer to the same messages; None draws another one each time."""

    @property
    def is_greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0 or self.top_p == 0


GREEDY = Sampling()
"""Always the likeliest token."""


@dataclass
class Tally:
    """What an answer took, counted up while it is written. None: the model does not tell."""

    read: int | None = None
    """Tokens of the messages and of the answer's fixed beginning."""
    written: int | None = None
    """Tokens that the model wrote, without the one that ends an answer."""
    at_limit: bool = False
    """Whether the answer ended because no more tokens were allowed."""


@runtime_checkable
class SamplingGenerator(TextGenerator, Protocol):
    """A model that can draw its words, and counts them."""

    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Iterator[str]:
        """What `generate` gives, with words chosen by `sampling`. `tally` is kept up to date piece by piece."""


@runtime_checkable
class StructuredGenerator(TextGenerator, Protocol):
    """A model that can be held to a form: its reply is one JSON object of a schema."""

    def reply(self, messages: Sequence[Message], *, max_tokens: int, schema: JsonSchema) -> str:
        """The assistant's whole answer, as it came: that it keeps to the schema is for the reader to check.

        Raises NoAnswer where the model refuses, is blocked or is cut off, CannotTake where it does not accept a clip,
        and Postponed where it must be asked later.
        """


@runtime_checkable
class AheadReader(Model, Protocol):
    """A model that keeps what it has read."""

    def read_ahead(self, messages: Sequence[Message]) -> None:
        """Read messages that a later prompt will begin with; changes no answer, only how soon it comes."""


@runtime_checkable
class LabelScorer(Model, Protocol):
    """A model that weighs given labels against each other."""

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probability of each label, in the given order, summing to 1.

        For a language model: the likelihood of each label as the continuation of the answer that begins with
        `prefix`, normalised over the labels. Raises ValueError for labels that the model was not made for.
        """


class Likelihood(NamedTuple):
    """How likely a text is: minus its log-likelihood in nats, and the tokens it rests on, an end token included."""

    nats: float
    tokens: int


@runtime_checkable
class LikelihoodReader(Model, Protocol):
    """A model that tells how likely it holds a given answer."""

    def likelihood(self, messages: Sequence[Message], text: str, *, prefix: str = "") -> Likelihood:
        """Likelihood of the answer that goes on after `prefix` with `text` and then ends."""

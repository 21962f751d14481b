"""A service that fails by a schedule, behind the real limiter and retries, under a clock that waits for nobody.

Only the wire is not there: what the server would have sent is handed over. Everything else is what a run uses.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_therapist.annotation.annotate import NO_CLIPS, Annotator, Labelled, annotate_turns
from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.journal import Journal
from ai_therapist.errors import NoAnswer, Postponed, ServerBusy, TransientError
from ai_therapist.models.protocol import JsonSchema
from ai_therapist.models.turn_lines import read_turns
from ai_therapist.pipeline.limits import Limiter, Quota, Turn, call_in_turn
from ai_therapist.records import Label, Modality, Task, load_codebook
from ai_therapist.records.message import Message
from ai_therapist.testing import make_session
from tests.annotation.builders import make_turns
from tests.pipeline.test_limits import VirtualClock

FAULTS = ("busy", "busy_wait", "error", "timeout", "garbage", "unknown", "empty", "refusal", "doubled", "huge", "kill")
MOST_USD = 0.02


class Killed(Exception):
    """The process dies here."""


def truth(text: str, labels: Sequence[str]) -> str:
    """The label that the server gives a turn: one that follows from its words, so that a default would show."""
    return labels[int(hashlib.sha256(text.encode()).hexdigest(), 16) % len(labels)]


@dataclass
class FaultyService:
    """A StructuredGenerator: answers truly, except as long as the schedule has faults left."""

    schedule: list[str]
    limiter: Limiter
    rng: random.Random
    name: str = "faulty@1"
    accepts: frozenset[Modality] = frozenset({Modality.TEXT})
    charged_usd: float = 0.0
    answered: list[str] = field(default_factory=list)
    """Digest of every request that was answered and acknowledged."""

    def reply(self, messages: Sequence[Message], *, max_tokens: int, schema: JsonSchema) -> str:
        """As the models on servers do it: in turn, in the limits, with retries."""
        return call_in_turn(self.limiter, lambda turn: self._serve(messages, schema, turn), at_most_usd=MOST_USD)

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Not asked."""
        raise AssertionError("a structured model is asked for a reply")

    def _serve(self, messages: Sequence[Message], schema: JsonSchema, turn: Turn) -> str:
        fault = self.schedule.pop(0) if self.schedule else None
        cost = self.rng.uniform(0.1, 1.0) * MOST_USD
        match fault:
            case "busy":
                raise ServerBusy("429")
            case "busy_wait":
                raise ServerBusy("429", self.rng.choice([0.5, 30.0, 1e12, float("nan")]))
            case "error":
                turn.failed(TransientError("500"), charged=False)
                raise TransientError("500")
            case "timeout":
                # Nobody knows whether it was charged; here it was.
                self.charged_usd += cost
                raise TransientError("no answer in time")
            case "kill":
                self.charged_usd += cost
                raise Killed
        self.charged_usd += cost
        turn.succeeded(cost)
        properties = schema["properties"]
        assert isinstance(properties, dict)
        ((key, form),) = properties.items()
        label = truth(read_turns(messages)[-1].text, form["enum"])
        match fault:
            case "refusal":
                raise NoAnswer("the model refused", "I will not.")
            case "garbage":
                return self.rng.choice(["", "[" * 5000, "NaN", '{"x": NaN}', "certainly!", '{"emotion": ', "\x00"])
            case "unknown":
                return json.dumps({key: "serenity"})
            case "empty":
                return "  "
            case "doubled":
                return f'{{"{key}": "{label}", "{key}": "joy"}}'
            case "huge":
                return "a" * 1_000_000
        return json.dumps({key: label})


@dataclass(frozen=True)
class Told:
    """How a schedule went."""

    labelled: Labelled | None
    """None where the budget did not allow all questions."""
    runs: int
    charged_usd: float
    spent_usd: float
    questions: int


SESSION = make_session()
TURNS = make_turns(SESSION, "i could not sleep", "what kept you awake", "the letter from her", "go on")
QUESTIONS = 6


def play(seed: int, ceiling_usd: float | None = None) -> Told:
    """One schedule from its beginning to its end: runs are started again as long as a run says that it must wait."""
    rng = random.Random(seed)
    random.seed(seed)
    clock = VirtualClock()
    quota = Quota("faulty", rng.choice([30, 600]), ceiling_usd=ceiling_usd, concurrent=4)
    limiter = Limiter(quota, path=Path(":memory:"), clock=clock)
    schedule = rng.choices(FAULTS, k=rng.randint(0, 30))
    service = FaultyService(schedule, limiter, rng)
    journal = Journal()
    config = AnnotationConfig(context_turns=2)
    annotator = Annotator(service, config, load_codebook(), lambda: "2026-01-01T00:00:00+00:00", journal)
    labelled: Labelled | None = None
    runs = 0
    while labelled is None and runs < 100:
        runs += 1
        try:
            labelled = annotate_turns(SESSION, TURNS, NO_CLIPS, annotator)
        except Postponed as error:
            if "raise the ceiling" in str(error):
                break
            clock.sleep(rng.choice([60, 3600]))
        except Killed:
            clock.sleep(1)
    spent = limiter.spent_usd()
    limiter.close()
    return Told(labelled, runs, service.charged_usd, spent, QUESTIONS)


def check(told: Told) -> None:
    """Every question has one annotation, every label is the server's own, and the counts add up."""
    assert told.labelled is not None
    counts = told.labelled.counts
    assert len(told.labelled.annotations) == counts["questions"] == told.questions
    endings = ("labels", "unsure", "invalid", "empty", "refused", "not_asked")
    assert sum(counts[ending] for ending in endings) == told.questions
    words = {turn.id: turn.text for turn in TURNS}
    book = load_codebook()
    for annotation in told.labelled.annotations:
        if isinstance(annotation.outcome, Label):
            assert annotation.label == truth(words[annotation.utterance], book.names(Task(annotation.task)))

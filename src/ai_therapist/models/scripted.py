"""Models that say what they are told to say: the fakes that ship with the package.

A script is a queue of answers or a function from the messages to an answer. What was asked is kept in `requests`. An
answer that is an exception is raised, so a script can play a busy server; nothing stops it from playing a garbled
or an evil one.

    {"replies": ["{\\"emotion\\": \\"joy\\"}", {"fail": "busy"}], "repeat": true, "delay_s": 0.5}
    {"scores": [{"anger": 0.1, "joy": 0.9}]}
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import Field, ValidationError

from ai_therapist.errors import ConfigError, MissingInput, RequestError, TransientError
from ai_therapist.models.protocol import GREEDY, LabelScorer, Sampling, Tally, TextGenerator
from ai_therapist.records.annotation import Modality
from ai_therapist.records.base import Record
from ai_therapist.records.message import Message

AnswerT = TypeVar("AnswerT")
Scores = Mapping[str, float]
EVERYTHING = frozenset(Modality)


@dataclass(frozen=True)
class Request:
    """What a scripted model was asked."""

    messages: tuple[Message, ...]
    prefix: str
    labels: tuple[str, ...] = ()


class _Scripted(Generic[AnswerT]):
    """Hands out answers in turn and remembers the requests."""

    def __init__(
        self,
        answers: Sequence[AnswerT | Exception] | Callable[[Sequence[Message]], AnswerT | Exception],
        *,
        name: str = "scripted",
        accepts: frozenset[Modality] = EVERYTHING,
        repeat: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        """`repeat` starts a queue over when it is empty; `delay_s` is waited before every answer."""
        self.name = name
        self.accepts = accepts
        self.requests: list[Request] = []
        self._delay_s = delay_s
        self._function = answers if callable(answers) else None
        self._queue = iter(()) if callable(answers) else cycle(answers) if repeat else iter(answers)

    def _answer(self, request: Request) -> AnswerT:
        shown = frozenset[Modality]().union(*(message.modalities for message in request.messages))
        if shown - self.accepts:
            raise ValueError(f"{self.name} does not accept {', '.join(sorted(shown - self.accepts))}")
        self.requests.append(request)
        time.sleep(self._delay_s)
        if self._function is not None:
            answer = self._function(request.messages)
        else:
            try:
                answer = next(self._queue)
            except StopIteration:
                raise RequestError(f"{self.name} has no answer left for request {len(self.requests)}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class ScriptedGenerator(_Scripted[str]):
    """A SamplingGenerator that answers from a script, whose words are its tokens."""

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """The next answer, word by word, at most `max_tokens` of them.

        Raises the script's own exceptions, ValueError for a message that shows what the model does not accept, and
        RequestError when the script has run out: at the first piece, not at the call.
        """
        yield from self.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=GREEDY, tally=Tally())

    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Iterator[str]:
        """The same whatever `sampling` says, as nothing else has any probability; `tally` counts words."""
        answer = self._answer(Request(tuple(messages), prefix))
        words = re.findall(r"\s*\S+\s*", answer)
        tally.read, tally.written = sum(len(message.text.split()) for message in messages) + len(prefix.split()), 0
        for number, word in enumerate(words[:max_tokens], 1):
            tally.written = number
            yield word
        tally.at_limit = len(words) > max_tokens


class ScriptedScorer(_Scripted[Scores]):
    """A LabelScorer that answers from a script."""

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """The next answer as it stands, whether or not it fits the labels. Raises as ScriptedGenerator does."""
        return dict(self._answer(Request(tuple(messages), prefix, tuple(labels))))


class _Failure(Record):
    """An answer of a script file that is a passing failure."""

    fail: str


class _Script(Record):
    """A script file."""

    replies: tuple[str | _Failure, ...] = ()
    scores: tuple[dict[str, float] | _Failure, ...] = ()
    accepts: frozenset[Modality] = EVERYTHING
    repeat: bool = False
    delay_s: Annotated[float, Field(ge=0)] = 0.0


def open_script(path: Path) -> TextGenerator | LabelScorer:
    """The model that a script file describes: a generator for "replies", a scorer for "scores".

    Its name carries the first 12 digits of the file's sha256. Raises MissingInput where there is no such file and
    ConfigError where it is no script.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    try:
        script = _Script.model_validate_json(data)
    except ValidationError:
        raise ConfigError(
            f'{path} is no script: write {{"replies": [...]}} or {{"scores": [{{"LABEL": PROBABILITY}}]}}, '
            'and "repeat", "delay_s" or "accepts" where needed'
        ) from None
    if bool(script.replies) == bool(script.scores):
        raise ConfigError(f'{path} needs either "replies" or "scores", and not both')
    name = f"scripted@{hashlib.sha256(data).hexdigest()[:12]}"
    if script.replies:
        return ScriptedGenerator(
            [_played(answer) for answer in script.replies],
            name=name,
            accepts=script.accepts,
            repeat=script.repeat,
            delay_s=script.delay_s,
        )
    return ScriptedScorer(
        [_played(answer) for answer in script.scores],
        name=name,
        accepts=script.accepts,
        repeat=script.repeat,
        delay_s=script.delay_s,
    )


def _played(answer: AnswerT | _Failure) -> AnswerT | Exception:
    return TransientError(answer.fail) if isinstance(answer, _Failure) else answer

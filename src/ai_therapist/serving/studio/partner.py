"""Whom the chat tab talks to: a model that was named, or the tuned one, loaded when the first message comes."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from ai_therapist.errors import MissingExtra, MissingInput
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.run import RUN, Learning, learning_in, open_speaker
from ai_therapist.models.protocol import GREEDY, Sampling, SamplingGenerator, Tally
from ai_therapist.records import Modality
from ai_therapist.records.message import Message
from ai_therapist.store.workspace import Workspace


class LateModel:
    """A model that is opened when it is first asked, so that the studio opens at once. Safe for several threads."""

    def __init__(self, name: str, opened: Callable[[], Speaker]) -> None:
        """`opened` may raise; it is called again for the next message then."""
        self.name = name
        self.accepts = frozenset(Modality)
        self._opened = opened
        self._speaker: Speaker | None = None
        self._lock = threading.Lock()

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pieces of the answer, as the model gives them. Raises what opening it raises, and what the model raises."""
        yield from self.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=GREEDY, tally=Tally())

    def sample(
        self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "", sampling: Sampling, tally: Tally
    ) -> Iterator[str]:
        """The same, with words chosen by `sampling`. Raises as `generate`, and ValueError where it can draw none."""
        generator = self._open().generator
        if isinstance(generator, SamplingGenerator):
            yield from generator.sample(messages, max_tokens=max_tokens, prefix=prefix, sampling=sampling, tally=tally)
        elif sampling == GREEDY:
            yield from generator.generate(messages, max_tokens=max_tokens, prefix=prefix)
        else:
            raise ValueError(f"{self.name} always takes the likeliest words")

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probabilities of labels. Raises as `generate` does, and ValueError where the model weighs no labels."""
        scorer = self._open().scorer
        if scorer is None:
            raise ValueError(f"{self.name} weighs no labels")
        return scorer.score(messages, labels, prefix=prefix)

    def _open(self) -> Speaker:
        with self._lock:
            if self._speaker is None:
                self._speaker = self._opened()
            return self._speaker


def find_partner(workspace: Workspace, config: InferenceConfig, stack: ExitStack) -> tuple[Speaker, str | None]:
    """The speaker of a workspace, and why nobody will answer, or None where somebody will.

    A model that `config` names is opened at once. What is opened stays so until `stack` is closed. Raises what
    `open_speaker` raises for a model that was named.
    """
    if config.model is not None:
        return stack.enter_context(open_speaker(config.model, config)), None
    run = workspace.find_run(RUN)
    digest = next((item.artefacts["model"] for item in run.done if "model" in item.artefacts), None) if run else None
    model = LateModel(
        "no model" if digest is None else f"tuned@{digest[:12]}",
        lambda: stack.enter_context(open_speaker(workspace, config)),
    )
    learning = Learning() if run is None else learning_in(run)
    return Speaker(generator=model, scorer=model, alone=threading.Lock(), **learning._asdict()), _silence(digest)


def _silence(digest: str | None) -> str | None:
    if digest is None:
        return str(MissingInput("No model was tuned in this workspace: run  ai-therapist finetune  first."))
    lacks = next((package for package in ("torch", "transformers") if importlib.util.find_spec(package) is None), None)
    return None if lacks is None else str(MissingExtra("chat", lacks, "train"))

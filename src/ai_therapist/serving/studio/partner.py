"""Whom the chat tab talks to: the tuned model, loaded at the first message, so that the studio opens at once."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from ai_therapist.errors import MissingExtra, MissingInput
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.run import RUN, TOY_PRESET
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.records import Modality
from ai_therapist.records.message import Message
from ai_therapist.store.workspace import Workspace


class LateModel:
    """A model that is opened when it is first asked. Safe for several threads."""

    def __init__(self, name: str, accepts: frozenset[Modality], opened: Callable[[], TextGenerator]) -> None:
        """`opened` may raise; it is called again for the next message then."""
        self.name = name
        self.accepts = accepts
        self._opened = opened
        self._model: TextGenerator | None = None
        self._lock = threading.Lock()

    def generate(self, messages: Sequence[Message], *, max_tokens: int, prefix: str = "") -> Iterator[str]:
        """Pieces of the answer, as the model gives them. Raises what opening it raises, and what the model raises."""
        yield from self._open().generate(messages, max_tokens=max_tokens, prefix=prefix)

    def score(self, messages: Sequence[Message], labels: Sequence[str], *, prefix: str = "") -> dict[str, float]:
        """Probabilities of labels. Raises as `generate` does, and ValueError where the model weighs no labels."""
        model = self._open()
        if not isinstance(model, LabelScorer):
            raise ValueError(f"{self.name} weighs no labels")
        return model.score(messages, labels, prefix=prefix)

    def _open(self) -> TextGenerator:
        with self._lock:
            if self._model is None:
                self._model = self._opened()
            return self._model


def find_partner(workspace: Workspace, stack: ExitStack) -> tuple[Speaker, str | None]:
    """The speaker for a workspace, and why nobody will answer, or None where somebody will.

    The files of the model lie in a private folder until `stack` is closed.
    """
    run = workspace.find_run(RUN)
    digest = next((item.artefacts["model"] for item in run.done if "model" in item.artefacts), None) if run else None
    toy = run is not None and run.config.get("preset") == TOY_PRESET
    lacks = next((package for package in ("torch", "transformers") if importlib.util.find_spec(package) is None), None)

    def opened() -> TextGenerator:
        if digest is None:
            raise MissingInput("no model was tuned in this workspace")
        if lacks is not None:
            raise MissingExtra("chat", lacks, "train")
        from ai_therapist.models.local import open_tuned

        folder = stack.enter_context(workspace.store.scratch())
        workspace.store.checkout(digest, folder)
        return open_tuned(folder)

    reason = None
    if digest is None:
        reason = "No model was tuned in this workspace: run  ai-therapist finetune  first."
    elif lacks is not None:
        reason = str(MissingExtra("chat", lacks, "train"))
    name = "no model" if digest is None else f"tuned@{digest[:12]}"
    model = LateModel(name, frozenset(Modality), opened)
    return Speaker(generator=model, scorer=model, is_toy=toy), reason

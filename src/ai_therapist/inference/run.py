"""Opens a model of any kind inside the safety shell: for a conversation in Python, a command, or a server.

    with open_chat("tuned:FOLDER") as chat:
        for event in chat.send("I could not sleep again.", Path("clip.mp4")):
            print(event)

A chat streams events (see events.py): disclosures, helpline cards, predicted labels with their probabilities, and the
reply piece by piece.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from ai_therapist.dataset.render import LABEL_FIELDS, Field
from ai_therapist.errors import ConfigError, MissingExtra, MissingInput
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.reply import Chat
from ai_therapist.models.catalogue import AnyModel, open_model, sends_away
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.tuned_folder import TunedFolder, labels_lead
from ai_therapist.store.workspace import RunRecord, Workspace

RUN = "finetuning"
TOY_PRESET = "tiny"

_LABELS_WHAT_WAS_SAID = frozenset({"embedded"})
"""Kinds of scorers that read the last turn's own label and know nothing of the turn that comes next."""


class Learning(NamedTuple):
    """What is known of how a model learned; see `Speaker`."""

    is_toy: bool = False
    context_turns: int | None = None
    labels_lead: bool = True


@contextmanager
def open_chat(model: str | Workspace, config: InferenceConfig | None = None) -> Iterator[Chat]:
    """A conversation with a model: the one that a spec names, or the one that a workspace's last fine-tuning made.

    Nothing of the conversation is written anywhere. Raises what `open_speaker` raises.
    """
    settings = config or InferenceConfig()
    with open_speaker(model, settings) as speaker:
        yield Chat(speaker, settings)


@contextmanager
def open_speaker(model: str | Workspace, config: InferenceConfig) -> Iterator[Speaker]:
    """The model that talks, and what weighs labels: the model itself where it can, else `config.labels`.

    Raises ConfigError for a spec of no model or of one that writes nothing, MissingInput where it is not there or
    where no model was fine-tuned, and MissingExtra where a package is not installed.
    """
    if isinstance(model, str):
        yield _speaker(model, open_model(model), config, _learning_of(model))
        return
    run = model.load_run(RUN, "finetune")
    digest = _model_digest(run)
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("chat", package, "train")
    with model.store.scratch() as folder:
        model.store.checkout(digest, folder)
        spec = f"tuned:{folder}"
        yield _speaker(spec, open_model(spec), config, learning_in(run))


def learning_in(run: RunRecord) -> Learning:
    """How the model of a fine-tuning run learned."""
    counts = next((item.counts for item in run.done if "model" in item.artefacts), {})
    return Learning(run.config.get("preset") == TOY_PRESET, counts.get("context_turns"), labels_lead(run.config))


def _speaker(spec: str, opened: AnyModel, config: InferenceConfig, learning: Learning) -> Speaker:
    if not isinstance(opened, TextGenerator):
        raise ConfigError(f"model {spec.partition(':')[0]!r} weighs labels and writes nothing: name one that replies")
    scorer: LabelScorer | None = opened if isinstance(opened, LabelScorer) else None
    predicts = frozenset(LABEL_FIELDS)
    if scorer is None and config.labels is not None:
        labeller = open_model(config.labels)
        if not isinstance(labeller, LabelScorer):
            raise ConfigError(f"inference.labels: {config.labels.partition(':')[0]!r} writes and weighs no labels")
        scorer = labeller
        if config.labels.partition(":")[0] in _LABELS_WHAT_WAS_SAID:
            predicts = frozenset({Field.CLIENT_EMOTION})
    alone = None if sends_away(spec) else Lock()
    return Speaker(generator=opened, scorer=scorer, predicts=predicts, alone=alone, **learning._asdict())


def _learning_of(spec: str) -> Learning:
    """How the model that a spec names learned, as far as its folder tells."""
    kind, _, where = spec.partition(":")
    path = Path(where) / TunedFolder.FILE
    if kind != "tuned" or not path.is_file():
        return Learning()
    about = TunedFolder.model_validate_json(path.read_bytes())
    return Learning(about.config.get("preset") == TOY_PRESET, about.context_turns, about.labels_lead)


def _model_digest(run: RunRecord) -> str:
    digest = next((item.artefacts["model"] for item in run.done if "model" in item.artefacts), None)
    if digest is None:
        raise MissingInput("the last fine-tuning run made no model: run  ai-therapist finetune  again")
    return digest

"""Opens a conversation with the model that the last fine-tuning run of a workspace made."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from ai_therapist.errors import MissingExtra, MissingInput
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.reply import Chat
from ai_therapist.store.workspace import RunRecord, Workspace

RUN = "finetuning"
TOY_PRESET = "tiny"


@contextmanager
def open_conversation(workspace: Workspace, config: InferenceConfig) -> Iterator[Chat]:
    """A chat with the tuned model; its files lie in a private folder until the chat is closed.

    Nothing of the conversation is written anywhere. Raises MissingInput where no model was fine-tuned and
    MissingExtra where torch or transformers is not installed.
    """
    run = workspace.load_run(RUN, "finetune")
    digest = _model_digest(run)
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("chat", package, "train")
    from ai_therapist.models.local import open_tuned

    with workspace.store.scratch() as folder:
        workspace.store.checkout(digest, folder)
        model = open_tuned(folder)
        yield Chat(Speaker(generator=model, scorer=model, is_toy=run.config.get("preset") == TOY_PRESET), config)


def _model_digest(run: RunRecord) -> str:
    digest = next((item.artefacts["model"] for item in run.done if "model" in item.artefacts), None)
    if digest is None:
        raise MissingInput("the last fine-tuning run made no model: run  ai-therapist finetune  again")
    return digest

"""Which commands need nothing but this machine, so that they are kept on it.

A command is local where every part that its settings and arguments name runs here. The list is of what is known to be
local: whatever is not on it may reach out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.pipeline import local_only

if TYPE_CHECKING:
    from ai_therapist.cli.settings import Settings

WITHOUT_PARTS = frozenset(("status", "explain", "forget", "verify", "export", "convert", "labels", "compare"))
"""Commands that use no part which could be on another computer."""

_MADE_TO_SEND = frozenset(("publish", "sync"))
_HERE = frozenset(("embedded", "scripted", "tuned"))
_HERE_WITH_FOLDER = frozenset(("causal", "videollama2"))


def keep_local(settings: Settings, command: str, arguments: Mapping[str, object]) -> None:
    """Refuse connections beyond this machine from now on where the settings ask for it, or name only parts of it."""
    wish = settings.pipeline.network
    if wish == "closed" or (wish == "auto" and not any(_elsewhere(settings, command, arguments))):
        local_only.begin()


def keep_local_with(*specs: str | None) -> None:
    """The same for a command without settings that asks these models."""
    command = click.get_current_context(silent=True)
    if command is not None and has_store_elsewhere(command.params.get("workspace")):
        return
    if all(is_here(spec) for spec in specs if spec is not None):
        local_only.begin()


def has_store_elsewhere(workspace: object) -> bool:
    """Whether a workspace keeps its blobs and records on an object store."""
    from ai_therapist.store.places import PLACE

    return isinstance(workspace, Path) and (workspace / PLACE).exists()


def is_here(spec: str) -> bool:
    """Whether a model runs on this machine and has its weights on it; False for a kind that does not exist."""
    from ai_therapist.models.address import base_url, is_loopback

    kind, _, where = spec.partition(":")
    if kind == "openai":
        return is_loopback(base_url())
    return kind in _HERE or (kind in _HERE_WITH_FOLDER and _is_folder(where))


def _is_folder(name: str) -> bool:
    """Whether a folder of this machine has the name; False for one that no file system holds."""
    try:
        return Path(name).is_dir()
    except OSError:
        return False


def _elsewhere(settings: Settings, command: str, arguments: Mapping[str, object]) -> Iterator[bool]:
    """Of each part that is or may be used: whether it may reach other computers."""
    extraction, base = settings.extraction, settings.finetuning.base
    yield command in _MADE_TO_SEND
    yield bool(settings.pipeline.store) or has_store_elsewhere(arguments.get("workspace"))
    yield settings.pipeline.executor == "ray"
    start = arguments.get("start")
    # The start of a fine-tuning that is no folder is an id of the Hub.
    yield isinstance(start, str) and not _is_folder(start)
    yield str(arguments.get("source", "")).startswith(("gs://", "s3://", "youtube:", "http:", "https:"))
    yield extraction.transcriber == "assemblyai"
    whisper = extraction.whisper
    yield extraction.transcriber == "whisper" and (whisper.download or whisper.diariser.startswith("pyannote"))
    yield not base.is_random and not all(_is_folder(name) for name in (base.language, base.media) if name != "none")
    labelling = settings.annotation
    models = {labelling.annotator, labelling.clip_annotator, *labelling.panel, extraction.roles.model}
    models |= {*settings.evaluation.models, settings.inference.model, settings.inference.labels}
    models |= {value for name in ("model", "spec") if isinstance(value := arguments.get(name), str)}
    yield from (not is_here(spec) for spec in models if spec is not None)

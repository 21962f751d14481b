"""What a folder with a tuned model says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest

BASE = "base"
"""Subfolder with the model before tuning: configuration and weights, or a reference to published ones."""
ADAPTER = "adapter"
"""Subfolder with what was learned, in PEFT's layout."""
PROCESSOR = "processor"
"""Subfolder with tokenizer or processor, where there is no merged model."""
MERGED = "merged"
"""Subfolder with the tuned model as transformers loads it; absent where only the adapter was kept."""


class BaseReference(Record):
    """Which published models a base is made of."""

    FILE: ClassVar[str] = "base.json"

    language: str
    """Hub id or folder of the language model."""
    language_revision: str
    """Commit on the Hub, or "files:" and a digest of the folder."""
    media: str | None
    """Hub id or folder of the VideoLLaMA2 checkpoint that gives towers and connectors; None: text alone."""
    media_revision: str | None
    num_frames: int
    tokens_per_clip: int
    audio_tokens_per_clip: int


class TunedFolder(Record):
    """Name and origin of a tuned model."""

    FILE: ClassVar[str] = "finetuning.json"

    name: Annotated[str, Field(min_length=1)]
    """Name and revision, as provenance records it; says so where the model is a toy."""
    config: dict[str, object]
    """The resolved settings that it was tuned with."""
    config_sha256: Digest
    lineage: tuple[str, ...] = ()
    """Names of the models that it goes on from, the first one first."""
    context_turns: Annotated[int, Field(ge=0)] | None = None
    """Most turns before the client's current one that it was trained with; None where nobody counted them."""

    @property
    def labels_lead(self) -> bool:
        """Whether each label was learned after those before it, and the reply after all of them."""
        return labels_lead(self.config)


def labels_lead(config: Mapping[str, object]) -> bool:
    """Whether settings of fine-tuning make one answer of labels and reply."""
    return config.get("targets") != "apart"

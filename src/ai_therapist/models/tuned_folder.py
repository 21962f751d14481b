"""What a folder with a tuned model says about itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ai_therapist.records.base import Record
from ai_therapist.records.ids import Digest

BASE = "base"
"""Subfolder with the model before tuning: configuration and weights."""
MERGED = "merged"
"""Subfolder with the tuned model as transformers loads it."""


class TunedFolder(Record):
    """Name and origin of a tuned model."""

    FILE: ClassVar[str] = "finetuning.json"

    name: Annotated[str, Field(min_length=1)]
    """Name and revision, as provenance records it; says so where the model is a toy."""
    config: dict[str, object]
    """The resolved settings that it was tuned with."""
    config_sha256: Digest

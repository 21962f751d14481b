"""Checks a clip before any model sees it."""

from __future__ import annotations

from pathlib import Path

from ai_therapist.errors import ItemError, MissingInput
from ai_therapist.inference.events import ClipRefused
from ai_therapist.media.probe import probe
from ai_therapist.records.annotation import Modality
from ai_therapist.store.blobs import hash_file


def refusal(path: Path, max_clip_s: float, accepts: frozenset[Modality]) -> ClipRefused | None:
    """Why the clip at `path` cannot be shown to a model that accepts these modalities, or None where it can."""
    if not {Modality.VIDEO, Modality.AUDIO} <= accepts:
        return ClipRefused(reason="this model reads words only")
    try:
        media = probe(path, path.name, hash_file(path))
    except (MissingInput, ItemError) as error:
        return ClipRefused(reason=str(error))
    if media.video is None:
        return ClipRefused(reason="the clip has no picture")
    if media.duration_ms > max_clip_s * 1000:
        return ClipRefused(reason=f"the clip is longer than {max_clip_s:g} s (inference.max_clip_s)")
    return None

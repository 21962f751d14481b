"""One clip per turn: cut and verified where the turn is long enough and has a picture, a record with a fault else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer

from ai_therapist.errors import UnreadableMedia
from ai_therapist.extraction.config import ClipsConfig
from ai_therapist.extraction.turns import clip_frames, span_of
from ai_therapist.media.cut import cut, verify
from ai_therapist.media.guarded import open_media
from ai_therapist.media.probe import probe
from ai_therapist.records import Clip, Fault, Transcript, Utterance
from ai_therapist.store.blobs import hash_file


@dataclass(frozen=True)
class CutClip:
    """A clip's record, and its file where it has one."""

    clip: Clip
    path: Path | None


def cut_clips(video: Path | None, turns: Transcript, config: ClipsConfig, folder: Path) -> Iterator[CutClip]:
    """A clip for every turn, in order; files are written to `folder`. `video` is the standardised recording.

    A clip that does not verify is deleted and keeps only its faults: it might show what it must not.
    """
    with contextlib.nullcontext() if video is None else open_media(video) as reader:
        yield from _clips(reader, turns, config, folder)


def _clips(video: InputContainer | None, turns: Transcript, config: ClipsConfig, folder: Path) -> Iterator[CutClip]:
    for turn, frames in zip(turns.utterances, clip_frames(turns.utterances), strict=True):
        if video is None:
            yield _without_media(turn, frames, Fault.NO_VIDEO)
        elif turn.span.duration_ms <= config.min_clip_ms:
            yield _without_media(turn, frames, Fault.TOO_SHORT)
        else:
            yield _cut(video, turn, frames, folder)


def _cut(video: InputContainer, turn: Utterance, frames: range, folder: Path) -> CutClip:
    bare = Clip.of(turn.session, (turn.id,), span_of(frames), None, frozenset({Fault.FRAMES_MISSING}))
    path = folder / f"{bare.id}.mp4"
    try:
        cut(video, path, frames)
        faults = verify(video, path, frames)
        media = probe(path, path.name, hash_file(path)) if not faults else None
    except UnreadableMedia:
        faults, media = bare.faults, None
    if media is None:
        path.unlink(missing_ok=True)
    clip = Clip.of(turn.session, (turn.id,), bare.span, media, faults)
    return CutClip(clip, path if media is not None else None)


def _without_media(turn: Utterance, frames: range, fault: Fault) -> CutClip:
    return CutClip(Clip.of(turn.session, (turn.id,), span_of(frames), None, frozenset({fault})), None)

"""Whether a clip holds exactly the frames of its span: re-opened and counted anew, whoever cut it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import UnreadableMedia
from ai_therapist.media.guarded import open_media
from ai_therapist.records import Clip
from ai_therapist.records.base import Record
from ai_therapist.records.ids import RecordId


class ClipCounts(Record):
    """The clips of one session."""

    cut: Annotated[int, Field(ge=0)]
    """Clips with a media file."""
    exact: Annotated[int, Field(ge=0)]
    text_only: Annotated[int, Field(ge=0)]
    """Clips that have a record but cannot be shown: too short, or without picture."""
    inexact: tuple[RecordId, ...]


def is_exact(path: Path, span_frames: int) -> bool:
    """Whether a clip begins with a keyframe and holds as many packets and shows as many frames as its span has.

    Packets are counted past any edit list: one more than the frames shown would be a hidden picture of someone else's
    turn. False as well for a file that cannot be read.
    """
    try:
        with open_media(path, edit_lists=False) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        with open_media(path) as container:
            shown = sum(1 for _ in container.decode(video=0))
    except (UnreadableMedia, IndexError):
        return False
    return bool(packets) and packets[0].is_keyframe and len(packets) == shown == span_frames


def count_clips(clips: tuple[Clip, ...], files: dict[str, Path]) -> ClipCounts:
    """Check every clip that has a file; `files` maps clip ids to files."""
    cut = [clip for clip in clips if clip.id in files]
    inexact = tuple(clip.id for clip in cut if not is_exact(files[clip.id], _frames(clip)))
    return ClipCounts(
        cut=len(cut), exact=len(cut) - len(inexact), text_only=sum(not clip.usable for clip in clips), inexact=inexact
    )


def _frames(clip: Clip) -> int:
    """Frames that the span has at the clip's own rate; 0, which no clip holds, where the record names no video."""
    video = None if clip.media is None else clip.media.video
    return 0 if video is None else len(clip.span.frames(video.rate))

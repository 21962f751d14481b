"""Decides what an annotator is shown of a turn, and says why."""

from __future__ import annotations

from dataclasses import dataclass

from ai_therapist.records import Clip, Fault, Modality


@dataclass(frozen=True)
class Route:
    """What is shown, and the reason that provenance keeps."""

    modalities: frozenset[Modality]
    reason: str

    @property
    def shows_clip(self) -> bool:
        """Whether the clip is part of what is shown."""
        return Modality.VIDEO in self.modalities


_TEXT = frozenset({Modality.TEXT})


def route(clip: Clip | None, accepts: frozenset[Modality], *, faces: bool = True) -> Route:
    """The clip and the words where there is a usable clip and the annotator sees video, else the words alone.

    The sound track counts as shown where the annotator hears and the clip has one. Rules, first match wins:

        annotator sees no video        annotator reads text only
        `faces` is false               faces and voices are not shown
        no record of a clip            no clip of this turn
        clip is faulty: too short      turn too short for a clip
        clip is faulty: anything else  no usable clip: FAULTS
        clip without picture           no usable clip: no_video
        otherwise                      clip usable

    A clip that the annotator turns out not to take is a matter of `words_instead`.
    """
    if Modality.VIDEO not in accepts:
        return Route(_TEXT, "annotator reads text only")
    if not faces:
        return Route(_TEXT, "faces and voices are not shown")
    if clip is None:
        return Route(_TEXT, "no clip of this turn")
    if Fault.TOO_SHORT in clip.faults:
        return Route(_TEXT, "turn too short for a clip")
    if clip.media is None or clip.faults:
        return Route(_TEXT, f"no usable clip: {', '.join(sorted(clip.faults))}")
    if clip.media.video is None:
        return Route(_TEXT, f"no usable clip: {Fault.NO_VIDEO}")
    heard = {Modality.AUDIO} if clip.media.audio is not None else set()
    return Route((_TEXT | {Modality.VIDEO} | heard) & accepts, "clip usable")


def words_instead(why: str) -> Route:
    """The words alone, since the annotator cannot take the clip."""
    return Route(_TEXT, f"the annotator cannot take the clip: {why}")

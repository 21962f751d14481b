"""What comes with a message, a clip, a sound or a picture: told by its content and checked before any model sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ai_therapist.errors import ItemError, MissingInput
from ai_therapist.inference.events import ClipRefused
from ai_therapist.media.probe import probe
from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, VideoPart
from ai_therapist.store.blobs import hash_file

Attachment = VideoPart | AudioPart | ImagePart

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


@contextmanager
def as_file(clip: Path | bytes) -> Iterator[Path]:
    """The clip as a file: bytes lie in a private folder until the block is left."""
    if not isinstance(clip, bytes):
        yield clip
        return
    with TemporaryDirectory(prefix="ai-therapist-") as folder:
        path = Path(folder) / "clip"
        path.write_bytes(clip)
        yield path


def look_at(path: Path, max_clip_s: float, accepts: frozenset[Modality]) -> Attachment | ClipRefused:
    """The file as a model that accepts these modalities may be shown it, or why it may not.

    Of a clip the model gets what it can take: the picture, the sound, or both.
    """
    if not accepts & {Modality.VIDEO, Modality.AUDIO}:
        return ClipRefused(reason="this model reads words only")
    try:
        if _is_picture(path):
            return ImagePart(path=str(path)) if Modality.VIDEO in accepts else ClipRefused(reason=_BLIND)
        media = probe(path, path.name, hash_file(path))
    except (MissingInput, ItemError) as error:
        return ClipRefused(reason=str(error))
    if media.duration_ms > max_clip_s * 1000:
        return ClipRefused(reason=f"the clip is longer than {max_clip_s:g} s (inference.max_clip_s)")
    heard = media.audio is not None and Modality.AUDIO in accepts
    if media.video is not None and Modality.VIDEO in accepts:
        return VideoPart(path=str(path), sound=heard)
    return AudioPart(path=str(path)) if heard else ClipRefused(reason=_BLIND if media.audio is None else _DEAF)


_BLIND = "this model sees no pictures"
_DEAF = "this model hears no sound"


def _is_picture(path: Path) -> bool:
    try:
        if path.exists() and not path.is_file():
            raise MissingInput(f"{path.name}: no file")
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise MissingInput(f"{path.name}: {error.strerror or 'cannot be read'}") from None
    except ValueError:
        raise MissingInput("the clip's name cannot be one of a file") from None
    return head.startswith((_PNG, _JPEG)) or (head.startswith(b"RIFF") and head[8:] == b"WEBP")

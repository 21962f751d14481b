"""Where the clip of a request comes from: a data URL, or a file below the allowed folder. Nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.refusal import Refused, wrong
from ai_therapist.serving.request import AudioContent, ImageContent, InputAudioContent, MediaContent

_DATA = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=[^;,]{1,100})*;base64,", re.IGNORECASE)


def received(media: MediaContent | None, config: ServingConfig) -> Path | bytes | None:
    """The clip that a message brings: its bytes, or the file below the allowed folder that it names.

    Raises Refused: 400 for what is no base64, an address of another machine or a path that is not allowed.
    """
    if media is None:
        return None
    url = _url(media)
    if isinstance(media, InputAudioContent):
        return _decoded(url)
    return _decoded(_payload(url)) if url[:5].lower() == "data:" else _local(url, config)


def _url(media: MediaContent) -> str:
    match media:
        case ImageContent():
            return media.image_url.url
        case AudioContent():
            return media.audio_url.url
        case InputAudioContent():
            return media.input_audio.data
        case _:
            return media.video_url.url


def _payload(url: str) -> str:
    head = _DATA.match(url[:500])
    if head is None:
        raise wrong("bad_data_url", "a data URL must read data:TYPE;base64,DATA")
    return url[head.end() :]


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong("bad_base64", "the clip is not valid base64") from None
    if not data:
        raise wrong("empty_clip", "the clip is empty")
    return data


def _local(url: str, config: ServingConfig) -> Path:
    """The file that a path or file URL names, where it lies below the allowed folder and no link leads out of it."""
    if config.media_root is None:
        raise wrong("no_fetching", "send clips as data URLs: this server opens no addresses and no local files")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise wrong("bad_url", "the address of the clip cannot be read") from None
    if parts.scheme.lower() not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise wrong("no_fetching", "send clips as data URLs or paths below the media folder: nothing is fetched")
    root = Path(config.media_root).resolve()
    try:
        path = (root / (unquote(parts.path) if parts.scheme else url)).resolve(strict=True)
        inside = path.is_relative_to(root) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        inside = False
    # One answer for what is missing and what lies outside, so that nobody can ask what files there are.
    if not inside:
        raise Refused(400, "no_such_clip", "no such file below the media folder of this server")
    return path

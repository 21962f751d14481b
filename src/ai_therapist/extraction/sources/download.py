"""Downloads one video through yt-dlp with fixed options: nothing that a machine or a page says changes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from ai_therapist.errors import ItemError, MissingExtra, RequestError, SourcePaused, TransientError
from ai_therapist.extraction.sources.recording import SUFFIXES
from ai_therapist.extraction.sources.web import only_public_connections
from ai_therapist.extraction.sources.youtube_api import VideoId
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records.base import Record

_OLDEST = (2026, 7, 4)
"""Older releases of yt-dlp have known holes."""
_DENIED = (
    # The age question also begins with "Sign in to confirm" and is the video's, not the machine's.
    (re.compile(r"confirm your age|age-restricted|inappropriate for some users", re.I), "is shown to adults only"),
    (re.compile(r"private video|video is private", re.I), "is private"),
    (re.compile(r"unavailable|removed|terminated|does not exist|HTTP Error 4(04|10)", re.I), "is deleted or not shown"),
    (re.compile(r"members-only|join this channel|requires payment|rental", re.I), "is for members or buyers only"),
    (re.compile(r"format is not available", re.I), "has no single file with sound and picture in the wanted size"),
)
_BLOCKED = re.compile(r"sign in to confirm|HTTP Error 429|too many requests|captcha", re.I)


class RemoteVideo(Record):
    """What is to be downloaded."""

    id: VideoId


class DownloadConfig(StageConfig):
    """What is downloaded of a video, and how."""

    max_height_px: Annotated[int, Field(ge=144, le=2160)] = 720
    max_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 36)] = 4 << 30
    address: str = "https://www.youtube.com/watch?v={id}"
    extractor: str = "youtube"
    """The one extractor of yt-dlp that may answer."""
    own_addresses: frozenset[str] = frozenset()
    """Addresses off the public internet that may be connected to: for a mirror of one's own."""
    pause_s: Annotated[int, Field(ge=0, le=600)] = 5
    """Shortest pause before a download in seconds; up to three times as long."""


def stage(config: DownloadConfig) -> Stage:
    """Downloading as a stage: a video of the store is not downloaded again."""
    return Stage("download", 1, run_download, ("remote",), ("recording",), config, timeout_s=7200, attempts=2)


def run_download(job: Job) -> None:
    """The video as one file with sound and picture."""
    config = cast(DownloadConfig, job.config)
    video = job.record(RemoteVideo, "remote").id
    job.give("recording", download(video, config, job.scratch))


def download(video: str, config: DownloadConfig, folder: Path) -> Path:
    """The downloaded file in `folder`.

    Raises SourcePaused where YouTube asks whether a person is there, ItemError that says why this video cannot be
    had or that a server led off the public internet, and TransientError where another attempt may help.
    """
    try:
        import yt_dlp
        from yt_dlp import globals as settings
    except ModuleNotFoundError:
        raise MissingExtra("YouTube", "yt-dlp", "cloud") from None
    _require_version()
    # Plugins are found by name on the whole import path: none is looked for.
    settings.plugin_dirs.value = []
    try:
        with only_public_connections(config.own_addresses), yt_dlp.YoutubeDL(_options(config, folder)) as loader:
            loader.extract_info(config.address.format(id=video), download=True)
    except yt_dlp.utils.DownloadError as error:
        raise _meaning(video, error) from None
    except yt_dlp.utils.YoutubeDLError as error:
        raise ItemError(f"{video} failed: {type(error).__name__}") from None
    return _single_file(video, config, folder)


def _options(config: DownloadConfig, folder: Path) -> dict[str, object]:
    """The options. yt-dlp as a library reads no settings file; what is not named here keeps its quiet default."""
    return {
        "allowed_extractors": [f"^{config.extractor}$"],
        # One file: joining sound and picture would need a program beside ours.
        "format": f"b[height<=?{config.max_height_px}][ext=mp4]/b[height<=?{config.max_height_px}]",
        "outtmpl": {"default": str(folder / "recording.%(ext)s")},
        "paths": {},
        "max_filesize": config.max_bytes,
        "noplaylist": True,
        "playlist_items": "1",
        "sleep_interval": config.pause_s,
        "max_sleep_interval": 3 * config.pause_s,
        "socket_timeout": 30,
        "retries": 3,
        "fragment_retries": 3,
        "concurrent_fragment_downloads": 1,
        "proxy": "",
        "usenetrc": False,
        "cookiefile": None,
        "cookiesfrombrowser": None,
        "enable_file_urls": False,
        "external_downloader": None,
        "hls_prefer_native": True,
        "postprocessors": [],
        "remote_components": [],
        "cachedir": False,
        "updatetime": False,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silent(),
    }


class _Silent:
    """A log that keeps nothing: messages of yt-dlp hold titles and addresses."""

    def debug(self, message: str) -> None:
        """Dropped."""

    info = warning = error = debug


def _require_version() -> None:
    found = metadata.version("yt-dlp")
    if tuple(int(part) for part in re.findall(r"\d+", found)[:3]) < _OLDEST:
        raise RequestError(f"yt-dlp {found} has known holes: install a newer one with  pip install -U yt-dlp")


def _meaning(video: str, error: Exception) -> Exception:
    """What a failure means for the video or the source; the text of yt-dlp, which may hold a title, is not shown."""
    import yt_dlp

    text, causes = str(error), list(_causes(error))
    for cause in causes:
        # An answer that is an error holds its connection open.
        if isinstance(cause, yt_dlp.networking.exceptions.HTTPError):
            cause.close()
    if any(isinstance(cause, PermissionError) for cause in causes):
        return ItemError(f"{video}: a server led to an address that is not public")
    for pattern, fate in _DENIED:
        if pattern.search(text):
            return ItemError(f"{video} {fate}")
    if _BLOCKED.search(text):
        return SourcePaused(
            "YouTube asks whether a person is there and blocks this connection for a while: nothing more is fetched "
            "today; run the same command again tomorrow, with a smaller extraction.youtube.daily_downloads"
        )
    return TransientError(f"{video} failed to download: the network or yt-dlp; keep yt-dlp up to date")


def _causes(error: Exception) -> Iterator[BaseException]:
    """The errors behind one of yt-dlp, which hands them on in three ways."""
    queue: list[object] = [error]
    while queue:
        found = queue.pop()
        if isinstance(found, BaseException):
            yield found
            queue += [found.__cause__, getattr(found, "cause", None), getattr(found, "reason", None)]
            queue += (getattr(found, "exc_info", None) or ())[1:2]


def _single_file(video: str, config: DownloadConfig, folder: Path) -> Path:
    files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    if not files:
        raise ItemError(f"{video} is larger than {config.max_bytes} bytes, or nothing was sent")
    if len(files) != 1 or files[0].suffix.lower() not in SUFFIXES:
        kinds = ", ".join(sorted({path.suffix for path in files}))
        raise ItemError(f"{video} came as {len(files)} files of the kinds {kinds}, which is no recording")
    if files[0].stat().st_size > config.max_bytes:
        raise ItemError(f"{video} is larger than {config.max_bytes} bytes")
    return files[0]

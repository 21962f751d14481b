"""The one door to media files: content is sniffed, formats and protocols are whitelisted, sizes are limited."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ai_therapist.errors import MissingInput, UnreadableMedia

FORMATS = ("mov", "mp4", "m4a", "matroska", "webm", "avi", "mpegts", "wav", "mp3", "ogg", "flac")
"""Container formats that are opened, by content. Playlists (HLS, DASH, concat) are not among them: they name files."""


@dataclass(frozen=True)
class Limits:
    """What a recording may not exceed; checked before anything is decoded."""

    duration_ms: int = 4 * 3_600_000
    pixels: int = 4096 * 2304
    """Width times height of one frame."""
    frames: int = 500_000
    """Video packets in one file."""


LIMITS = Limits()

_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "threads": "1"}
"""Decoders tell what they cannot decode and make nothing up in its place; with several threads H.264 keeps silent."""


@dataclass(frozen=True)
class Tracks:
    """The first picture and the first sound track of a container, and the time at which its session begins."""

    video: VideoStream | None
    audio: AudioStream | None
    start_s: Fraction
    """Earliest start of the two tracks; session times count from here."""

    @property
    def streams(self) -> tuple[VideoStream | AudioStream, ...]:
        """The tracks that are there."""
        return tuple(track for track in (self.video, self.audio) if track is not None)


@contextlib.contextmanager
def open_media(path: Path, *, edit_lists: bool = True) -> Iterator[InputContainer]:
    """A container that is open for reading inside the `with`.

    No protocol but `file:` can be reached from it. Without `edit_lists` packets that an MP4 hides are seen as well.
    Raises MissingInput where there is no file, and UnreadableMedia for a file that is of no accepted format or whose
    data FFmpeg refuses anywhere inside the `with`.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: no such file")
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS), "err_detect": "crccheck"}
    if not edit_lists:
        options["ignore_editlist"] = "1"
    # "file:" and an absolute path keep a name such as "http:x.mp4" or "-i.mp4" a mere name.
    # Titles and names of tracks may be in any encoding; nothing of ours reads them.
    address = f"file:{path.absolute()}"
    with _refusals(), av.open(address, "r", options=options, metadata_errors="replace") as container:
        _refuse_excess(container)
        yield container


@contextlib.contextmanager
def reading(source: Path | InputContainer) -> Iterator[InputContainer]:
    """Like `open_media` for a path; a container that is open already is taken as it is and stays open."""
    if isinstance(source, Path):
        with open_media(source) as container:
            yield container
    else:
        with _refusals():
            yield source


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """FFmpeg's errors in our words."""
    try:
        yield
    except UnicodeEncodeError:
        raise UnreadableMedia("the file name is not valid UTF-8: rename the file") from None
    except av.FFmpegError as error:
        # A full disk, a missing permission or a lack of memory says nothing about the recording.
        # EPERM is a decoder's word for data that it does not take.
        if isinstance(error, OSError | MemoryError) and error.errno != errno.EPERM:
            raise
        raise UnreadableMedia(
            f"not a readable recording ({error.strerror}); accepted are {', '.join(FORMATS)}"
        ) from None


def tracks_of(container: InputContainer) -> Tracks:
    """The tracks that the toolkit works with. A cover picture of a sound file is not a video.

    Raises UnreadableMedia where one of them cannot be decoded here.
    """
    videos = [track for track in container.streams.video if Disposition.attached_pic not in track.disposition]
    video = videos[0] if videos else None
    audio = container.streams.audio[0] if container.streams.audio else None
    for track in (video, audio):
        if track is not None and _has_no_decoder(track):
            raise UnreadableMedia(f"its {track.type} is coded in a way that is not known here, or is damaged")
    starts = [start for track in (video, audio) if track is not None and (start := _start_s(track)) is not None]
    return Tracks(video, audio, min(starts, default=Fraction(0)))


def seconds(ticks: int, time_base: Fraction | None) -> Fraction:
    """A timestamp in exact seconds."""
    return ticks * (time_base or Fraction(0))


def _start_s(track: Stream) -> Fraction | None:
    return None if track.start_time is None else seconds(track.start_time, track.time_base)


def packets_of(container: InputContainer, *tracks: Stream) -> Iterator[Packet[Stream]]:
    """The packets of these tracks in the order of the file. Raises UnreadableMedia where a new track begins midway."""
    packets = container.demux(*tracks)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:
            # PyAV knows the tracks that it found at the beginning.
            raise UnreadableMedia("the recording is damaged: a track begins in the middle of it") from None
        yield packet


def _has_no_decoder(track: Stream) -> bool:
    # PyAV's types promise a codec context; a stream of an unknown codec has none.
    return getattr(track, "codec_context", None) is None


def _refuse_excess(container: InputContainer) -> None:
    for track in container.streams.audio:
        if not _has_no_decoder(track):
            track.codec_context.options = dict(_STRICT)
    for video in container.streams.video:
        if _has_no_decoder(video):
            continue
        if video.codec_context.width * video.codec_context.height > LIMITS.pixels:
            raise UnreadableMedia(
                f"frames of {video.codec_context.width}x{video.codec_context.height} pixels are more than "
                f"{LIMITS.pixels:,} pixels: scale the recording down"
            )
        if video.frames > LIMITS.frames:
            raise UnreadableMedia(f"{video.frames:,} frames are more than {LIMITS.frames:,}: split the recording")
        # A second guard against headers that lie about the size.
        video.codec_context.options = {"max_pixels": str(LIMITS.pixels), **_STRICT}
    if container.duration is not None and container.duration > LIMITS.duration_ms * 1000:
        raise UnreadableMedia(
            f"{container.duration // 60_000_000} minutes are more than {LIMITS.duration_ms // 60_000}: "
            "split the recording"
        )

"""What YouTube says about a playlist and its videos: the Data API and the answer on training by others."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import Field

from ai_therapist.errors import ConfigError, MissingInput, RequestError, TransientError, bare_address
from ai_therapist.extraction.sources.web import Answer, WebRules, fetch
from ai_therapist.records.base import Record

HOST = "youtube.googleapis.com"
_VIDEO = re.compile(r"[A-Za-z0-9_-]{11}")
_PLAYLIST = re.compile(r"(?:PL|UU|FL|OLAK5uy_)[A-Za-z0-9_-]{10,60}")
_PAGES = frozenset(("www.youtube.com", "youtube.com", "m.youtube.com"))
_QUOTA = frozenset(("quotaExceeded", "dailyLimitExceeded", "rateLimitExceeded", "userRateLimitExceeded"))
_KEY = frozenset(
    ("keyInvalid", "keyExpired", "accessNotConfigured", "ipRefererBlocked", "API_KEY_INVALID", "SERVICE_DISABLED")
)
_TRIES = 4
_PAGE_SIZE = 50

VideoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{11}$")]


class State(StrEnum):
    """What has become of a video."""

    PUBLIC = "public"
    """Public, or unlisted and named by the playlist."""
    PRIVATE = "private"
    DELETED = "deleted"


class ListedVideo(Record):
    """One video of a listing."""

    id: VideoId
    state: State
    licence: str | None = None
    """`youtube` or `creativeCommon`; None where the video cannot be seen."""
    channel: str | None = None


class Listing(Record):
    """A playlist as it was listed; one that is not complete is gone on with, never taken for the whole."""

    address: str
    complete: bool
    next_page: str | None = None
    videos: tuple[ListedVideo, ...] = ()
    trainability: dict[VideoId, tuple[str, ...]] = Field(default_factory=dict)
    """Who may train on a video by YouTube's own answer: `all`, `none` or names. Asked for where it matters."""


def parse_address(text: str) -> str:
    """`playlist:ID` or `video:ID` of what a user calls a source. Raises ConfigError for anything else."""
    wanted = text.removeprefix("youtube:")
    if wanted == text:
        wanted = _of_url(text)
    if _VIDEO.fullmatch(wanted):
        return f"video:{wanted}"
    if _PLAYLIST.fullmatch(wanted):
        return f"playlist:{wanted}"
    raise ConfigError(
        f"{bare_address(text)!r} names no YouTube playlist or video: write youtube:ID with the id alone, "
        "or the https address of the playlist on www.youtube.com"
    )


def _of_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        query = parse_qs(parts.query)
    except ValueError:
        return ""
    if parts.scheme != "https" or not text.isascii() or not text.isprintable() or "\\" in text:
        return ""
    if parts.netloc in _PAGES:
        name = {"/playlist": "list", "/watch": "v"}.get(parts.path, "")
        values = query.get(name, [])
        return values[0] if len(values) == 1 else ""
    return parts.path.removeprefix("/") if parts.netloc == "youtu.be" else ""


_RULES = WebRules(frozenset((HOST,)), max_bytes=4 << 20)


@dataclass(frozen=True)
class YouTubeApi:
    """Asks the Data API. The key goes into a header: no address and no message ever holds it."""

    key: str = field(repr=False)
    endpoint: str = f"https://{HOST}"
    rules: WebRules = _RULES
    wait: Callable[[float], None] = time.sleep

    def list_on(self, listing: Listing, keep: Callable[[Listing], None]) -> Listing:
        """The complete listing, going on after what is listed already; `keep` is told after every page.

        Raises ConfigError where the key is wrong, RequestError where the quota is used up, MissingInput where there is
        no such playlist, and TransientError where the service does not answer: what was listed until then is kept.
        """
        kind, _, wanted = listing.address.partition(":")
        if kind == "video":
            listing = listing.model_copy(update={"complete": True, "videos": self._videos({wanted: None})})
            keep(listing)
            return listing
        while not listing.complete:
            listing = self._next_page(listing, wanted)
            keep(listing)
        return listing

    def trainability(self, video: str) -> tuple[str, ...]:
        """Who may train on a video; empty where YouTube gives no answer."""
        answer = self._ask("videoTrainability", {"id": video}, may_fail=True)
        permitted = answer.get("permitted")
        if not isinstance(permitted, list) or not all(isinstance(name, str) for name in permitted):
            return ()
        return tuple(sorted(permitted))

    def _next_page(self, listing: Listing, playlist: str) -> Listing:
        query = {"part": "contentDetails,status", "playlistId": playlist, "maxResults": str(_PAGE_SIZE)}
        if listing.next_page is not None:
            query["pageToken"] = listing.next_page
        page = self._ask("playlistItems", query)
        known = {video.id for video in listing.videos}
        ids = {video: state for video, state in _entries(page) if video not in known}
        token = page.get("nextPageToken")
        following = token if isinstance(token, str) and token else None
        if following is not None and following == listing.next_page:
            raise TransientError(f"{HOST}: the listing of {playlist} does not come to an end")
        videos = (*listing.videos, *self._videos(ids))
        return listing.model_copy(update={"videos": videos, "next_page": following, "complete": following is None})

    def _videos(self, ids: Mapping[str, State | None]) -> tuple[ListedVideo, ...]:
        """Licence and channel of each; one that the service does not show is private or deleted."""
        if not ids:
            return ()
        shown = {}
        answer = self._ask("videos", {"part": "status,snippet", "id": ",".join(ids), "maxResults": str(_PAGE_SIZE)})
        for item in _dicts(answer.get("items")):
            status, snippet = _dict(item.get("status")), _dict(item.get("snippet"))
            state = State.PRIVATE if status.get("privacyStatus") == "private" else State.PUBLIC
            shown[item.get("id")] = (state, _text(status.get("license")), _text(snippet.get("channelId")))
        hidden = {video: state if state is State.PRIVATE else State.DELETED for video, state in ids.items()}
        return tuple(
            ListedVideo(id=video, state=found[0], licence=found[1], channel=found[2])
            for video in ids
            for found in (shown.get(video, (hidden[video], None, None)),)
        )

    def _ask(self, method: str, query: Mapping[str, str], *, may_fail: bool = False) -> dict[str, object]:
        for attempt in range(_TRIES):
            answer = fetch(
                f"{self.endpoint}/youtube/v3/{method}?{urlencode(query)}", self.rules, {"X-Goog-Api-Key": self.key}
            )
            if answer.status == 200:
                return _object(answer, method)
            if may_fail and answer.status in (400, 403, 404):
                return {}
            error = _refusal(answer, method)
            if not isinstance(error, TransientError) or attempt == _TRIES - 1:
                raise error
            self.wait(_pause_s(answer, attempt))
        raise AssertionError("the last attempt returns or raises")


def _pause_s(answer: Answer, attempt: int) -> float:
    """Seconds before the next attempt: what the server asks for, but never more than a minute."""
    asked = answer.headers.get("retry-after", "")
    return min(60.0, float(asked) if asked.isdecimal() else 2.0**attempt)


def _refusal(answer: Answer, method: str) -> Exception:
    """What a status other than 200 means for the user; nothing of the answer is shown but known words."""
    reasons = _reasons(answer)
    if answer.status == 429 or answer.status >= 500:
        return TransientError(f"{HOST} answers {answer.status} to {method}: run the same command again later")
    if reasons & _QUOTA:
        return RequestError(
            f"the quota of the YouTube Data API is used up ({min(reasons & _QUOTA)}): it is filled again at midnight "
            "Pacific time; what was listed is kept, run the same command again then"
        )
    if reasons & _KEY or answer.status in (400, 401):
        return ConfigError(
            f"{HOST} does not accept YOUTUBE_API_KEY ({min(reasons & _KEY, default=answer.status)}): check the key, "
            "and that its project may use the YouTube Data API v3"
        )
    if answer.status == 404:
        return MissingInput("YouTube knows no such playlist: check the id, and that it is not deleted")
    if answer.status == 403:
        return RequestError("YouTube does not show this playlist: it is private; make it unlisted or public")
    return TransientError(f"{HOST} answers {answer.status} to {method}")


def _reasons(answer: Answer) -> set[str]:
    try:
        error = _dict(_dict(json.loads(answer.body)).get("error"))
    except (ValueError, RecursionError):
        return set()
    entries = [*_dicts(error.get("errors")), *_dicts(error.get("details"))]
    return {str(entry["reason"]) for entry in entries if isinstance(entry.get("reason"), str)}


def _object(answer: Answer, method: str) -> dict[str, object]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise TransientError(f"{HOST} answers {method} with something that is no JSON object")
    return value


def _entries(page: Mapping[str, object]) -> Iterable[tuple[str, State | None]]:
    """Id of every entry of a page of a playlist, with what the entry itself says of its state."""
    for item in _dicts(page.get("items")):
        video = _text(_dict(item.get("contentDetails")).get("videoId")) or ""
        state = _dict(item.get("status")).get("privacyStatus")
        # An id goes into addresses and file names: one of another form is never used.
        if _VIDEO.fullmatch(video):
            yield video, State.PRIVATE if state == "private" else None


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

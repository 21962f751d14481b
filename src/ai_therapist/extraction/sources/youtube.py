"""A YouTube playlist or video as a source: only what a rights file vouches for is ever downloaded.

listing (Data API) ─ rights file ─ licence and training answer ─ daily budget ─ download (yt-dlp) ─ recording

rights.json    {"playlists": {"PL…": {"group": …, "consent": {…}}}, "videos": {"abc…": {"group": …, "consent": {…}}}}
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.extraction.config import YouTubeConfig
from ai_therapist.extraction.sources.download import DownloadConfig, RemoteVideo, stage
from ai_therapist.extraction.sources.fetching import MakeExecutor, fetch_all, key_of
from ai_therapist.extraction.sources.recording import Recording, Refusal, RightsFile
from ai_therapist.extraction.sources.youtube_api import ListedVideo, Listing, State, VideoId, YouTubeApi
from ai_therapist.pipeline.driver import Item, Observer
from ai_therapist.privacy.consent import refusal
from ai_therapist.records import Basis, SourceRecord, Use
from ai_therapist.records.base import Record
from ai_therapist.store.blobs import write_atomically
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.workspace import Workspace

_LICENCES = frozenset((Basis.LICENCE_CC_BY, Basis.LICENCE_CC0))


class YouTubeRights(Record):
    """What a rights file holds: who vouches for which playlist or video, and on what ground. A video goes first."""

    playlists: dict[str, RightsFile] = Field(default_factory=dict)
    videos: dict[VideoId, RightsFile] = Field(default_factory=dict)

    def of(self, address: str, video: str) -> RightsFile | None:
        """The rights of a video of this playlist, or None where nobody vouches for it."""
        kind, _, wanted = address.partition(":")
        return self.videos.get(video) or (self.playlists.get(wanted) if kind == "playlist" else None)


class Platform(Record):
    """What YouTube itself said about a video when it was taken in."""

    platform: str = "youtube"
    video: VideoId
    channel: str | None
    licence: str | None
    trainability: tuple[str, ...]
    """`all`, `none` or names; empty where YouTube gave no answer."""


class Downloads(Record):
    """How much was downloaded on a day, and whether YouTube asked for a pause on it."""

    day: date
    started: Annotated[int, Field(ge=0)] = 0
    paused: bool = False


def load_rights(path: Path) -> YouTubeRights:
    """The rights file. Raises MissingInput or InvalidRecord that names the file and the field."""
    try:
        return decode(YouTubeRights, path.read_bytes().removeprefix(codecs.BOM_UTF8), path.name)
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    except InvalidRecord as error:
        raise MissingInput(f"{error}: correct it as docs/extraction.md shows") from None


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class YouTubeSource:
    """The videos of one playlist, or one video."""

    address: str
    """`playlist:ID` or `video:ID`."""
    rights: YouTubeRights
    config: YouTubeConfig
    api: YouTubeApi | None
    """None without a key: then only a complete listing of the workspace is used."""
    make_executor: MakeExecutor
    refresh: bool = False
    """Whether the playlist is listed anew although its listing is complete."""
    download: DownloadConfig | None = None
    """How videos are downloaded; by default from YouTube with the settings."""
    observer: Observer | None = None
    today: Callable[[], date] = field(default=_today)

    def recordings(self, workspace: Workspace) -> tuple[Recording | Refusal, ...]:
        """Every video of the listing. Raises what listing raises, and MissingInput for an empty playlist."""
        listing = self._listed(workspace)
        if not listing.videos:
            raise MissingInput(f"{self.address} holds no video")
        listing, judged = self._judged(workspace, listing)
        items = [
            Item(video, f"youtube-{video}", {"remote": workspace.store.put_bytes(encode(RemoteVideo(id=video)))})
            for video, judgement in judged.items()
            if not isinstance(judgement, str)
        ]
        fetched, refused = self._fetched(workspace, items)
        entries: list[Recording | Refusal] = []
        contents: dict[str, str] = {}
        for video in listing.videos:
            judgement = judged[video.id]
            if isinstance(judgement, str):
                entries.append(Refusal(f"youtube-{video.id}", judgement))
            elif video.id in refused:
                entries.append(refused[video.id])
            else:
                entries.append(self._recording(workspace, video, listing, judgement, fetched[video.id], contents))
        return tuple(entries)

    def _recording(
        self,
        workspace: Workspace,
        video: ListedVideo,
        listing: Listing,
        rights: RightsFile,
        sha256: str,
        contents: dict[str, str],
    ) -> Recording | Refusal:
        name = f"youtube-{video.id}"
        if sha256 in contents:
            return Refusal(name, f"{name} has the same content as {contents[sha256]}, which is kept")
        contents[sha256] = name
        said = Platform(
            video=video.id,
            channel=video.channel,
            licence=video.licence,
            trainability=listing.trainability.get(video.id, ()),
        )
        source = SourceRecord(name=name, sha256=sha256, group=rights.group, consent=rights.consent)
        return Recording(workspace.store.path(sha256), source, {"platform": workspace.store.put_bytes(encode(said))})

    def _listed(self, workspace: Workspace) -> Listing:
        """The complete listing, taken from the workspace where it is there."""
        path = _folder(workspace) / f"{self.address.replace(':', '-')}.json"
        listing = Listing(address=self.address, complete=False)
        if path.exists() and not self.refresh:
            listing = decode(Listing, path.read_bytes(), path.name)
        if listing.complete:
            return listing
        return self._key().list_on(listing, lambda known: write_atomically(path, encode(known)))

    def _key(self) -> YouTubeApi:
        if self.api is None:
            raise RequestError(
                "listing a playlist needs a key of the YouTube Data API: put YOUTUBE_API_KEY into the environment "
                "or into .env"
            )
        return self.api

    def _judged(self, workspace: Workspace, listing: Listing) -> tuple[Listing, dict[str, RightsFile | str]]:
        """The rights of every video, or the reason why it is left out; the listing with the answers on training."""
        judged: dict[str, RightsFile | str] = {}
        answers = dict(listing.trainability)
        for video in listing.videos:
            judgement = judge(video, self.rights.of(listing.address, video.id))
            if not isinstance(judgement, str):
                if video.id not in answers and self.api is not None:
                    answers[video.id] = self.api.trainability(video.id)
                judgement = judge_training(video, judgement, answers.get(video.id, ()))
            judged[video.id] = judgement
        if answers != listing.trainability:
            listing = listing.model_copy(update={"trainability": answers})
            path = _folder(workspace) / f"{self.address.replace(':', '-')}.json"
            write_atomically(path, encode(listing))
        return listing, judged

    def _fetched(self, workspace: Workspace, items: list[Item]) -> tuple[dict[str, str], dict[str, Refusal]]:
        """Sha256 of what is there, and why the rest is not; within today's budget."""
        config = self.download or DownloadConfig(max_height_px=self.config.max_height_px)
        steps, path = stage(config), _folder(workspace) / "downloads.json"
        day = Downloads(day=self.today())
        if path.exists() and (known := decode(Downloads, path.read_bytes(), path.name)).day == day.day:
            day = known
        store = workspace.store
        new = [i for i in items if store.action(key_of(steps, i)) is None and not store.quarantined(key_of(steps, i))]
        left = 0 if day.paused else max(0, self.config.daily_downloads - day.started)
        late = {item.id for item in new[left:]}
        if new[:left]:
            # Counted before they begin: a killed run has asked for them, too.
            day = day.model_copy(update={"started": day.started + len(new[:left])})
            write_atomically(path, encode(day))
        wanted = [item for item in items if item.id not in late]
        fetched, refused, pause = fetch_all(workspace, steps, wanted, self.make_executor, self.observer)
        if pause is not None:
            write_atomically(path, encode(day.model_copy(update={"paused": True})))
        reason = (
            "YouTube asked for a pause today: run the same command again tomorrow"
            if day.paused
            else f"today's budget of {self.config.daily_downloads} downloads is used up: run the same command tomorrow"
        )
        return fetched, refused | {i.id: Refusal(i.name, f"{i.name}: {reason}") for i in items if i.id in late}


def judge(video: ListedVideo, rights: RightsFile | None) -> RightsFile | str:
    """The rights that hold for a video, or the reason why it is left out. Nothing enters by default."""
    name = f"youtube-{video.id}"
    if video.state is not State.PUBLIC:
        return f"{name} is {video.state}"
    if rights is None:
        return f"{name} has no rights record: add it to the rights file, as docs/extraction.md shows"
    if rights.consent.basis is Basis.FICTIONAL_ROLE_PLAY:
        return f"{name}: that nobody real speaks is no right to the recording: name a licence or a permission"
    if rights.consent.basis is Basis.LICENCE_CC_BY and video.licence != "creativeCommon":
        return f"{name}: YouTube does not give its licence as CC BY: ask for a written permission"
    reason = refusal(rights.consent, Use.TRANSCRIBE)
    return f"{name}: {reason}" if reason is not None else rights


def judge_training(video: ListedVideo, rights: RightsFile, trainability: tuple[str, ...]) -> RightsFile | str:
    """The same rights, or the reason: a public licence does not outdo a channel that lets nobody train.

    Who recorded it or gave a written permission has said so already; a licence is for everyone and leaves it open.
    """
    by_licence = rights.consent.basis in _LICENCES
    if by_licence and rights.consent.allows(Use.TRAIN) and trainability != ("all",):
        answer = ", ".join(trainability) or "nothing"
        return (
            f"youtube-{video.id}: its channel does not let everyone train on it (YouTube says: {answer}): take 'train' "
            "out of permitted_uses or ask for a written permission"
        )
    return rights


def _folder(workspace: Workspace) -> Path:
    return workspace.root / "sources" / "youtube"

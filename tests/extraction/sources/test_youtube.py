"""A playlist as a source: what nobody vouches for is never downloaded, and everything left out says why."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.extraction.config import ExtractionConfig, YouTubeConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.sources.download import DownloadConfig
from ai_therapist.extraction.sources.recording import Recording, Refusal, RightsFile
from ai_therapist.extraction.sources.youtube import Platform, YouTubeRights, YouTubeSource, load_rights
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Basis, Consent, Subject, Use
from ai_therapist.store.codec import decode
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.workspace import Status, Workspace
from ai_therapist.testing import RecordingSpec, make_recording
from tests.extraction.sources.youtube_server import PLAYLIST, FakeYouTube, error

OWN, OPEN, CLOSED, HIDDEN, GONE, NOBODY = (f"{name:_<11}" for name in ("own", "open", "closed", "hidden", "gone", "x"))


def rights(basis: Basis, *uses: Use) -> RightsFile:
    consent = Consent(
        basis=basis,
        permitted_uses=frozenset(uses or (Use.TRANSCRIBE, Use.ANNOTATE)),
        evidence="a form in the cabinet",
        recorded_on=date(2026, 1, 1),
        subject=Subject.ROLE_PLAY,
        adults_only=True,
    )
    return RightsFile(group="channel", consent=consent)


@dataclass
class Stage:
    """A YouTube of this machine and a workspace."""

    youtube: FakeYouTube
    workspace: Workspace
    media: dict[str, bytes]
    source: YouTubeSource
    downloads: list[str] = field(default_factory=list)

    def take(self, **changes: object) -> dict[str, Recording | Refusal]:
        found = replace(self.source, **changes).recordings(self.workspace)  # type: ignore[arg-type]
        assert len(found) == len(self.youtube.videos)
        return {entry.source.name if isinstance(entry, Recording) else entry.name: entry for entry in found}

    def reason(self, video: str, **changes: object) -> str:
        entry = self.take(**changes)[f"youtube-{video}"]
        assert isinstance(entry, Refusal), "it was let in"
        return entry.reason


@pytest.fixture
def stage(httpserver: HTTPServer, workspace: Workspace, tmp_path: Path) -> Stage:
    states = {OWN: "public", OPEN: "public", CLOSED: "public", HIDDEN: "private", GONE: "deleted", NOBODY: "public"}
    youtube = FakeYouTube(httpserver, states, licences={OPEN: "creativeCommon"})
    made = {
        video: make_recording(tmp_path / f"{video}.mp4", RecordingSpec(duration_ms=240, tone_hz=300 + number))
        for number, video in enumerate((OWN, OPEN, CLOSED))
    }
    vouched = YouTubeRights(
        playlists={},
        videos={
            OWN: rights(Basis.OWN_SIGNED_CONSENT),
            OPEN: rights(Basis.LICENCE_CC_BY),
            CLOSED: rights(Basis.LICENCE_CC_BY),
            HIDDEN: rights(Basis.WRITTEN_PERMISSION),
            GONE: rights(Basis.WRITTEN_PERMISSION),
        },
    )
    source = YouTubeSource(
        address=f"playlist:{PLAYLIST}",
        rights=vouched,
        config=YouTubeConfig(),
        api=youtube.api(),
        make_executor=InlineExecutor,
        download=DownloadConfig(
            address=httpserver.url_for("/media/{id}.mp4"),
            extractor="generic",
            own_addresses=frozenset(("127.0.0.1",)),
            pause_s=0,
        ),
        today=lambda: date(2026, 11, 25),
    )
    found = Stage(youtube, workspace, {video: path.read_bytes() for video, path in made.items()}, source)

    def send(request: Request) -> Response:
        video = request.path.removeprefix("/media/").removesuffix(".mp4")
        found.downloads.append(video)
        if video not in found.media:
            return Response("no", status=404)
        return Response(found.media[video], content_type="video/mp4")

    httpserver.expect_request(re.compile("/media/.*")).respond_with_handler(send)
    return found


def test_what_is_vouched_for_comes_in_and_the_rest_says_why(stage: Stage) -> None:
    stage.youtube.trainability = {OWN: ["none"], OPEN: ["all"]}
    found = stage.take()
    assert {name for name, entry in found.items() if isinstance(entry, Recording)} == {
        f"youtube-{OWN}",
        f"youtube-{OPEN}",
    }
    reasons = {name: entry.reason for name, entry in found.items() if isinstance(entry, Refusal)}
    remedy = "add it to the rights file, as docs/extraction.md shows"
    assert set(reasons.values()) == {
        f"youtube-{CLOSED}: YouTube does not give its licence as CC BY: ask for a written permission",
        f"youtube-{HIDDEN} is private",
        f"youtube-{GONE} is deleted",
        f"youtube-{NOBODY} has no rights record: {remedy}",
    }
    assert set(stage.downloads) == {OWN, OPEN}
    own = found[f"youtube-{OWN}"]
    assert isinstance(own, Recording)
    assert own.path.read_bytes() == stage.media[OWN]
    said = decode(Platform, stage.workspace.store.read(own.artefacts["platform"]), "platform")
    assert (said.licence, said.trainability, said.channel) == ("youtube", ("none",), "UCchannel")


def test_a_second_run_asks_for_nothing(stage: Stage) -> None:
    first = stage.take()
    calls, downloads = sum(stage.youtube.calls.values()), len(stage.downloads)
    assert stage.take(api=None) == first
    assert (sum(stage.youtube.calls.values()), len(stage.downloads)) == (calls, downloads)
    stage.youtube.videos = {OWN: "public"}
    assert set(stage.take(refresh=True)) == {f"youtube-{OWN}"}


def test_a_listing_that_stops_half_way_is_never_taken_for_the_whole(stage: Stage) -> None:
    stage.youtube.refusals = {("playlistItems", 2): error(403, "quotaExceeded")}
    with pytest.raises(RequestError, match="what was listed is kept"):
        stage.take()
    assert stage.downloads == []
    with pytest.raises(RequestError, match="YOUTUBE_API_KEY"):
        stage.take(api=None)
    assert len(stage.take()) == 6
    assert stage.youtube.calls["playlistItems"] == 4


def test_an_empty_playlist_holds_nothing(stage: Stage) -> None:
    stage.youtube.videos = {}
    with pytest.raises(MissingInput, match="holds no video"):
        stage.take()


@pytest.mark.parametrize("answer", [None, ["none"], ["some company"], []])
def test_a_public_licence_does_not_outdo_a_channel_that_lets_nobody_train(
    answer: list[str] | None, stage: Stage
) -> None:
    by_licence = YouTubeRights(videos={OPEN: rights(Basis.LICENCE_CC_BY, Use.TRANSCRIBE, Use.TRAIN)})
    stage.youtube.trainability = {OPEN: answer} if answer is not None else {}
    assert "does not let everyone train on it" in stage.reason(OPEN, rights=by_licence)
    assert stage.downloads == []
    written = YouTubeRights(videos={OPEN: rights(Basis.WRITTEN_PERMISSION, Use.TRANSCRIBE, Use.TRAIN)})
    assert isinstance(stage.take(rights=written)[f"youtube-{OPEN}"], Recording)


def test_rights_to_something_else_are_no_rights(stage: Stage) -> None:
    only = YouTubeRights(videos={OWN: rights(Basis.OWN_SIGNED_CONSENT, Use.PUBLISH)})
    assert "does not permit 'transcribe'" in stage.reason(OWN, rights=only)
    invented = YouTubeRights(videos={OWN: rights(Basis.FICTIONAL_ROLE_PLAY)})
    assert "is no right to the recording" in stage.reason(OWN, rights=invented)
    whole = YouTubeRights(playlists={PLAYLIST: rights(Basis.WRITTEN_PERMISSION)}, videos=only.videos)
    assert "does not permit" in stage.reason(OWN, rights=whole)
    assert isinstance(stage.take(rights=whole)[f"youtube-{OPEN}"], Recording)


def test_a_failed_download_is_quarantined_and_asked_for_no_more(stage: Stage) -> None:
    del stage.media[OWN]
    entry = stage.take()[f"youtube-{OWN}"]
    assert isinstance(entry, Refusal)
    assert (entry.failure, entry.reason) == (True, f"{OWN} is deleted or not shown")
    stage.downloads.clear()
    assert stage.take()[f"youtube-{OWN}"] == entry
    assert stage.downloads == []


def test_the_budget_of_a_day_is_kept_over_runs(stage: Stage) -> None:
    config = YouTubeConfig(daily_downloads=1)
    assert "budget of 1 downloads is used up" in stage.reason(OPEN, config=config)
    assert "budget" in stage.reason(OPEN, config=config)
    found = stage.take(config=config, today=lambda: date(2026, 11, 26))
    assert isinstance(found[f"youtube-{OPEN}"], Recording)
    assert isinstance(found[f"youtube-{OWN}"], Recording)


def test_a_pause_stops_the_source_for_the_day_and_keeps_what_is_there(stage: Stage) -> None:
    stage.youtube.server.expect_oneshot_request(f"/media/{OPEN}.mp4").respond_with_data("busy", status=429)
    found = stage.take()
    assert isinstance(found[f"youtube-{OWN}"], Recording)
    paused = found[f"youtube-{OPEN}"]
    assert isinstance(paused, Refusal)
    assert "YouTube asks whether a person is there" in paused.reason
    assert not paused.failure
    stage.downloads.clear()
    assert "asked for a pause today" in stage.reason(OPEN)
    assert stage.downloads == []
    assert isinstance(stage.take(today=lambda: date(2026, 11, 26))[f"youtube-{OPEN}"], Recording)


def test_what_was_forgotten_is_not_fetched_again(stage: Stage) -> None:
    run = extract(stage.workspace, ExtractionConfig(), stage.source, InlineExecutor(stage.workspace.store))
    assert run.read == 6
    (own,) = [item for item in run.done if item.name == f"youtube-{OWN}"]
    forget(stage.workspace, plan(stage.workspace, own.item))
    recording = own.artefacts["recording"]
    assert not stage.workspace.store.has(recording)
    assert recording not in "".join(
        path.read_text() for path in (stage.workspace.root / "store" / "act").rglob("*.json")
    )
    stage.downloads.clear()
    run = extract(stage.workspace, ExtractionConfig(), stage.source, InlineExecutor(stage.workspace.store))
    assert stage.downloads == []
    (left,) = [item for item in run.items if item.name == f"youtube-{OWN}"]
    assert left.status is Status.SKIPPED
    assert "was forgotten here on request" in str(left.reason)


@pytest.mark.parametrize("content", ["", "{", '{"videos": {"../x": {}}}', '{"video": {}}', "[]"])
def test_a_rights_file_that_is_none_is_told_with_its_fields(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rights.json"
    path.write_text(content)
    with pytest.raises(MissingInput, match=r"rights\.json"):
        load_rights(path)
    with pytest.raises(MissingInput, match="No such file"):
        load_rights(tmp_path / "none.json")


def test_a_rights_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rights.json"
    consent = json.loads(rights(Basis.LICENCE_CC0).model_dump_json())
    path.write_text(json.dumps({"playlists": {PLAYLIST: consent}}))
    found = load_rights(path)
    assert found.of(f"playlist:{PLAYLIST}", OWN) == rights(Basis.LICENCE_CC0)
    assert found.of(f"video:{OWN}", OWN) is None
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert load_rights(path) == found

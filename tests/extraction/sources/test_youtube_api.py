"""Listing a playlist: pages, states, refusals told apart, a part never taken for the whole, the key never shown."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from ai_therapist.errors import AiTherapistError, ConfigError, MissingInput, RequestError, TransientError
from ai_therapist.extraction.sources.youtube_api import ListedVideo, Listing, State, YouTubeApi, parse_address
from tests.extraction.sources.youtube_server import KEY, PLAYLIST, FakeYouTube, error

ONE, TWO, THREE, FOUR, FIVE = ("aaaaaaaaaa1", "-bbbbbbbbb2", "_cccccccc-3", "dddddddddd4", "eeeeeeeeee5")


@pytest.fixture
def youtube(httpserver: HTTPServer) -> FakeYouTube:
    states = {ONE: "public", TWO: "private", THREE: "deleted", FOUR: "public", FIVE: "public"}
    return FakeYouTube(httpserver, states, licences={FOUR: "creativeCommon"})


def list_all(youtube: FakeYouTube, listing: Listing | None = None) -> tuple[Listing, list[Listing]]:
    kept: list[Listing] = []
    start = listing or Listing(address=f"playlist:{PLAYLIST}", complete=False)
    return youtube.api().list_on(start, kept.append), kept


def test_a_playlist_is_listed_page_by_page_and_states_are_told_apart(youtube: FakeYouTube) -> None:
    listing, kept = list_all(youtube)
    assert listing.complete
    assert [(video.id, video.state, video.licence) for video in listing.videos] == [
        (ONE, State.PUBLIC, "youtube"),
        (TWO, State.PRIVATE, None),
        (THREE, State.DELETED, None),
        (FOUR, State.PUBLIC, "creativeCommon"),
        (FIVE, State.PUBLIC, "youtube"),
    ]
    assert [part.complete for part in kept] == [False, False, True]
    assert youtube.calls == {"playlistItems": 3, "videos": 3}
    assert "Title" not in repr(listing)


def test_one_video_is_a_listing_of_its_own(youtube: FakeYouTube) -> None:
    listing, _ = list_all(youtube, Listing(address=f"video:{FOUR}", complete=False))
    assert listing.videos == (ListedVideo(id=FOUR, state=State.PUBLIC, licence="creativeCommon", channel="UCchannel"),)
    listing, _ = list_all(youtube, Listing(address=f"video:{THREE}", complete=False))
    assert listing.videos[0].state is State.DELETED


REFUSALS = [
    (error(403, "quotaExceeded"), RequestError, "the quota of the YouTube Data API is used up"),
    (error(403, "dailyLimitExceeded"), RequestError, "midnight Pacific time"),
    (error(403, "rateLimitExceeded"), RequestError, "used up"),
    (error(400, "badRequest", detail="API_KEY_INVALID"), ConfigError, "does not accept YOUTUBE_API_KEY"),
    (error(400, "keyInvalid"), ConfigError, "does not accept YOUTUBE_API_KEY"),
    (error(403, "accessNotConfigured"), ConfigError, "may use the YouTube Data API"),
    (error(403, "forbidden", detail="SERVICE_DISABLED"), ConfigError, "does not accept"),
    (error(401, "authError"), ConfigError, "does not accept"),
    (error(403, "playlistItemsNotAccessible"), RequestError, "does not show this playlist: it is private"),
    (error(404, "playlistNotFound"), MissingInput, "no such playlist"),
    (Response("<html>no</html>", status=403), RequestError, "is private"),
    (Response("[" * 5000, status=403), RequestError, "is private"),
    (Response("<html>hello</html>"), TransientError, "no JSON object"),
    (Response("[1]"), TransientError, "no JSON object"),
    (Response("", status=302, headers={"Location": "http://evil.org/"}), RequestError, "not among"),
    (Response("", status=418), TransientError, "answers 418"),
]


@pytest.mark.parametrize(("refusal", "kind", "reason"), REFUSALS)
def test_a_refusal_is_told_for_what_it_is_and_what_was_listed_is_kept(
    refusal: Response, kind: type[AiTherapistError], reason: str, youtube: FakeYouTube
) -> None:
    youtube.refusals = {("playlistItems", number): refusal for number in range(2, 9)}
    kept: list[Listing] = []
    with pytest.raises(kind, match=reason) as told:
        youtube.api().list_on(Listing(address=f"playlist:{PLAYLIST}", complete=False), kept.append)
    assert type(told.value) is kind or kind is RequestError
    assert KEY not in str(told.value)
    (part,) = kept
    assert not part.complete
    assert [video.id for video in part.videos] == [ONE, TWO]
    youtube.refusals = {}
    listing, _ = list_all(youtube, part)
    assert [video.id for video in listing.videos] == [ONE, TWO, THREE, FOUR, FIVE]


def test_a_busy_service_is_asked_again_as_it_wishes_and_not_for_ever(youtube: FakeYouTube) -> None:
    youtube.refusals = {
        ("playlistItems", 1): Response("", status=429, headers={"Retry-After": "7"}),
        ("playlistItems", 2): Response("", status=503, headers={"Retry-After": "999999"}),
        ("videos", 1): Response("", status=500, headers={"Retry-After": "soon"}),
    }
    assert list_all(youtube)[0].complete
    assert youtube.waits == [7.0, 60.0, 1.0]
    youtube.refusals = {("videos", number): Response("", status=503) for number in range(1, 99)}
    with pytest.raises(TransientError, match="answers 503 to videos"):
        list_all(youtube)


def test_a_listing_without_end_is_noticed(youtube: FakeYouTube) -> None:
    page = Response('{"items": [], "nextPageToken": "2"}', content_type="application/json")
    youtube.refusals = {("playlistItems", number): page for number in range(1, 9)}
    with pytest.raises(TransientError, match="does not come to an end"):
        list_all(youtube)


def test_entries_that_are_none_are_left_out(youtube: FakeYouTube) -> None:
    body = (
        '{"items": [1, {}, {"contentDetails": {"videoId": "../../etc/x"}}, {"contentDetails": {"videoId": 7}}, '
        f'{{"contentDetails": {{"videoId": "{ONE}"}}}}, {{"contentDetails": {{"videoId": "{ONE}"}}}}]}}'
    )
    youtube.refusals = {("playlistItems", 1): Response(body, content_type="application/json")}
    assert [video.id for video in list_all(youtube)[0].videos] == [ONE]


def test_who_may_train_is_asked_and_no_answer_is_nobody(youtube: FakeYouTube) -> None:
    youtube.trainability = {ONE: ["all"], TWO: ["z", "a"]}
    api = youtube.api()
    assert [api.trainability(video) for video in (ONE, TWO, THREE)] == [("all",), ("a", "z"), ()]


def test_the_key_is_in_no_representation() -> None:
    assert KEY not in repr(YouTubeApi(KEY))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"youtube:{PLAYLIST}", f"playlist:{PLAYLIST}"),
        (f"youtube:{TWO}", f"video:{TWO}"),
        (f"https://www.youtube.com/playlist?list={PLAYLIST}", f"playlist:{PLAYLIST}"),
        (f"https://www.youtube.com/watch?v={TWO}&t=3", f"video:{TWO}"),
        (f"https://youtu.be/{ONE}", f"video:{ONE}"),
        ("youtube:OLAK5uy_abcdefghijklmnop", "playlist:OLAK5uy_abcdefghijklmnop"),
    ],
)
def test_a_source_is_named_by_id_or_address(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "youtube:",
        "youtube:short",
        f"youtube:{ONE}x",
        f"youtube:{ONE}/..",
        "youtube:--exec=touch x",
        "youtube:PL../../../etc/passwd",
        "youtube:PLabc def ghijklm",
        f"http://www.youtube.com/watch?v={ONE}",
        f"https://www.youtube.com.evil.org/watch?v={ONE}",
        f"https://evil.org/watch?v={ONE}",
        f"https://www.youtube.com@evil.org/watch?v={ONE}",
        f"https://user@www.youtube.com/watch?v={ONE}",
        f"https://www.youtube.com:444/watch?v={ONE}",
        f"https://www.youtube.com\\@evil.org/watch?v={ONE}",
        f"https://www.youtube.com/watch?v={ONE}&v={FIVE}",
        f"https://www.youtube.com/redirect?q=https://evil.org&v={ONE}",
        f"https://www.youtube.com/watch?v={ONE}\n",
        f"https://уoutube.com/watch?v={ONE}",
        f"https://youtu.be/{ONE}/x",
        "https://[::1/watch?v=x",
        f"file:///{ONE}",
    ],
)
def test_anything_else_names_no_source(text: str) -> None:
    with pytest.raises(ConfigError, match="names no YouTube playlist or video"):
        parse_address(text)

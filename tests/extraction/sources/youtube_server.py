"""A server on this machine that speaks the part of the YouTube Data API that is used here."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ai_therapist.extraction.sources.web import WebRules
from ai_therapist.extraction.sources.youtube_api import YouTubeApi

PLAYLIST = "PLabcdefghijklm"
KEY = "AIza-canary-key-of-a-test"


def error(status: int, reason: str, *, detail: str | None = None) -> Response:
    """A refusal in the form of the Data API."""
    body: dict[str, object] = {"code": status, "message": f"no: {KEY}", "errors": [{"reason": reason}]}
    if detail is not None:
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": detail}]
    return Response(json.dumps({"error": body}), status=status, content_type="application/json")


@dataclass
class FakeYouTube:
    """Videos of one playlist by id: `public`, `private` or `deleted`; and what the next answers are instead."""

    server: HTTPServer
    videos: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    trainability: dict[str, list[str]] = field(default_factory=dict)
    page_size: int = 2
    refusals: dict[tuple[str, int], Response] = field(default_factory=dict)
    """By method and number of the call, from 1."""
    calls: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        for method in ("playlistItems", "videos", "videoTrainability"):
            self.server.expect_request(f"/youtube/v3/{method}").respond_with_handler(self._answer)

    def api(self) -> YouTubeApi:
        """A client that asks this server."""
        rules = WebRules(
            frozenset((self.server.host,)), schemes=frozenset(("http",)), own_addresses=frozenset(("127.0.0.1",))
        )
        return YouTubeApi(KEY, self.server.url_for("").rstrip("/"), rules, self.waits.append)

    def _answer(self, request: Request) -> Response:
        method = request.path.rpartition("/")[2]
        self.calls[method] += 1
        assert KEY not in request.url
        refusal = self.refusals.get((method, self.calls[method]))
        if refusal is not None:
            return refusal
        if request.headers.get("X-Goog-Api-Key") != KEY:
            return error(400, "badRequest", detail="API_KEY_INVALID")
        answers = {"playlistItems": self._items, "videos": self._videos, "videoTrainability": self._trainability}
        body = answers[method](request)
        return Response(json.dumps(body), content_type="application/json") if body is not None else error(404, "none")

    def _items(self, request: Request) -> dict[str, object] | None:
        if request.args["playlistId"] != PLAYLIST:
            return None
        start = int(request.args.get("pageToken", "0"))
        ids = list(self.videos)[start : start + self.page_size]
        states = {"private": "private", "deleted": "privacyStatusUnspecified"}
        page: dict[str, object] = {
            "items": [
                {
                    "contentDetails": {"videoId": video},
                    "status": {"privacyStatus": states.get(self.videos[video], "public")},
                }
                for video in ids
            ]
        }
        if start + self.page_size < len(self.videos):
            page["nextPageToken"] = str(start + self.page_size)
        return page

    def _videos(self, request: Request) -> dict[str, object]:
        return {
            "items": [
                {
                    "id": video,
                    "status": {"privacyStatus": "public", "license": self.licences.get(video, "youtube")},
                    "snippet": {"channelId": "UCchannel", "title": "Title Of What They Said"},
                }
                for video in request.args["id"].split(",")
                if self.videos.get(video) == "public"
            ]
        }

    def _trainability(self, request: Request) -> dict[str, object] | None:
        video = request.args["id"]
        if video not in self.trainability:
            return None
        return {"kind": "youtube#videoTrainability", "videoId": video, "permitted": self.trainability[video]}

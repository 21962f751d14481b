"""A loopback stand-in for AssemblyAI that speaks its protocol to the vendor's own SDK, and counts what is paid for."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

WORDS: list[dict[str, object]] = [
    {"text": "how", "start": 100, "end": 300, "confidence": 0.9, "speaker": "A"},
    {"text": "so", "start": 1000, "end": 1200, "confidence": 0.8, "speaker": "B"},
]
ANSWER: dict[str, object] = {
    "text": "how so",
    "confidence": 0.85,
    "speech_model_used": "stand-in",
    "words": WORDS,
    "utterances": [
        {
            "speaker": word["speaker"],
            "start": word["start"],
            "end": word["end"],
            "text": word["text"],
            "confidence": word["confidence"],
            "words": [word],
        }
        for word in WORDS
    ],
}


@dataclass
class Service:
    """What the stand-in knows, and how it misbehaves."""

    server: HTTPServer
    uploads: list[bytes] = field(default_factory=list)
    submitted: list[dict[str, object]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    polls: int = 0
    finished: bool = True
    answer: dict[str, object] = field(default_factory=lambda: dict(ANSWER))
    faults: dict[str, list[Response]] = field(default_factory=dict)
    """Answers given first, by "upload", "submit", "poll", "list"."""
    before_submit: Callable[[Request], Response | None] = lambda request: None
    """Called when a submission arrives; what it gives is the answer, and nothing is begun."""
    after_submit: Callable[[], Response | None] = lambda: None
    """Called when a submission is accepted and before it is answered; what it gives is the answer instead."""
    listed_after_s: float = 0.0
    """How long a transcription that was begun is not in the list yet."""
    others: int = 0
    """Transcriptions of other people's, newer than ours, in the list."""
    pages: int = 0
    """Pages of the list that were asked for."""
    begun_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/v2/upload", method="POST").respond_with_handler(self._upload)
        self.server.expect_request("/v2/transcript", method="POST").respond_with_handler(self._submit)
        self.server.expect_request("/v2/transcript", method="GET").respond_with_handler(self._list)
        for number in range(20):
            path = f"/v2/transcript/job-{number}"
            self.server.expect_request(path, method="GET").respond_with_handler(self._poll)
            self.server.expect_request(path, method="DELETE").respond_with_handler(self._delete)

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url_for("").rstrip("/")

    def _fault(self, kind: str, request: Request) -> Response | None:
        self.keys.add(request.headers.get("authorization"))
        return self.faults[kind].pop(0) if self.faults.get(kind) else None

    def _upload(self, request: Request) -> Response:
        data = request.get_data()
        fault = self._fault("upload", request)
        if fault is None:
            self.uploads.append(data)
        return fault or _json({"upload_url": f"https://cdn.example.org/{len(self.uploads)}"})

    def _submit(self, request: Request) -> Response:
        fault = self._fault("submit", request) or self.before_submit(request)
        if fault is not None:
            return fault
        self.submitted.append(json.loads(request.get_data()))
        self.begun_s.append(time.time())
        return self.after_submit() or _json(self._state(len(self.submitted) - 1, "queued"))

    def _list(self, request: Request) -> Response:
        self.pages += 1
        ours = [
            entry(f"job-{number}", str(one["audio_url"]), begun_s)
            for number, (one, begun_s) in enumerate(zip(self.submitted, self.begun_s, strict=True))
            if time.time() >= begun_s + self.listed_after_s
        ]
        theirs = [entry(f"other-{number}", f"https://x/{number}", time.time()) for number in range(self.others)]
        old = [entry(f"old-{number}", f"https://y/{number}", 1e9 - number) for number in range(500)]
        items = [*theirs, *ours[::-1], *old]
        before, limit = request.args.get("before_id"), int(request.args.get("limit", 10))
        begin = next((place for place, one in enumerate(items, 1) if one["id"] == before), 0)
        shown = items[begin : begin + limit]
        older = f"{self.url}/v2/transcript?limit={limit}&before_id={shown[-1]['id']}" if shown else None
        page = {"limit": limit, "result_count": len(shown), "current_url": "x", "prev_url": older, "next_url": None}
        return self._fault("list", request) or _json({"page_details": page, "transcripts": shown})

    def _poll(self, request: Request) -> Response:
        self.polls += 1
        fault = self._fault("poll", request)
        if fault is not None:
            return fault
        number = int(request.path.rpartition("-")[2])
        if number >= len(self.submitted) or f"job-{number}" in self.deleted:
            return _json({"error": "Transcript not found"}, 404)
        if not self.finished:
            return _json(self._state(number, "processing"))
        return _json({"status": "completed", **self._state(number, "completed"), **self.answer})

    def _delete(self, request: Request) -> Response:
        self.deleted.append(request.path.rpartition("/")[2])
        return _json(self._state(0, "completed"))

    def _state(self, number: int, status: str) -> dict[str, object]:
        return {"id": f"job-{number}", "status": status, "audio_url": self.submitted[number]["audio_url"]}


def entry(identity: str, address: str, begun_s: float) -> dict[str, str]:
    # The service names no zone; its times are in UTC.
    created = datetime.fromtimestamp(begun_s, UTC).replace(tzinfo=None).isoformat()
    return {"audio_url": address, "created": created, "id": identity, "resource_url": "x", "status": "processing"}


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")


def failing(status: int, body: str = '{"error": "no"}', **headers: str) -> Response:
    """An answer that is none."""
    return Response(body, status, headers={name.replace("_", "-"): text for name, text in headers.items()})

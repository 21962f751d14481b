"""A server on this machine that speaks the protocols of language model services, and fails in every way they do.

It proves what our calls and the vendors' libraries do, not what the services accept.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """All words of the request's messages, in either protocol."""
        return json.dumps(self.json, ensure_ascii=False)


@dataclass(frozen=True)
class Said:
    """One answer, or one way of not answering."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: int | None = None
    """Send so many bytes of the body and hang up."""
    hang_up: bool = False
    """Close the connection without a word."""
    reset: bool = False
    """Reset the connection without a word."""


Answer = Callable[[Asked], Said]


class ModelServer:
    """Answers every request with `answer` and remembers it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.url = ""

    def calls(self, ending: str) -> list[Asked]:
        """Requests whose path ends so, leaving out its query."""
        return [asked for asked in self.asked if asked.path.partition("?")[0].endswith(ending)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        """One request of any method."""
        assert isinstance(self.server, _Http)
        model = self.server.model
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # The client died while it asked: no server answers, or bills, half a request.
            self.close_connection = True
            return
        asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        with model.lock:
            model.asked.append(asked)
            said = model.answer(asked)
        time.sleep(said.delay_s)
        self.close_connection = True
        if said.reset:
            # A linger of zero makes closing a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if said.hang_up:
            return
        self.send_response(said.status)
        for name, value in {"Content-Type": "application/json", **said.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body if said.cut is None else said.body[: said.cut])

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing is logged."""

    def handle(self) -> None:
        """A client that hangs up first is no fault of the server."""
        try:
            super().handle()
        except (ConnectionError, ValueError, OSError):
            return


for _method in ("GET", "POST", "PUT", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.respond)


class _Http(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def __init__(self, model: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up first is no fault of the server."""


@contextmanager
def serving(answer: Answer) -> Iterator[ModelServer]:
    """A running server."""
    model = ModelServer(answer)
    server = _Http(model)
    model.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def openai_says(
    text: str | None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    logprobs: list[dict[str, Any]] | None = None,
    usage: tuple[int, int] | None = (100, 10),
) -> Said:
    """A chat completion."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, "refusal": refusal},
        "logprobs": None if logprobs is None else {"content": logprobs},
    }
    body: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Said(body=json.dumps(body).encode())


def openai_streams(pieces: list[str], *, finish: str = "stop", broken: bool = False) -> Said:
    """A streamed chat completion, without its end where it is broken."""
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks: list[dict[str, Any]] = [
        {**frame, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces
    ]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    chunks.append({**frame, "choices": [], "usage": usage})
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    return Said(body=body, headers={"Content-Type": "text/event-stream"}, cut=len(body) // 2 if broken else None)


def gemini_says(
    text: str | None,
    *,
    finish: str | None = "STOP",
    block: str | None = None,
    usage: tuple[int, int, int] = (100, 10, 5),
) -> Said:
    """A generateContent reply."""
    body: dict[str, Any] = {
        "usageMetadata": {
            "promptTokenCount": usage[0],
            "candidatesTokenCount": usage[1],
            "thoughtsTokenCount": usage[2],
        }
    }
    if block is not None:
        body["promptFeedback"] = {"blockReason": block}
    else:
        content = {"role": "model", "parts": [] if text is None else [{"text": text}]}
        body["candidates"] = [{"content": content, "finishReason": finish}]
    return Said(body=json.dumps(body).encode())


def failing(status: int, **headers: str) -> Said:
    """An error as both services send it."""
    body = {"error": {"message": "what the client said", "code": status, "status": "X", "type": "x"}}
    return Said(status, json.dumps(body).encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def gzipped(said: Said) -> Said:
    """The same answer, compressed though nobody asked for it."""
    return Said(said.status, gzip.compress(said.body), {"Content-Encoding": "gzip"})

"""What stands before every request: whom the server answers, how much it reads, and what every answer carries."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.metrics import Metrics
from ai_therapist.serving.refusal import Refused, as_response

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""On every answer that does not set them itself: a page needs a policy of its own."""

_ALLOWED_ANYWAY = ("authorization", "content-type")
_FEW_NAMES = re.compile(r"[a-z0-9-]{1,64}(?: ?, ?[a-z0-9-]{1,64}){0,31}")
"""Names of headers that a page wants to send, as a browser lists them."""


class Guard:
    """Wraps an ASGI app."""

    def __init__(self, app: ASGIApp, config: ServingConfig, metrics: Metrics, password: str | None = None) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._password = password
        self._names = LOOPBACK | {config.host.lower(), *(name.lower() for name in config.hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in config.origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        sender = _Sender(send, self._metrics)
        try:
            origin = self._checked(scope)
            sender.origin = origin
            if scope["method"] == "OPTIONS" and origin is not None:
                await _Preflight()(scope, receive, sender.send)
                return
            self._admitted(scope)
            await self._app(scope, _Reader(receive, self._config, scope).receive, sender.send)
        except Refused as refused:
            if sender.begun:
                raise
            await as_response(refused)(scope, receive, sender.send)

    def _checked(self, scope: Scope) -> bytes | None:
        """The foreign origin that may read the answer, or None. Raises Refused for a host or an origin unknown here."""
        host = _one(scope, b"host")
        if host is None or _name_of(host) not in self._names:
            raise Refused(421, "unknown_host", "this server does not answer under that name (serving.hosts)")
        origin = _one(scope, b"origin")
        if origin is None:
            # A page of another origin that sends no Origin still tells where it comes from.
            if _one(scope, b"sec-fetch-site") in ("cross-site", "same-site") and scope["method"] != "GET":
                raise Refused(403, "foreign_page", "pages of other origins may not call this server")
            return None
        if origin.lower() == f"{scope['scheme']}://{host.lower()}":
            return None
        if origin.lower() in self._origins:
            return origin.encode("latin-1")
        raise Refused(403, "foreign_page", "pages of other origins may not call this server (serving.origins)")

    def _admitted(self, scope: Scope) -> None:
        """Raises Refused (401) where a password is set and the request does not bring it."""
        if self._password is None:
            return
        given = _password_of(_one(scope, b"authorization") or "")
        if not hmac.compare_digest(given, self._password.encode()):
            raise Refused(
                401,
                "no_password",
                "send the server's password as API key (Authorization: Bearer …)",
                headers={"WWW-Authenticate": 'Basic realm="ai-therapist", charset="UTF-8"'},
            )


class _Reader:
    """The body of a request: not too long, and there in time."""

    def __init__(self, receive: Receive, config: ServingConfig, scope: Scope) -> None:
        self._receive = receive
        self._config = config
        self._size = 0
        self._complete = False
        declared = _one(scope, b"content-length")
        if declared is not None and (not declared.isdigit() or int(declared[:20]) > config.body_bytes):
            raise self._too_long()
        if declared is not None and _one(scope, b"transfer-encoding") is not None:
            # Two ends of one body: what a proxy takes for the rest of it may be another request.
            raise Refused(400, "two_lengths", "a body has a length or comes in chunks", headers={"Connection": "close"})
        self._until_s = asyncio.get_running_loop().time() + config.receive_s

    async def receive(self) -> Message:
        """The next part of the body; after its end, the news that the client has left."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:
            raise Refused(
                408, "too_slow", "the request did not arrive in time", headers={"Connection": "close"}
            ) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._config.body_bytes:
                raise self._too_long()
            self._complete = not message.get("more_body", False)
        return message

    def _too_long(self) -> Refused:
        text = f"the request is longer than {self._config.body_bytes} bytes (serving.body_bytes)"
        return Refused(413, "too_long", text, headers={"Connection": "close"})


class _Sender:
    """The answer on its way out, with the headers that every answer carries."""

    def __init__(self, send: Send, metrics: Metrics) -> None:
        self._send = send
        self._metrics = metrics
        self.begun = False
        self.origin: bytes | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.begun = True
            self._metrics.answered(message["status"])
            headers = list(message.get("headers", ()))
            own = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in _HEADERS.items() if name not in own]
            if self.origin is not None:
                headers += [(b"access-control-allow-origin", self.origin), (b"vary", b"origin")]
            message = {**message, "headers": headers}
        await self._send(message)


class _Preflight:
    """The answer to a browser that asks whether a page of an allowed origin may call."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        # OpenAI's client in a browser sends a dozen x-stainless-… headers, and others with its next version.
        asked = (_one(scope, b"access-control-request-headers") or "").lower()
        names = re.split(" ?, ?", asked) if _FEW_NAMES.fullmatch(asked) else []
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", ", ".join(dict.fromkeys((*_ALLOWED_ANYWAY, *names))).encode()),
            (b"access-control-max-age", b"600"),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _one(scope: Scope, name: bytes) -> str | None:
    """The only value of a header. Raises Refused where it comes twice."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise Refused(400, "repeated_header", f"the header {name.decode()} comes more than once")
    return values[0].decode("latin-1").strip() if values else None


def _name_of(host: str) -> str | None:
    """The name in a Host header without its port, in lower case; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def _password_of(authorization: str) -> bytes:
    """The password of a Bearer or Basic header; empty where there is none."""
    scheme, _, value = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip().encode("latin-1")
        case "basic":
            try:
                return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return b""
        case _:
            return b""

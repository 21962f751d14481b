"""What all models on servers share: a connection that cannot be flooded, and what a server's failure means.

401, 403                      the key is refused: everything stops
404, 410                      the server has no such model: everything stops
429, 503, 529                 asked too often: wait and try again
other 5xx, 408, 409, 425      try again
other 4xx                     this request is refused: the clip where it shows one, else the question
no reply, or one cut off      try again; it is counted as paid, since nobody knows
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import NoReturn, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from ai_therapist.errors import (
    AiTherapistError,
    CannotTake,
    ConfigError,
    NoAnswer,
    ServerBusy,
    TransientError,
)
from ai_therapist.models.address import is_loopback
from ai_therapist.models.options import ModelOptions
from ai_therapist.pipeline.limits import Limiter, Quota, Turn

MAX_BODY_BYTES = 4 << 20
"""A longer reply is not read to its end."""

_CONNECT_S = 15.0
_DENIED = frozenset({401, 403})
_UNKNOWN = frozenset({404, 410})
_BUSY = frozenset({429, 503, 529})
_PASSING = frozenset({408, 409, 425})


class Reply(BaseModel):
    """Base of what is read of a server's reply: what is not needed is ignored, values are not shown in errors."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


ReplyT = TypeVar("ReplyT", bound=Reply)


class Service:
    """A model on a server: its name in messages, the credential that opens it, its settings and its limiter."""

    def __init__(self, scope: str, credential: str, options: ModelOptions) -> None:
        self.scope = scope
        self.credential = credential
        self.options = options
        self._limiter: Limiter | None = None

    @property
    def limiter(self) -> Limiter:
        """The limiter of the quota, opened when it is first used."""
        if self._limiter is None:
            options = self.options
            self._limiter = Limiter(
                Quota(
                    self.scope,
                    options.requests_per_minute,
                    concurrent=options.concurrent,
                    per_day=options.requests_per_day,
                    ceiling_usd=options.max_spend_usd,
                    account=options.account,
                )
            )
        return self._limiter

    def failure(self, status: int, retry_after_s: float | None, *, shows_media: bool) -> AiTherapistError:
        """What an HTTP status that is no success means, as the error to raise."""
        if status in _DENIED:
            return ConfigError(f"{self.scope} refuses access ({status}): check {self.credential}")
        if status in _UNKNOWN:
            return ConfigError(f"{self.scope}: the server knows no such model ({status}): check its name and address")
        if status in _BUSY:
            return ServerBusy(f"the server is busy ({status})", retry_after_s)
        if status in _PASSING or status >= 500:
            return TransientError(f"the server failed ({status})")
        if 300 <= status < 400:
            return ConfigError(f"{self.scope} redirects to another address ({status}), which is not followed")
        if shows_media:
            return CannotTake(f"the server refuses the clip ({status})")
        return NoAnswer(f"the server refuses the request ({status})")

    def raise_failure(self, turn: Turn, status: int, retry_after_s: float | None, *, shows_media: bool) -> NoReturn:
        """Tell the turn that the server answered and charged nothing, and raise what its status means."""
        error = self.failure(status, retry_after_s, shows_media=shows_media)
        if isinstance(error, TransientError):
            turn.failed(error, charged=False)
        else:
            turn.succeeded(0.0)
        raise error

    def read(self, kind: type[ReplyT], body: bytes | str) -> ReplyT:
        """The reply that a body holds. Raises TransientError where it holds none: it may have been cut off."""
        try:
            return kind.model_validate(json.loads(body))
        except (ValueError, RecursionError, ValidationError):
            raise TransientError("what came is not the reply of such a server") from None


def bounded_client(url: str | None, timeout_s: float) -> httpx2.Client:
    """A connection that follows no redirect, asks for no compression and gives up on a reply too long or too slow.

    To this machine (`url`) it goes straight, whatever proxy is configured.
    """
    return httpx2.Client(
        timeout=httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
        follow_redirects=False,
        # A kept connection that the server has closed meanwhile fails in a way that looks like a call that was paid.
        limits=httpx2.Limits(max_keepalive_connections=0),
        trust_env=url is None or not is_loopback(url),
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [lambda response: _bound(response, timeout_s)]},
    )


def _bound(response: httpx2.Response, timeout_s: float) -> None:
    """Let the body end at MAX_BODY_BYTES or at the deadline, with an error. Refuses a compressed one."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        # A thousand bytes of it may be a gigabyte.
        raise httpx2.RemoteProtocolError("a compressed reply, which was not asked for", request=response.request)
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _BoundedStream(response.stream, response.request, time.monotonic() + timeout_s)


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, request: httpx2.Request, deadline: float) -> None:
        self._inner = inner
        self._request = request
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        left = MAX_BODY_BYTES
        for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise httpx2.RemoteProtocolError("a reply longer than is read", request=self._request)
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the reply took too long", request=self._request)
            yield piece

    def close(self) -> None:
        self._inner.close()

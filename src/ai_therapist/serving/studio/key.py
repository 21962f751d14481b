"""Who may open the studio: the browser that was sent to it from the terminal, and no page of another site.

The address that the command prints carries a key that nobody can guess and that lives as long as the process. Opening
it sets a cookie, which no script can read and no other site can send; every other request needs the cookie. A request
that changes something also needs the token that only the page itself holds.
"""

from __future__ import annotations

import hmac
from secrets import token_hex, token_urlsafe
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ai_therapist.serving.refusal import Refused, as_response

TOKEN_HEADER = "x-studio-token"

_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""On what is said at the door; the app behind it has headers of its own."""
_ENTERED = (
    '<!doctype html><meta charset=utf-8><meta http-equiv=refresh content="0;url=/"><title>ai-therapist studio</title>'
)
_CLOSED = (
    "<!doctype html><meta charset=utf-8><title>ai-therapist studio</title><p>This studio belongs to somebody's "
    "terminal. Open the whole address that <code>ai-therapist studio</code> printed there."
)


class Key:
    """The secrets of one running studio."""

    def __init__(self) -> None:
        self.key = token_urlsafe(24)
        """Part of the address that the terminal shows."""
        self.token = token_urlsafe(24)
        """What the page sends with everything that changes something."""
        # Cookies know no ports: two studios on one machine must not overwrite each other's.
        self.cookie = f"studio-{token_hex(4)}"

    def opens(self, given: str) -> bool:
        """Whether this is the key."""
        return hmac.compare_digest(given.encode(), self.key.encode())

    def allows_change(self, given: str | None) -> bool:
        """Whether this is the page's token."""
        return hmac.compare_digest((given or "").encode(), self.token.encode())


class Doorkeeper:
    """Wraps an ASGI app whose routes all need the cookie; `/?key=…` sets it."""

    def __init__(self, app: ASGIApp, key: Key) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
        if scope["method"] == "GET" and scope["path"] == "/" and given and self._key.opens(given):
            # A page that leads on, not a redirect: after one, a browser sent by another site would hold the cookie
            # back. The key leaves the address bar with it, so that no picture of the screen shows it.
            response = HTMLResponse(_ENTERED, headers=_HEADERS)
            response.set_cookie(self._key.cookie, self._key.key, httponly=True, samesite="strict", path="/")
            await response(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Other programs on this machine set cookies as well, and not all of theirs are well formed.
        if not self._key.opens(cookie_parser(headers.get("cookie", "")).get(self._key.cookie, "")):
            refused = as_response(
                Refused(401, "no_key", "open the address that the terminal shows", headers=dict(_HEADERS))
            )
            at_the_door = scope["method"] == "GET" and scope["path"] == "/"
            await (HTMLResponse(_CLOSED, 401, _HEADERS) if at_the_door else refused)(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD") and not self._key.allows_change(headers.get(TOKEN_HEADER)):
            refused = as_response(
                Refused(403, "no_token", "only the studio's own page may change something: reload it")
            )
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

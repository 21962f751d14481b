"""How the server says no: OpenAI's form of an error, in words that never quote the request."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response

HELP = "In danger? Call your emergency number; findahelpline.com and /v1/helplines list people you can reach now."
"""Stands in every refusal of a message that nobody has read."""


@dataclass
class Refused(Exception):
    """A request that is not answered. `message` says what is wrong and how to put it right."""

    status: int
    code: str
    message: str
    param: str | None = None
    """The field of the request that is wrong."""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


def wrong(code: str, message: str, param: str | None = None) -> Refused:
    """The request is wrong (400), in its field `param` where it is one."""
    return Refused(400, code, message, param)


def later(status: int, code: str, message: str, after_s: float) -> Refused:
    """The request is right and comes at a bad time; clients wait `after_s` seconds and try again.

    Nobody has read it, and it may have been a cry for help.
    """
    return Refused(status, code, f"{message}. {HELP}", headers={"Retry-After": str(max(1, round(after_s)))})


def as_response(refused: Refused) -> Response:
    """The refusal in the form that OpenAI's clients read."""
    kind = "invalid_request_error" if refused.status < 500 and refused.status != 429 else "server_error"
    error = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}
    return JSONResponse({"error": error}, refused.status, refused.headers)

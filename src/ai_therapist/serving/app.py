"""The app: routes of the chat, whatever else a page brings along, and the guard around all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ai_therapist import __version__
from ai_therapist.serving.api import chat_router
from ai_therapist.serving.guard import Guard
from ai_therapist.serving.refusal import Refused, as_response
from ai_therapist.serving.service import ChatService


def create_app(service: ChatService, routers: Sequence[APIRouter] = (), *, password: str | None = None) -> Guard:
    """The app that serves `service`; `routers` are other pages' routes, which stand behind the same guard.

    When the app is shut down, running turns get `serving.drain_s` seconds to finish.
    """

    @asynccontextmanager
    async def until_closed(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close(service.serving.drain_s)

    # The pages that FastAPI makes of the routes load scripts from another machine.
    app = FastAPI(
        title="ai-therapist",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=until_closed,
    )
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_here)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _fault)
    app.include_router(chat_router(service))
    for router in routers:
        app.include_router(router)
    return Guard(app, service.serving, service.metrics, password)


async def _refused(_: Request, error: Exception) -> Response:
    return as_response(error) if isinstance(error, Refused) else await _fault(_, error)


async def _fault(_: Request, error: Exception) -> Response:
    """Says nothing of the error, whose message may quote the request."""
    return as_response(Refused(500, "fault", f"a fault of the server ({type(error).__name__})"))


async def _not_here(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "nothing is served at this path", 405: "this path takes another method"}.get(status, "refused")
    return as_response(Refused(status, {404: "no_path", 405: "no_method"}.get(status, "refused"), text))


async def _gone(_: Request, error: Exception) -> Response:
    """Nobody reads this answer."""
    return Response(status_code=499)

"""The routes that OpenAI's clients know, and three of our own: helplines, forgetting, metrics.

POST   /v1/chat/completions       one turn, streamed or whole
GET    /v1/models, /v1/models/ID  the model behind the shell
GET    /v1/helplines              all helplines; needs no model
DELETE /v1/conversations/{id}     forget a kept conversation
GET    /health, /metrics
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ai_therapist import __version__
from ai_therapist.inference.conversation import Speaking
from ai_therapist.inference.events import Card, Done, Event
from ai_therapist.records import Role
from ai_therapist.serving.answer import Answer, Json, as_sse, usage_of, without_notices
from ai_therapist.serving.refusal import Refused
from ai_therapist.serving.request import ChatRequest, read_request
from ai_therapist.serving.service import Ask, ChatService, Turn
from ai_therapist.serving.uploads import received

_SSE = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}


def chat_router(service: ChatService) -> APIRouter:
    """The routes of one service, to be included in an app that `Guard` wraps."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        asked = read_request(await request.body(), service.serving)
        return _Completion(service, asked)

    def model() -> dict[str, object]:
        return {"id": service.model, "object": "model", "created": service.started, "owned_by": "ai-therapist"}

    @router.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [model()]})

    # A name may hold a colon or a slash.
    @router.get("/v1/models/{name:path}")
    async def one_model(name: str) -> Response:
        if name != service.model:
            raise Refused(404, "model_not_found", "the server has another model: see /v1/models", "model")
        return JSONResponse(model())

    @router.get("/v1/helplines")
    async def helplines() -> Response:
        return JSONResponse(service.help().model_dump(mode="json"))

    @router.delete("/v1/conversations/{conversation}")
    async def forget(conversation: str) -> Response:
        if not service.forget(conversation):
            raise Refused(404, "no_conversation", "no such conversation: it was forgotten already")
        return JSONResponse({"object": "conversation.deleted", "deleted": True})

    @router.get("/health")
    async def health() -> Response:
        state = "closing" if service.turnstile.closed else "ok"
        return JSONResponse({"status": state, "version": __version__}, 503 if service.turnstile.closed else 200)

    @router.get("/metrics")
    async def metrics() -> Response:
        gauges = {
            "turns_running": float(service.turnstile.running),
            "turns_waiting": float(service.turnstile.waiting),
            "conversations": float(len(service.conversations)),
        }
        return PlainTextResponse(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    return router


class _Completion(Response):
    """One turn as an answer. When the client leaves, whether in the queue or in the middle, the model is stopped."""

    def __init__(self, service: ChatService, asked: ChatRequest) -> None:
        super().__init__()
        self._service = service
        self._asked = asked
        self._began_s = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await _while_there(receive, self._answer(scope, receive, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, service = self._asked, self._service
        ask = Ask(
            text=asked.last.text,
            clip=received(asked.last.media[0] if asked.last.media else None, service.serving),
            earlier=_earlier(asked),
            conversation=asked.ai_therapist.conversation,
            max_tokens=asked.token_limit,
            manner=asked.manner,
            whole=not asked.stream,
        )
        service.refuse_unfit(ask)
        remarks = ("system_message_not_used",) if asked.brings_instructions else ()
        async with service.turn(ask) as turn:
            answer = Answer(service.model, turn.conversation, asked.ai_therapist.notices, remarks)
            events = self._counted(turn)
            if asked.stream:
                await _stream(send, answer, events, with_usage=asked.wants_usage)
            else:
                await JSONResponse(answer.completion([event async for event in events]))(scope, receive, send)

    async def _counted(self, turn: Turn) -> AsyncIterator[Event]:
        """The events, counted in the metrics; a turn that breaks off counts as abandoned."""
        metrics, first_s, outcome = self._service.metrics, None, "abandoned"
        try:
            async for event in turn.events():
                if first_s is None:
                    first_s = time.monotonic() - self._began_s
                if isinstance(event, Card):
                    metrics.carded(event.form)
                if isinstance(event, Done):
                    outcome = event.outcome
                yield event
        finally:
            metrics.turned(outcome, first_s, time.monotonic() - self._began_s)


async def _stream(send: Send, answer: Answer, events: AsyncIterator[Event], *, with_usage: bool) -> None:
    headers = [(name.encode(), value.encode()) for name, value in _SSE.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    usage: Json | None = None
    async for event in events:
        usage = usage_of(event) or usage
        chunk = answer.chunk(event)
        if with_usage:
            chunk["usage"] = None
        await send({"type": "http.response.body", "body": as_sse(chunk), "more_body": True})
    if with_usage:
        await send({"type": "http.response.body", "body": as_sse(answer.last_chunk(usage)), "more_body": True})
    await send({"type": "http.response.body", "body": as_sse("[DONE]")})


async def _while_there(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and cancel it when the client leaves. Raises what the work raises."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _left(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _earlier(asked: ChatRequest) -> list[tuple[Speaking, str]]:
    """The turns before the last message; what the shell said in them is left out."""
    return [
        (Role.CLIENT, said.text) if said.role == "user" else (Role.THERAPIST, without_notices(said.text))
        for said in asked.earlier
    ]

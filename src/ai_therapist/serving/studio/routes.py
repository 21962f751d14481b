"""The studio's routes: the page, its files, and the JSON that it draws.

GET  /                                   the page
GET  /studio/web/{file}                  its script, style and icon
GET  /studio/about, /studio/helplines    what this studio is; all helplines, which need no model
GET  /studio/sessions, /studio/sessions/{id}, /studio/waveform/{id}, /studio/media/{id}/{name}
GET  /studio/review/queue, /studio/review/question
POST /studio/review/decide, /studio/review/undo
GET  /studio/dataset, /studio/runs, /studio/runs/compare, /studio/report
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import date
from html import escape
from importlib import resources
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.responses import FileResponse, HTMLResponse, Response

from ai_therapist import __version__
from ai_therapist.annotation.review import Look, Order
from ai_therapist.errors import AiTherapistError, InvalidRecord, ItemError, MissingInput, StoreError
from ai_therapist.records import Label, RaterId, Task, load_codebook
from ai_therapist.records.ids import RecordId
from ai_therapist.safety.card import help_card
from ai_therapist.safety.disclosures import opening
from ai_therapist.serving.refusal import Refused
from ai_therapist.serving.studio import shown
from ai_therapist.serving.studio.dataset_page import dataset_page
from ai_therapist.serving.studio.desk import Desk
from ai_therapist.serving.studio.key import Key
from ai_therapist.serving.studio.library import Library
from ai_therapist.serving.studio.runs_page import compared, runs_page
from ai_therapist.store.actions import JsonObject

_WEB = {
    "studio.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **{
        f"{name}.js": "text/javascript; charset=utf-8"
        for name in ("studio", "page", "draw", "sessions", "review", "dataset", "runs", "chat", "capture")
    },
}
"""Every file of the page. No other name is served."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No inline script or style, nothing from elsewhere, no text that becomes markup."""
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The report is one file with its style inside; it has no script."""
_LONGEST_QUEUE = 200
"""Questions of a queue that the page gets at once."""

_PERMISSIONS = "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()"


@dataclass(frozen=True)
class StudioOptions:
    """How this studio was opened."""

    rater: str | None = None
    """Who labels; None lets the page ask."""
    blind: bool = False
    """Whether the models' labels stay hidden until a person has decided; the page cannot lift it."""
    start: str = "sessions"
    """The tab that opens first."""
    chat: str | None = None
    """Why there is nobody to talk to, or None where there is."""
    model: str = ""
    """Name of the model that answers."""
    is_toy: bool = False
    """Whether that model is a toy."""
    sends_away: bool = False
    """Whether that model runs on another computer."""
    country: str | None = None
    """ISO 3166-1 code of the country whose helplines come first."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Decided(_Body):
    """A person's answer. `label` is None where the person cannot tell."""

    rater: RaterId
    session: RecordId
    utterance: RecordId
    task: Task
    label: Annotated[str, StringConstraints(max_length=100)] | None
    blind: bool
    played: bool


class Undone(_Body):
    """The wish to take the last decision back."""

    rater: RaterId


class _Told(APIRoute):
    """A route whose errors become answers in one form, in words that never quote the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with its errors told."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                fields = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors()[:5])
                raise Refused(400, "invalid_request", f"the request does not fit: {fields}") from None
            except AiTherapistError as error:
                raise Refused(_STATUS.get(type(error), 400), "refused", str(error)) from None

        return told


_STATUS = {MissingInput: 404, StoreError: 500, ItemError: 500, InvalidRecord: 500}

Rater = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
Id = Annotated[str, Query(pattern=r"^(ses|utt)_[0-9a-f]{12}$")]


def studio_router(library: Library, key: Key, options: StudioOptions) -> APIRouter:
    """The routes of one studio, to be included in an app that `Guard` and `Doorkeeper` wrap."""
    router = APIRouter(route_class=_Told)
    desk = Desk(library)
    _add_page(router, key, options)
    _add_sessions(router, library, desk, options)
    _add_review(router, desk, options)
    _add_results(router, library, desk, options)
    return router


def _add_page(router: APIRouter, key: Key, options: StudioOptions) -> None:
    page = _file("index.html").decode().replace("{{token}}", escape(key.token)).replace("{{version}}", __version__)
    headers = {"content-security-policy": POLICY, "permissions-policy": _PERMISSIONS}

    @router.get("/")
    def index() -> Response:
        return HTMLResponse(page, headers=headers)

    @router.get("/studio/web/{name}")
    def web(name: str) -> Response:
        if name not in _WEB:
            raise Refused(404, "no_path", "nothing is served at this path")
        return Response(_file(name), media_type=_WEB[name], headers={"cache-control": "no-cache"})

    @router.get("/studio/about")
    def about() -> JsonObject:
        return {
            "version": __version__,
            "codebook": load_codebook().version,
            "emotions": list(load_codebook().names(Task.EMOTION)),
            "strategies": list(load_codebook().names(Task.STRATEGY)),
            "rater": options.rater,
            "blind": options.blind,
            "start": options.start,
            "chat": options.chat,
            "model": options.model,
            "sends_away": options.sends_away,
            "opening": opening(options.model, options.is_toy),
        }

    @router.get("/studio/helplines")
    def helplines() -> JsonObject:
        return {"text": help_card(options.country, date.today())}


def _add_sessions(router: APIRouter, library: Library, desk: Desk, options: StudioOptions) -> None:
    @router.get("/studio/sessions")
    def sessions() -> JsonObject:
        return {
            "sessions": [shown.session_line(recorded) for recorded in library.sessions()],
            "set_aside": [shown.item_line(item) for item in library.set_aside()],
        }

    @router.get("/studio/sessions/{session}")
    def session(session: str, rater: Rater = None, blind: bool = False) -> JsonObject:
        recorded = library.session(session)
        who, hide = options.rater or rater, options.blind or blind
        return shown.session_page(recorded, desk.questions_about(recorded), who, blind=hide)

    @router.get("/studio/waveform/{session}")
    def waveform(session: str) -> JsonObject:
        return {"peaks": library.waveform(session)}

    @router.get("/studio/media/{session}/{name}")
    def media(session: str, name: str) -> Response:
        found = library.media(session, name)
        return FileResponse(found.path, media_type=found.kind)


def _add_review(router: APIRouter, desk: Desk, options: StudioOptions) -> None:
    @router.get("/studio/review/queue")
    def queue(rater: Rater = None, order: Order = Order.DISAGREEMENT, blind: bool = False) -> JsonObject:
        who = _who(options.rater or rater)
        left = desk.queue(who, order, blind=options.blind or blind)
        return {**_progress(desk, who), "queue": [shown.question_key(one) for one in left[:_LONGEST_QUEUE]]}

    @router.get("/studio/review/question")
    def question(session: Id, utterance: Id, task: Task, rater: Rater = None, blind: bool = False) -> JsonObject:
        who = _who(options.rater or rater)
        recorded, asked = desk.question(session, utterance, task)
        return shown.question_page(recorded, asked, who, blind=options.blind or blind)

    @router.post("/studio/review/decide")
    def decide(given: Decided) -> JsonObject:
        who = options.rater or given.rater
        look = Look(blind=options.blind or given.blind, played=given.played)
        _, asked = desk.question(given.session, given.utterance, given.task)
        note = desk.decide(asked, who, given.label, look)
        return {**_progress(desk, who), "annotation": note.id, "labelled": isinstance(note.outcome, Label)}

    @router.post("/studio/review/undo")
    def undo(given: Undone) -> JsonObject:
        who = options.rater or given.rater
        asked = desk.undo(who)
        return {**_progress(desk, who), "question": None if asked is None else shown.question_key(asked)}


def _add_results(router: APIRouter, library: Library, desk: Desk, options: StudioOptions) -> None:
    workspace = library.workspace

    @router.get("/studio/dataset")
    def dataset() -> JsonObject:
        return dataset_page(workspace, desk.questions(), blind=options.blind)

    @router.get("/studio/runs")
    def runs() -> JsonObject:
        return runs_page(workspace, blind=options.blind)

    @router.get("/studio/runs/compare")
    def compare(one: Annotated[str, Query(max_length=100)], other: Annotated[str, Query(max_length=100)]) -> JsonObject:
        return compared(workspace, one, other)

    @router.get("/studio/report")
    def report() -> Response:
        if options.blind:
            raise Refused(403, "blind", "the report shows the labels of single turns: open a studio without --blind")
        if not workspace.report_html.exists():
            raise MissingInput("this workspace has no report yet: run  ai-therapist evaluate  first")
        headers = {"content-security-policy": _REPORT_POLICY}
        return HTMLResponse(workspace.report_html.read_bytes(), headers=headers)


def _progress(desk: Desk, rater: str) -> JsonObject:
    found = desk.progress(rater)
    return {
        "rater": rater,
        "decided": found.decided,
        "total": found.total,
        "agreement": [shown.agreement_line(pair) for pair in found.agreement],
        "faults": list(found.faults),
    }


def _who(rater: str | None) -> str:
    """The person who labels. Raises Refused where the page has not asked yet."""
    if rater is None:
        raise Refused(400, "no_rater", "say who labels: give a pseudonym")
    return rater


def _file(name: str) -> bytes:
    return resources.files("ai_therapist.serving.studio").joinpath("web", name).read_bytes()

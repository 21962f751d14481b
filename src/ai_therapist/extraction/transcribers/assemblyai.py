"""AssemblyAI: the sound is sent to a paid service on other people's computers and comes back with words and speakers.

    upload ─ submit ─ ticket ─ poll … poll ─ result ─ deleted there

A transcription that was submitted is never submitted again: that it is about to be is written down before, its id is
committed before it is polled, and a run that died in between looks for it by the address of its upload, which no other
transcription has (pipeline/paid.py). The key is read from ASSEMBLYAI_API_KEY.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from ai_therapist.errors import (
    ConfigError,
    ItemError,
    MissingExtra,
    Postponed,
    ServerBusy,
    TransientError,
)
from ai_therapist.extraction.config import AssemblyAIConfig
from ai_therapist.formats.passages import to_transcript
from ai_therapist.formats.recogniser_json import assemblyai_passages
from ai_therapist.formats.text import clean
from ai_therapist.pipeline.limits import Clock, Limiter, Quota, SystemClock, call_in_turn, retry_after_s
from ai_therapist.records import Transcript
from ai_therapist.store.blobs import write_atomically

if TYPE_CHECKING:
    from assemblyai import Client

KEY_VARIABLE = "ASSEMBLYAI_API_KEY"
URL_VARIABLE = "ASSEMBLYAI_BASE_URL"

TOOLS = ("assemblyai",)

SCOPE = "assemblyai"

_REGIONS = {"us": "https://api.assemblyai.com", "eu": "https://api.eu.assemblyai.com"}
_REQUESTS_PER_MINUTE = 1000.0
"""Far below the 20,000 in five minutes that the service allows."""

_UPLOAD_TIMEOUT_S = 600.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 15.0
_LISTED = 100
"""Transcriptions on one page of the list, newest first, in which one that was submitted and not noted is looked for."""
_CLOCKS_DIFFER_S = 86_400.0
"""By how much the clock of this machine may be off: the list is read on to this long before the submission."""

T = TypeVar("T")


class JobLost(ItemError):
    """The service does not know a transcription any more that it was paid for."""


def require_key() -> str:
    """The key. Raises ConfigError without one or for plain HTTP, and MissingExtra without the vendor's package."""
    if find_spec("assemblyai") is None:
        raise MissingExtra("the transcriber assemblyai", "assemblyai", "cloud")
    url = urlsplit(os.environ.get(URL_VARIABLE) or _REGIONS["us"])
    if url.scheme != "https" and url.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ConfigError(f"{URL_VARIABLE} must begin with https://: it is given a key and what people said")
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise ConfigError(f"the transcriber assemblyai needs {KEY_VARIABLE} in the environment or in .env")
    return key


class AssemblyAI:
    """The service as we use it. Every request waits for its turn, and is tried again where that may help.

    Raises ConfigError where the service refuses the key, and Postponed where it stays out of reach.
    """

    def __init__(self, config: AssemblyAIConfig, clock: Clock | None = None) -> None:
        from assemblyai import Client, Settings

        url = os.environ.get(URL_VARIABLE) or _REGIONS[config.region]
        settings = Settings(api_key=require_key(), base_url=url, http_timeout=_UPLOAD_TIMEOUT_S)
        with _old_pydantic():
            self._client: Client = Client(settings=settings)
        self._config = config
        self.clock = clock or SystemClock()
        self._requests = Limiter(Quota(f"{SCOPE}/requests", _REQUESTS_PER_MINUTE, burst=20), clock=clock)
        self.jobs = Limiter(Quota(f"{SCOPE}/jobs", _REQUESTS_PER_MINUTE, concurrent=config.jobs), clock=clock)
        """Turns of whole transcriptions."""

    def close(self) -> None:
        """Close the connections."""
        self._client.http_client.close()
        self._requests.close()
        self.jobs.close()

    def upload(self, path: Path) -> str:
        """Send a file; returns the address under which the service alone can read it."""
        from assemblyai import api

        def send() -> str:
            with path.open("rb") as file:
                return _text(api.upload_file(self._client.http_client, file), "the address of the upload")

        return self._call(send)

    def submit(self, address: str) -> str:
        """Begin a transcription, which is paid for; returns its id. Tried once: see `find`.

        Raises ServerBusy where it did not begin, and another TransientError where nobody can say whether it did.
        """
        from assemblyai import types
        from assemblyai.prerecorded.v2 import api

        config = self._config
        request = types.TranscriptRequest(
            audio_url=address,
            speaker_labels=True,
            speakers_expected=config.speakers or None,
            language_code=None if config.language == "auto" else config.language,
            language_detection=True if config.language == "auto" else None,
            speech_models=list(config.models) or None,
        )

        def create() -> str:
            return _text(api.create_transcript(self._client.http_client, request).id, "the id of the transcription")

        with self._requests.turn() as turn:
            try:
                identity = self._translated(create)
            except TransientError as error:
                turn.failed(error, charged=True)
                raise
            turn.succeeded()
        return identity

    def find(self, address: str, since_s: float) -> str | None:
        """Id of the transcription of an upload begun at `since_s` (seconds since 1970) or later, or None.

        The list is read page by page, from the newest on, until it is older than that or ends.
        """
        from assemblyai import types
        from assemblyai.prerecorded.v2 import api

        page: str | None = None
        while True:
            parameters = types.ListTranscriptParameters(limit=_LISTED, before_id=page)
            listed = self._call(partial(api.list_transcripts, self._client.http_client, parameters))
            for one in listed.transcripts:
                if one.audio_url == address:
                    return one.id
            before, page = page, listed.page_details.before_id_of_prev_url
            ended = not listed.transcripts or page in (None, before)
            if ended or _begun_s(listed.transcripts[-1].created) < since_s - _CLOCKS_DIFFER_S:
                return None

    def result(self, identity: str) -> dict[str, object] | None:
        """The finished transcript as the service gives it, or None while it is being made.

        Raises JobLost where the service does not know it any more, and ItemError where it failed.
        """
        from assemblyai.prerecorded.v2 import api

        def get() -> dict[str, object] | None:
            status = api.get_transcript(self._client.http_client, identity).status.value
            # The vendor's types drop what they do not know; the answer itself is kept.
            response = self._client.last_response
            value: dict[str, object] = {} if response is None else response.json()
            if status == "error":
                reason = clean(str(value.get("error") or "without a reason"))[:200]
                raise ItemError(f"AssemblyAI could not transcribe it: {reason}")
            return value if status == "completed" else None

        return self._call(get)

    def delete(self, identity: str) -> None:
        """Delete a transcript at the service."""
        from assemblyai.prerecorded.v2 import api

        self._call(lambda: api.delete_transcript(self._client.http_client, identity))

    def _call(self, request: Callable[[], T]) -> T:
        return call_in_turn(self._requests, lambda _: self._translated(request))

    def _translated(self, request: Callable[[], T]) -> T:
        """What the request gives, with the vendor's errors as ours."""
        import httpx
        from assemblyai.types import AssemblyAIError
        from pydantic import ValidationError

        try:
            with _old_pydantic():
                return request()
        except AssemblyAIError as error:
            raise self._refusal(error.status_code or 0) from None
        except httpx.HTTPError as error:
            raise TransientError(f"AssemblyAI cannot be reached ({type(error).__name__})") from None
        except (json.JSONDecodeError, ValidationError, KeyError, UnicodeDecodeError):
            raise TransientError("AssemblyAI gave an answer that cannot be read") from None

    def _refusal(self, status: int) -> Exception:
        response = self._client.last_response
        if status in {401, 403}:
            return ConfigError(f"AssemblyAI refuses the key in {KEY_VARIABLE} (status {status})")
        if status == 402:
            return ConfigError("AssemblyAI wants to be paid first (status 402): look after the account")
        if status in {404, 410}:
            return JobLost(f"AssemblyAI does not know the transcription or the upload any more (status {status})")
        if status == 429:
            header = None if response is None else response.headers.get("retry-after")
            return ServerBusy("AssemblyAI is asked too often", retry_after_s(header, time.time()))
        if status >= 500:
            return TransientError(f"AssemblyAI fails (status {status})")
        return ItemError(f"AssemblyAI refuses the request (status {status})")


@contextmanager
def _old_pydantic() -> Iterator[None]:
    """Keeps the vendor's use of pydantic's old names from being told to our users as warnings."""
    from pydantic import PydanticDeprecatedSince20

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticDeprecatedSince20)
        yield


class Purchase:
    """How the transcription of one file is begun: the address of its upload is the mark by which it is found."""

    name = SCOPE

    def __init__(self, service: AssemblyAI, sound: Callable[[], Path], settle_s: float) -> None:
        self._service = service
        self._sound = sound
        self.settle_s = settle_s
        self.clock = service.clock

    def prepare(self) -> str:
        """Send the sound, which costs nothing."""
        return self._service.upload(self._sound())

    def submit(self, mark: str) -> str | None:
        """Begin the transcription; None where its upload has expired."""
        try:
            return self._service.submit(mark)
        except JobLost:
            return None

    def find(self, mark: str, since_s: float) -> str | None:
        """Id of the transcription of an upload."""
        return self._service.find(mark, since_s)


class Notes:
    """Small texts in the folder that an unfinished action keeps, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> str | None:
        """A note, or None where there is none."""
        path = self._folder / name
        return path.read_text("utf-8") if path.exists() else None

    def write(self, name: str, text: str) -> None:
        """Keep a note."""
        write_atomically(self._folder / name, text.encode())


def wait_for(service: AssemblyAI, identity: str, patience_s: float) -> dict[str, object]:
    """The finished transcript. Raises Postponed where it takes longer than `patience_s`, and what `result` raises."""
    began = service.clock.now()
    pause_s = _FIRST_WAIT_S
    while (value := service.result(identity)) is None:
        if service.clock.now() - began > patience_s:
            raise Postponed(f"AssemblyAI still transcribes after {patience_s:g} s: run the same command again later")
        service.clock.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_WAIT_S)
    return value


def transcript_of(value: dict[str, object], session: str) -> Transcript:
    """The service's answer as a transcript. Raises InvalidRecord for one that is none."""
    model = clean(str(value.get("speech_model_used") or value.get("speech_model") or "its default model"))
    where = "AssemblyAI's answer"
    if not value.get("text") and not value.get("utterances"):
        return Transcript(session=session, transcriber=f"assemblyai: {model}", utterances=())
    return to_transcript(assemblyai_passages(value, where), session, f"assemblyai: {model}", where)


def _begun_s(created: str) -> float:
    """Seconds since 1970 of a time in the list, without a zone in UTC; infinity for one that cannot be read."""
    try:
        time_read = datetime.fromisoformat(created)
    except ValueError:
        return float("inf")
    return (time_read if time_read.tzinfo is not None else time_read.replace(tzinfo=UTC)).timestamp()


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 500:
        raise TransientError(f"AssemblyAI gave an answer without {what}")
    return value

"""A studio that runs: in a thread on a loopback address, or called without a socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue

from starlette.testclient import TestClient

from ai_therapist.inference.predict import Speaker
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.service import ChatService
from ai_therapist.serving.studio.app import Studio, make_studio
from ai_therapist.serving.studio.key import TOKEN_HEADER
from ai_therapist.serving.studio.routes import StudioOptions
from ai_therapist.store.workspace import Workspace

TOY = StudioOptions(model="scripted", is_toy=True)


@dataclass(frozen=True)
class Caller:
    """Calls a studio without a socket, as its own page would."""

    studio: Studio
    client: TestClient

    @property
    def changing(self) -> dict[str, str]:
        """The headers of a request of the page that changes something."""
        return {TOKEN_HEADER: self.studio.key.token}


def caller(workspace: Workspace, options: StudioOptions = TOY) -> Caller:
    """A caller that holds the cookie."""
    studio = make_studio(workspace, service_of(), options)
    client = TestClient(studio.app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)
    client.cookies.set(studio.key.cookie, studio.key.key)
    return Caller(studio, client)


def service_of(generator: TextGenerator | None = None, scorer: LabelScorer | None = None) -> ChatService:
    """A chat with a model that says what it is told to."""
    speaker = Speaker(generator or ScriptedGenerator(["I hear you."], repeat=True), scorer, is_toy=True)
    return ChatService(speaker, serving=ServingConfig(port=0, drain_s=5.0))


@contextmanager
def running(
    workspace: Workspace,
    options: StudioOptions = TOY,
    generator: TextGenerator | None = None,
    scorer: LabelScorer | None = None,
    service: ChatService | None = None,
) -> Iterator[str]:
    """The address of a studio that is served from a thread of this process."""
    told: Queue[str] = Queue()
    studio = make_studio(workspace, service or service_of(generator, scorer), options, on_start=told.put)
    thread = threading.Thread(target=studio.server.run)
    thread.start()
    try:
        while told.empty():
            assert thread.is_alive(), "the studio did not start"
            time.sleep(0.01)
        yield told.get()
    finally:
        studio.server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the studio did not stop"

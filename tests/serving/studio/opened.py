"""A studio that runs: in a thread on a loopback address, or called without a socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.testclient import TestClient

from ai_therapist.inference.predict import Speaker
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.serving.service import ChatService
from ai_therapist.serving.studio.app import HOST, Studio, create_studio, server_of
from ai_therapist.serving.studio.key import TOKEN_HEADER
from ai_therapist.serving.studio.routes import StudioOptions
from ai_therapist.store.workspace import Workspace


def studio_of(
    workspace: Workspace,
    options: StudioOptions | None = None,
    generator: TextGenerator | None = None,
    scorer: LabelScorer | None = None,
) -> Studio:
    """A studio whose model says what it is told to."""
    speaker = Speaker(generator or ScriptedGenerator(["I hear you."], repeat=True), scorer, is_toy=True)
    return create_studio(workspace, ChatService(speaker), options or StudioOptions(model="scripted", is_toy=True))


@dataclass(frozen=True)
class Caller:
    """Calls a studio without a socket, as its own page would."""

    studio: Studio
    client: TestClient

    @property
    def changing(self) -> dict[str, str]:
        """The headers of a request of the page that changes something."""
        return {TOKEN_HEADER: self.studio.key.token}


def caller(studio: Studio) -> Caller:
    """A caller that holds the cookie."""
    client = TestClient(studio.app, base_url=f"http://{HOST}:8765", raise_server_exceptions=False)
    client.cookies.set(studio.key.cookie, studio.key.key)
    return Caller(studio, client)


@contextmanager
def running(studio: Studio) -> Iterator[str]:
    """The address of a studio that is served from a thread of this process."""
    server = server_of(studio)
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(128)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the studio did not start"
                time.sleep(0.01)
            yield studio.address(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the studio did not stop"

"""The studio as an app: its routes and those of the chat behind one guard and one key."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from ai_therapist.errors import RequestError
from ai_therapist.serving.app import create_app
from ai_therapist.serving.service import ChatService
from ai_therapist.serving.studio.key import Doorkeeper, Key
from ai_therapist.serving.studio.library import Library
from ai_therapist.serving.studio.routes import StudioOptions, studio_router
from ai_therapist.store.workspace import Workspace

HOST = "127.0.0.1"
"""The only address that a studio listens on."""


@dataclass(frozen=True)
class Studio:
    """A studio that is ready to be served."""

    app: ASGIApp
    key: Key

    def address(self, port: int) -> str:
        """What a person opens in the browser. It holds the key."""
        return f"http://{HOST}:{port}/?key={self.key.key}"


def create_studio(workspace: Workspace, service: ChatService, options: StudioOptions) -> Studio:
    """The studio of a workspace.

    The workspace's index is closed: the studio does not need it, and `forget` could not clean it while it is open.
    """
    workspace.index.close()
    key = Key()
    router = studio_router(Library(workspace), key, options)
    return Studio(Doorkeeper(create_app(service, [router]), key), key)


def run_studio(studio: Studio, port: int, ready: Callable[[str], None]) -> None:
    """Serve until the process is stopped; `ready` gets the address once it can be opened.

    It listens on this machine only, whatever the settings say. Raises RequestError where the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise RequestError(
                f"port {port}: {error.strerror}: choose another with --port, or 0 for a free one"
            ) from None
        listener.listen(128)
        ready(studio.address(listener.getsockname()[1]))
        server_of(studio).run([listener])


def server_of(studio: Studio) -> uvicorn.Server:
    """The server that the command runs. It writes no log: a line of one would name sessions."""
    return uvicorn.Server(uvicorn.Config(studio.app, log_config=None, access_log=False, ws="none", server_header=False))

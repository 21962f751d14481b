"""The studio as a server: its routes and those of the chat behind one guard and one key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from starlette.types import ASGIApp

from ai_therapist.serving.run import Server, make_server
from ai_therapist.serving.service import ChatService
from ai_therapist.serving.studio.key import Doorkeeper, Key
from ai_therapist.serving.studio.library import Library
from ai_therapist.serving.studio.routes import StudioOptions, studio_router
from ai_therapist.store.workspace import Workspace


@dataclass(frozen=True)
class Studio:
    """A studio that is ready to be run."""

    server: Server
    app: ASGIApp
    """What the server runs."""
    key: Key


def make_studio(
    workspace: Workspace,
    service: ChatService,
    options: StudioOptions,
    *,
    password: str | None = None,
    on_start: Callable[[str], None] = lambda address: None,
) -> Studio:
    """The studio of a workspace, where the settings of `service` let it listen. `on_start` is told what to open.

    The address holds the key. The workspace's index is closed: the studio does not need it, and `forget` could not
    clean it while it is open. Raises what `make_server` raises: an address that other machines can reach needs a
    password and TLS.
    """
    workspace.index.close()
    key = Key()
    router = studio_router(Library(workspace), key, options)
    server = make_server(
        service,
        [router],
        password=password,
        on_start=lambda address: on_start(f"{address}/?key={key.key}"),
    )
    # Around all of it: the routes of the chat need the key as well. uvicorn types what it runs more widely than it is.
    door = Doorkeeper(cast(ASGIApp, server.config.app), key)
    server.config.app = door
    return Studio(server, door, key)

"""HTTP connections that do not wait for ever: uvicorn itself has no limit for the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


def patient_for(receive_s: float) -> type[H11Protocol]:
    """uvicorn's protocol, which closes a connection whose request head is not complete after `receive_s` seconds."""

    class Patient(H11Protocol):
        """Closes a connection that has begun, or not even begun, a request and does not go on."""

        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            # uvicorn makes a protocol for each connection that it accepts.
            self._overdue: asyncio.TimerHandle | None = self.loop.call_later(receive_s, self._give_up)

        def data_received(self, data: bytes) -> None:
            """The clock runs from the first byte of a head and stops at its last."""
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._unwatch()
            elif self._overdue is None and self.conn.trailing_data[0]:
                self._overdue = self.loop.call_later(receive_s, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            """Nothing is left to watch."""
            self._unwatch()
            super().connection_lost(exc)

        def _unwatch(self) -> None:
            if self._overdue is not None:
                self._overdue.cancel()
                self._overdue = None

        def _give_up(self) -> None:
            self._overdue = None
            if not self.transport.is_closing():
                self.transport.close()

    return Patient

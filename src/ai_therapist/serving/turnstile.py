"""Lets a few turns through at a time, lets others wait, and sends away those that would wait too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from ai_therapist.serving.refusal import later

_LONGEST_RETRY_S = 60.0


class Turnstile:
    """Passes for turns. Lives in one event loop."""

    def __init__(self, concurrent: int, waiting: int, wait_s: float) -> None:
        """`concurrent` passes at once, `waiting` more may wait, each for `wait_s` seconds at most."""
        self._passes = asyncio.Semaphore(concurrent)
        self._concurrent = concurrent
        self._most_waiting = waiting
        self._wait_s = wait_s
        self.closed = False
        """Whether nobody is let in any more."""
        self._turn_s = 1.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting = 0
        """Requests that wait now."""
        self.running = 0
        """Turns that run now."""

    def close(self) -> None:
        """Let nobody in any more; turns that run go on."""
        self.closed = True

    async def drain(self, within_s: float) -> bool:
        """Let nobody in any more and wait until all turns are over; False where some are not in time."""
        self.close()
        try:
            await asyncio.wait_for(self._idle.wait(), within_s)
        except TimeoutError:
            return False
        return True

    async def enter(self) -> Callable[[], None]:
        """Wait for a pass; what is returned gives it back and must be called once.

        Raises Refused: 429 where too many wait, 503 after `wait_s` seconds or when closed.
        """
        self._refuse_when_closed()
        if self._passes.locked() and self.waiting >= self._most_waiting:
            raise later(429, "too_many_waiting", "too many requests wait for the model: try again", self._expected_s())
        self.waiting += 1
        try:
            # Not wait_for: in Python 3.11 it may swallow a cancellation that comes together with the pass.
            async with asyncio.timeout(self._wait_s):
                await self._passes.acquire()
        except TimeoutError:
            raise later(503, "model_busy", "the model was not free in time: try again", self._expected_s()) from None
        finally:
            self.waiting -= 1
        if self.closed:
            self._passes.release()
            self._refuse_when_closed()
        self.running += 1
        self._idle.clear()
        return partial(self._leave, time.monotonic())

    def _refuse_when_closed(self) -> None:
        if self.closed:
            raise later(503, "closing", "the server is closing", _LONGEST_RETRY_S)

    def _expected_s(self) -> float:
        return min(_LONGEST_RETRY_S, self._turn_s * (self.waiting + 1) / self._concurrent)

    def _leave(self, began_s: float) -> None:
        self._turn_s = 0.8 * self._turn_s + 0.2 * (time.monotonic() - began_s)
        self.running -= 1
        self._passes.release()
        if self.running == 0:
            self._idle.set()

"""Runs what may fail or hang in a thread of its own and hands its failure back as a value."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import ClassVar, Generic, TypeVar

T = TypeVar("T")

_LOOK_S = 0.1
_MOST_AHEAD = 64
"""Items that wait to be taken; at more of them the thread waits too."""
_PAUSE_S = 0.01
_MOST_IDLE = 64
"""Threads that wait for work; more than these end with theirs."""


@dataclass(frozen=True)
class Broken:
    """It raised or took too long. `error` is the type of the exception, None for a timeout."""

    error: str | None


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    """Stands behind the last item; `error` is the type of the exception that ended it."""

    error: str | None


class _Worker:
    """A daemon thread that does one job after another: each turn needs three, and beginning one takes time.

    One that hangs is never given another job and keeps no program from closing.
    """

    idle: ClassVar[deque[_Worker]] = deque()

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        Thread(target=self._work, name="isolated", daemon=True).start()

    @classmethod
    def do(cls, job: Callable[[], None]) -> None:
        """Have it done in a thread, now. The job must not raise."""
        try:
            worker = cls.idle.pop()
        except IndexError:
            worker = cls()
        worker._jobs.put(job)

    def _work(self) -> None:
        while True:
            # Without a name for the job, so that nothing of it is kept while the thread waits.
            self._jobs.get()()
            if len(self.idle) >= _MOST_IDLE:
                return
            self.idle.append(self)


if hasattr(os, "register_at_fork"):
    # A fork copies no thread.
    os.register_at_fork(after_in_child=_Worker.idle.clear)


class Stopped(Exception):
    """The one who asked for the items wants no more of them."""


def settled(function: Callable[[], T], timeout_s: float) -> T | Broken:
    """What `function` returns, or Broken where it raises anything at all or is not done after `timeout_s`."""

    def once() -> Iterator[T]:
        yield function()

    return next(streamed(once, timeout_s))


def streamed(
    produce: Callable[[], Iterator[T]], timeout_s: float, unwanted: Event | None = None
) -> Generator[T | Broken, None, None]:
    """The items of `produce()` as they come; Broken is the last one where it raises or the time is up.

    Raises Stopped within 0.1 s of the moment at which `unwanted` is set.

    `timeout_s` counts from the first item that is asked for to the last. The iterator runs in one daemon thread from
    beginning to end, so what it keeps per thread stays valid, and one that hangs keeps no program from closing. A
    consumer that stops early stops the thread at its next item.
    """
    # A bounded Queue would take its locks in Python, twice for every word.
    box: SimpleQueue[_Item[T] | _End] = SimpleQueue()
    stop = Event()

    def put(item: _Item[T] | _End) -> None:
        while box.qsize() >= _MOST_AHEAD and not stop.wait(_PAUSE_S):
            pass
        box.put(item)

    def pump() -> None:
        try:
            for value in produce():
                put(_Item(value))
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - handed back as a value, whatever it is
            put(_End(type(error).__name__))
        else:
            put(_End(None))

    _Worker.do(pump)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            if unwanted is not None and unwanted.is_set():
                raise Stopped
            left_s = max(0.0, deadline - time.monotonic())
            try:
                item = box.get(timeout=left_s if unwanted is None else min(left_s, _LOOK_S))
            except Empty:
                if time.monotonic() < deadline:
                    continue
                yield Broken(None)
                return
            # A stream that never pauses and never ends is caught here.
            if time.monotonic() > deadline:
                yield Broken(None)
                return
            if isinstance(item, _End):
                if item.error is not None:
                    yield Broken(item.error)
                return
            yield item.value
    finally:
        stop.set()

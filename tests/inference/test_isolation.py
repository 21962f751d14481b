"""What fails or hangs in its thread comes back as a value."""

import threading
import time
from collections.abc import Iterator

import pytest

from ai_therapist.inference.isolation import Broken, settled, streamed


def raising(error: BaseException) -> Iterator[int]:
    yield 1
    raise error


def test_items_come_in_order() -> None:
    assert list(streamed(lambda: iter(range(200)), 5)) == list(range(200))


@pytest.mark.parametrize("error", [RuntimeError("secret"), MemoryError(), SystemExit(3), RecursionError()])
def test_any_exception_is_the_last_item_by_its_type_alone(error: BaseException) -> None:
    assert list(streamed(lambda: raising(error), 5)) == [1, Broken(type(error).__name__)]


def test_a_failure_before_the_first_item_is_seen_too() -> None:
    def refuse() -> Iterator[int]:
        raise LookupError

    assert list(streamed(refuse, 5)) == [Broken("LookupError")]


def test_time_runs_out_for_one_that_hangs_and_for_one_that_never_pauses() -> None:
    release = threading.Event()

    def hang() -> Iterator[int]:
        yield 1
        release.wait(5)

    def rush() -> Iterator[int]:
        while True:
            yield 0

    start = time.monotonic()
    assert list(streamed(hang, 0.1)) == [1, Broken(None)]
    assert list(streamed(rush, 0.1))[-1] == Broken(None)
    assert time.monotonic() - start < 4
    release.set()


def test_a_consumer_that_stops_early_stops_the_producer() -> None:
    closed = threading.Event()

    def count() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    items = streamed(count, 5)
    assert next(items) == 0
    items.close()
    assert closed.wait(5)


def test_the_whole_iterator_runs_in_one_thread_that_keeps_no_program_alive() -> None:
    def where() -> Iterator[tuple[int, bool]]:
        for _ in range(3):
            yield threading.get_ident(), threading.current_thread().daemon

    seen = list(streamed(where, 5))
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert not isinstance(seen[0], Broken)
    ident, is_daemon = seen[0]
    assert ident != threading.get_ident()
    assert is_daemon


def test_settled_gives_the_value_or_the_failure() -> None:
    assert settled(lambda: 7, 5) == 7
    assert settled(lambda: 1 // 0, 5) == Broken("ZeroDivisionError")
    assert settled(lambda: time.sleep(0.5), 0.05) == Broken(None)

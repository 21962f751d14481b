"""How well one limiter keeps eight processes at a server's rate: python benchmarks/limiter.py [--quick].

A server on this machine lets 20 requests a second through, up to 20 at once after a rest, and refuses the others with
429. Eight processes ask it as fast as they may: without a limiter (random waits up to half a second after a refusal),
with the right limit, and with a limit set twice too high, which the limiter has to find out. Goodput is what the
server answered, as a share of 20 a second over the whole run, the first seconds included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reporting import finish

from ai_therapist.errors import ServerBusy
from ai_therapist.pipeline.limits import Limiter, Quota, Turn, call_in_turn

RATE = 20.0
WORKERS = 8
LATENCY_S = 0.05


class Bucket:
    """The server's limit: tokens that come at RATE, RATE of them at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens, self._at = RATE, time.monotonic()
        self.answered = self.refused = 0

    def take(self) -> bool:
        """Whether this request is let through."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(RATE, self._tokens + (now - self._at) * RATE)
            self._at = now
            allowed = self._tokens >= 1
            self._tokens -= allowed
            self.answered += allowed
            self.refused += not allowed
            return allowed


class Handler(BaseHTTPRequestHandler):
    """Answers with 200 or 429."""

    def do_GET(self) -> None:
        """One request."""
        if not isinstance(self.server, Server):
            raise TypeError("the handler belongs to another server")
        allowed = self.server.bucket.take()
        time.sleep(LATENCY_S if allowed else 0)
        self.send_response(200 if allowed else 429)
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing is logged."""


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as come."""

    request_queue_size = 64
    daemon_threads = True

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bucket = bucket


@contextmanager
def serving(bucket: Bucket) -> Iterator[str]:
    """The address of a running server."""
    server = Server(bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def ask(url: str, _: Turn | None = None) -> None:
    """One request. Raises ServerBusy for 429."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise ServerBusy("429") from None


def work(url: str, state: Path | None, per_minute: float, begin_at: float, end_at: float) -> None:
    """Ask until the end, in turn where there is a limiter."""
    limiter = Limiter(Quota("bench", per_minute), path=state) if state is not None else None
    time.sleep(max(begin_at - time.time(), 0))
    while time.time() < end_at:
        if limiter is not None:
            call_in_turn(limiter, partial(ask, url), attempts=50)
            continue
        try:
            ask(url)
        except ServerBusy:
            time.sleep(random.uniform(0, 0.5))


def measure(per_minute: float | None, seconds: float) -> dict[str, float | int]:
    """Goodput and share of refusals with a configured rate; None is no limiter."""
    bucket = Bucket()
    context = multiprocessing.get_context("spawn")
    with serving(bucket) as url, tempfile.TemporaryDirectory() as folder:
        state = None if per_minute is None else Path(folder) / "limits.db"
        if state is not None and per_minute is not None:
            Limiter(Quota("bench", per_minute), path=state).close()
        # Starting Python takes eight processes on a busy machine a while.
        begin_at = time.time() + 4
        end_at = begin_at + seconds
        workers = [
            context.Process(target=work, args=(url, state, per_minute or 0, begin_at, end_at)) for _ in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        time.sleep(max(end_at - time.time(), 0))
        answered, refused = bucket.answered, bucket.refused
        for worker in workers:
            worker.join()
    return {
        "n": answered + refused,
        "goodput": round(answered / (seconds * RATE), 3),
        "refused": round(refused / max(answered + refused, 1), 4),
    }


def main() -> None:
    """Measure the three, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 s a measurement instead of 25")
    seconds = 10 if parser.parse_args().quick else 25
    measured = {
        "none": measure(None, seconds / 2),
        "right_limit": measure(RATE * 60, seconds),
        "limit_twice_too_high": measure(RATE * 120, seconds),
    }
    for name, figures in measured.items():
        print(f"{name:22}" + "  ".join(f"{key} {value}" for key, value in figures.items()))
    right, wrong = measured["right_limit"], measured["limit_twice_too_high"]
    held = right["goodput"] >= 0.95 and right["refused"] < 0.01
    finish(
        "limiter",
        {"processes": WORKERS, "server_per_s": RATE, "seconds": seconds, **measured},
        "right limit: goodput >= 0.95 and < 1 % refused; limit twice too high: goodput >= 0.90 and <= 5 % refused",
        holds=held and wrong["goodput"] >= 0.9 and wrong["refused"] <= 0.05,
    )


if __name__ == "__main__":
    main()

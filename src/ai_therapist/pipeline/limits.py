"""How often a service is asked, and how much that may cost: one limiter for each quota, shared by all processes.

A quota is what a provider counts: provider, project and model together, never a key or a process. Its state is one row
of a SQLite file, so that workers and separate runs on this machine wait for the same turn.

    rate        GCRA: a turn every 1 / rate seconds, `burst` of them at once after a rest
    too fast    a refusal (429) cuts the rate: to a half the first time, by a seventh later; success raises it again by
                a hundredth of the configured rate a second, never beyond it
    Retry-After everybody waits that long, at most five minutes
    down        ten failures in a row pause the quota: a minute, then twice as long, up to five
    money       the most a call can cost is entered before the call and corrected after it, so that neither several
                processes nor a kill can pass the ceiling

`call_in_turn` is the whole of it for most callers: it waits, calls, tells the limiter, and tries again.
"""

from __future__ import annotations

import math
import os
import random
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol, TypeVar

from ai_therapist.errors import ConfigError, Postponed, ServerBusy, StoreError, TransientError
from ai_therapist.store.owners import is_alive

STATE_VARIABLE = "AI_THERAPIST_STATE"
"""Environment variable that names another folder for the counters."""

LONGEST_PAUSE_S = 300.0
"""No server is waited for longer, whatever its Retry-After says."""

_PATIENCE_S = 120.0
_LEASE_S = 900.0
_FAILURES_TO_PAUSE = 10
_FIRST_PAUSE_S = 60.0
_CLIMB = 0.01
_FIRST_CUT, _LATER_CUT = 0.5, 0.85
_SLOWEST = 0.01
_MICROS = 1_000_000
_LONGEST_NAP_S = 5.0
_LONGEST_REST_S = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS quota (scope TEXT PRIMARY KEY, rate REAL NOT NULL, turn_at REAL NOT NULL DEFAULT 0,
    cuts INTEGER NOT NULL DEFAULT 0, cut_at REAL NOT NULL DEFAULT 0, paused_until REAL NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0, day TEXT NOT NULL DEFAULT '', calls INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS running (id TEXT PRIMARY KEY, scope TEXT NOT NULL, until REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS spent (scope TEXT NOT NULL, account TEXT NOT NULL, micros INTEGER NOT NULL,
    PRIMARY KEY (scope, account)) STRICT;
"""

# A turn further away than the rate can have put it comes from a clock that was set back, and counts as now.
_TAKE_TURN = """
UPDATE quota SET
    turn_at = MAX(CASE WHEN turn_at > :now + :slack + 1 / rate THEN 0 ELSE turn_at END, :now) + 1 / rate,
    calls = CASE WHEN day = :day THEN calls ELSE 0 END + 1, day = :day
WHERE scope = :scope
    AND (turn_at <= :now + :slack OR turn_at > :now + :slack + 1 / rate)
    AND (paused_until <= :now OR paused_until > :now + :longest)
    AND (SELECT COUNT(*) FROM running WHERE scope = :scope AND until > :now) < :concurrent
    AND (day <> :day OR calls < :per_day)
RETURNING turn_at
"""
_CUT = """
UPDATE quota SET cuts = cuts + 1, cut_at = :now,
    rate = MAX(rate * CASE cuts WHEN 0 THEN :first ELSE :later END, :slowest)
WHERE scope = :scope AND :began > cut_at
"""
_CLIMB_AGAIN = """
UPDATE quota SET failures = 0, rate = MIN(:most, rate + :climb * :most / rate),
    cuts = CASE WHEN rate >= :most THEN 0 ELSE cuts END
WHERE scope = :scope
"""
# What is given back is never refused.
_PAY = """
UPDATE spent SET micros = micros + ?1 WHERE scope = ?2 AND account = ?3 AND (?1 <= 0 OR micros + ?1 <= ?4)
RETURNING micros
"""

T = TypeVar("T")


class Clock(Protocol):
    """Time in seconds since 1970, shared by all processes, and waiting for it to pass."""

    def now(self) -> float:
        """The moment."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """The moment."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Quota:
    """What a provider counts together, and how much of it may be used.

    Raises ConfigError for a rate, a burst or a number that is not positive, or a negative ceiling.
    """

    scope: str
    """Provider, project and model, such as "gemini/my-project/gemini-3.8-flash"."""
    per_minute: float
    """Calls a minute; where the provider allows less, the limiter finds out."""
    burst: int = 2
    """Calls at once after a rest; 2 makes up for a worker that woke late."""
    concurrent: int | None = None
    """Calls under way at the same time in all processes."""
    per_day: int | None = None
    """Calls a day (UTC)."""
    ceiling_usd: float | None = None
    """Dollars that `account` may spend on the scope, ever."""
    account: str = ""
    """Who pays: a workspace, a study."""

    def __post_init__(self) -> None:
        numbers = (self.per_minute, self.burst, self.concurrent, self.per_day)
        if any(number is not None and not 0 < number < math.inf for number in numbers):
            raise ConfigError(f"quota {self.scope!r}: rates and numbers of calls must be positive")
        if self.ceiling_usd is not None and not 0 <= self.ceiling_usd < math.inf:
            raise ConfigError(f"quota {self.scope!r}: a ceiling cannot be negative")


class Turn:
    """One call under way. It is told how the call ended; one that is told nothing counts as failed and paid."""

    def __init__(self, began: float, at_most_usd: float) -> None:
        self.began = began
        self.usd = at_most_usd
        """What is charged in the end; until that is known, the most that the call can cost."""
        self.error: TransientError | None = TransientError("nobody said how the call ended")
        self.told = False

    def succeeded(self, usd: float | None = None) -> None:
        """The service answered, be it with a refusal; `usd` is what that cost, None where it is not known."""
        self.error, self.told = None, True
        self.usd = self.usd if usd is None else usd

    def failed(self, error: TransientError, *, charged: bool) -> None:
        """The service did not do its work. `charged` where that may have cost something, as after a time-out."""
        self.error, self.told = error, True
        self.usd = self.usd if charged else 0.0


class Limiter:
    """Gives turns on one quota. Safe for several threads, and for several processes that name the same file."""

    def __init__(self, quota: Quota, *, path: Path | None = None, clock: Clock | None = None) -> None:
        """State lies in `path`, or else in the file of this user (`state_path`). Raises StoreError."""
        self.quota = quota
        self._clock = clock or SystemClock()
        self._rate = quota.per_minute / 60
        self._slack = (quota.burst - 1) / self._rate
        self._lock = threading.Lock()
        place = path or state_path()
        try:
            if place != Path(":memory:"):
                place.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(place, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            # Money must survive a power cut; a lost turn does no harm.
            self._db.execute(f"PRAGMA synchronous={'NORMAL' if quota.ceiling_usd is None else 'FULL'}")
            self._db.executescript(_SCHEMA)
            # A rate that was set lower now counts at once; one that was found too high is still to be climbed to.
            self._db.execute(
                "INSERT INTO quota (scope, rate) VALUES (?, ?) ON CONFLICT (scope) DO UPDATE SET "
                "rate = CASE WHEN cuts = 0 THEN excluded.rate ELSE MIN(rate, excluded.rate) END",
                (quota.scope, self._rate),
            )
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else getattr(error, "sqlite_errorname", "damaged")
            raise StoreError(
                f"cannot open the counters of quotas {place}: {reason}: set {STATE_VARIABLE} to a folder of yours"
            ) from None

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextmanager
    def turn(self, at_most_usd: float = 0.0) -> Iterator[Turn]:
        """Wait for a turn, hold it during the call, and learn from how it ended.

        Raises Postponed, before anything is called, where the call could pass the ceiling, the day's calls are used
        up, or the quota is paused for longer than two minutes.
        """
        most = _micros(at_most_usd)
        self._pay(most)
        key = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
        try:
            began = self._wait(key)
        except BaseException:
            self._pay(-most)
            raise
        turn = Turn(began, at_most_usd)
        try:
            yield turn
        finally:
            self._end(key, turn)
            self._pay(_micros(turn.usd) - most)

    def spent_usd(self) -> float:
        """What the account has spent on the scope, calls under way at the most they can cost."""
        with self._lock:
            row = self._db.execute("SELECT micros FROM spent WHERE scope = ? AND account = ?", self._account).fetchone()
        return 0.0 if row is None else row[0] / _MICROS

    def rate_per_minute(self) -> float:
        """Calls a minute that are let through now."""
        with self._lock:
            row = self._db.execute("SELECT rate FROM quota WHERE scope = ?", (self.quota.scope,)).fetchone()
        return float(row[0]) * 60

    def now(self) -> float:
        """The moment of its clock, in seconds since 1970."""
        return self._clock.now()

    def rest(self, attempt: int) -> None:
        """Wait before the attempt after `attempt` (from 0): a random time below 1, 2, 4 … 30 seconds."""
        self._clock.sleep(random.uniform(0, min(2.0**attempt, _LONGEST_REST_S)))

    @property
    def _account(self) -> tuple[str, str]:
        return self.quota.scope, self.quota.account

    def _pay(self, micros: int) -> None:
        """Enter millionths of a dollar as spent, if the ceiling allows it; a negative number gives them back."""
        if micros == 0 and self.quota.ceiling_usd is None:
            return
        ceiling = 2**62 if self.quota.ceiling_usd is None else math.floor(self.quota.ceiling_usd * _MICROS)
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR IGNORE INTO spent VALUES (?, ?, 0)", self._account)
            row = self._db.execute(_PAY, (micros, *self._account, ceiling)).fetchone()
        if row is None:
            raise Postponed(
                f"{self.quota.scope}: {self.spent_usd():.4f} of {self.quota.ceiling_usd:g} dollars are spent "
                f"and the next call can cost {micros / _MICROS:.4f}: raise the ceiling and run the same command again"
            )

    def _wait(self, key: str) -> float:
        """The moment at which the turn was given."""
        while True:
            now = self._clock.now()
            if self._take(key, now):
                return now
            self._forget_the_dead()
            self._clock.sleep(self._nap(now))

    def _take(self, key: str, now: float) -> bool:
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute(
                _TAKE_TURN,
                {
                    "scope": self.quota.scope,
                    "now": now,
                    "slack": self._slack,
                    "day": _day(now),
                    "longest": LONGEST_PAUSE_S,
                    "concurrent": self.quota.concurrent or 2**31,
                    "per_day": self.quota.per_day or 2**62,
                },
            ).fetchone()
            if row is None:
                return False
            self._db.execute("DELETE FROM running WHERE until <= ?", (now,))
            self._db.execute("INSERT INTO running VALUES (?, ?, ?)", (key, self.quota.scope, now + _LEASE_S))
        return True

    def _forget_the_dead(self) -> None:
        """Give back the places of calls whose process was killed, where it ran on this machine."""
        if self.quota.concurrent is None:
            return
        with self._lock:
            rows = self._db.execute("SELECT id FROM running WHERE scope = ?", (self.quota.scope,)).fetchall()
            for (key,) in rows:
                host, pid, _ = key.split("/")
                if host == socket.gethostname() and not is_alive(int(pid)):
                    self._db.execute("DELETE FROM running WHERE id = ?", (key,))

    def _nap(self, now: float) -> float:
        """Seconds until it is worth asking for a turn again. Raises Postponed where that is too long."""
        with self._lock:
            turn_at, paused_until, day, calls = self._db.execute(
                "SELECT turn_at, paused_until, day, calls FROM quota WHERE scope = ?", (self.quota.scope,)
            ).fetchone()
        if self.quota.per_day is not None and day == _day(now) and calls >= self.quota.per_day:
            raise Postponed(
                f"{self.quota.scope}: the {self.quota.per_day} calls of this day (UTC) are used up: "
                "run the same command again tomorrow"
            )
        pause = paused_until - now if paused_until <= now + LONGEST_PAUSE_S else 0.0
        if pause > _PATIENCE_S:
            raise Postponed(f"{self.quota.scope}: the service refuses or is down: run the same command again later")
        nap = max(pause, turn_at - self._slack - now, 0.0)
        # At the same instant all would ask, and all but one in vain.
        return min(max(nap, 0.001) * random.uniform(1.0, 1.1), _LONGEST_NAP_S) if nap else random.uniform(0.01, 0.1)

    def _end(self, key: str, turn: Turn) -> None:
        now = self._clock.now()
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM running WHERE id = ?", (key,))
            if turn.error is None:
                self._db.execute(_CLIMB_AGAIN, {"scope": self.quota.scope, "most": self._rate, "climb": _CLIMB})
            else:
                self._slow_down(turn, turn.error, now)

    def _slow_down(self, turn: Turn, error: TransientError, now: float) -> None:
        scope = self.quota.scope
        pause = 0.0
        if isinstance(error, ServerBusy):
            wish = error.retry_after_s or 0.0
            # A number that is none is no wish, and compares as no number does.
            pause = 0.0 if math.isnan(wish) else min(max(wish, 0.0), LONGEST_PAUSE_S)
            # Calls that were under way at the last cut say nothing about the rate after it.
            self._db.execute(
                _CUT,
                {"scope": scope, "now": now, "began": turn.began, "first": _FIRST_CUT, "later": _LATER_CUT}
                | {"slowest": min(_SLOWEST, self._rate)},
            )
        (failures,) = self._db.execute(
            "UPDATE quota SET failures = failures + 1 WHERE scope = ? RETURNING failures", (scope,)
        ).fetchone()
        over = failures - _FAILURES_TO_PAUSE
        if over >= 0:
            pause = max(pause, min(_FIRST_PAUSE_S * 2 ** min(over, 8), LONGEST_PAUSE_S))
        self._db.execute("UPDATE quota SET paused_until = MAX(paused_until, ?) WHERE scope = ?", (now + pause, scope))


def call_in_turn(limiter: Limiter, call: Callable[[Turn], T], *, at_most_usd: float = 0.0, attempts: int = 6) -> T:
    """What `call` returns, each attempt in a turn of its own, with growing random waits in between.

    `call` may tell its turn what it cost; one that returns without a word has cost the most. It raises ServerBusy
    where the service was asked too often, and another TransientError where trying again may help: that one counts as
    paid unless the turn is told otherwise. Raises Postponed when all attempts have failed or no turn is to be had,
    and everything else that `call` raises.
    """
    for attempt in range(attempts):
        try:
            with limiter.turn(at_most_usd) as turn:
                try:
                    value = call(turn)
                except TransientError as error:
                    if not turn.told:
                        turn.failed(error, charged=not isinstance(error, ServerBusy))
                    raise
                if not turn.told:
                    turn.succeeded()
                return value
        except TransientError as error:
            if attempt == attempts - 1:
                raise Postponed(
                    f"{limiter.quota.scope}: {attempts} attempts failed, the last one with: {error}: "
                    "run the same command again later"
                ) from None
            limiter.rest(attempt)
    raise ValueError("a call needs at least one attempt")


def retry_after_s(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait, given as seconds or as a date; None where it says nothing."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def state_path() -> Path:
    """The file of this user's counters: in AI_THERAPIST_STATE, else in the folder that XDG_STATE_HOME names."""
    given = os.environ.get(STATE_VARIABLE)
    if given:
        return Path(given) / "limits.db"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "ai-therapist" / "limits.db"


def spending(path: Path | None = None) -> Iterator[tuple[str, str, float]]:
    """Scope, account and dollars of everything that was ever spent, where anything was."""
    place = path or state_path()
    if not place.exists():
        return
    with closing(sqlite3.connect(place)) as db:
        rows = db.execute("SELECT scope, account, micros FROM spent WHERE micros > 0 ORDER BY scope, account")
        for scope, account, micros in rows:
            yield scope, account, micros / _MICROS


def _micros(usd: float) -> int:
    return math.ceil(round(usd * _MICROS, 3))


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()

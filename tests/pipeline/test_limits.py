"""The limiter: its rate, what a refusal does to it, and money that cannot be overspent."""

import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_therapist.errors import ConfigError, ItemError, Postponed, ServerBusy, StoreError, TransientError
from ai_therapist.pipeline.limits import (
    LONGEST_PAUSE_S,
    Limiter,
    Quota,
    Turn,
    call_in_turn,
    retry_after_s,
    spending,
    state_path,
)

MEMORY = Path(":memory:")


class VirtualClock:
    """Time that passes only when somebody waits."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.time = now
        self.slept = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept += seconds


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def limiter(clock: VirtualClock, per_minute: float = 60, *, path: Path = MEMORY, **options: object) -> Limiter:
    return Limiter(Quota("test/project/model", per_minute, **options), path=path, clock=clock)  # type: ignore[arg-type]


def take(one: Limiter, usd: float = 0.0) -> None:
    with one.turn(usd) as turn:
        turn.succeeded(usd)


def refuse(one: Limiter, after_s: float | None = None) -> None:
    with one.turn() as turn:
        turn.failed(ServerBusy("429", after_s), charged=False)


def test_turns_come_at_the_configured_rate(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=60, burst=2)
    began = clock.now()
    for _ in range(31):
        take(one)
    assert 29 <= clock.now() - began <= 33


def test_a_rest_gives_a_burst_and_no_more(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=60, burst=5)
    take(one)
    clock.sleep(1000)
    began = clock.now()
    for _ in range(5):
        take(one)
    assert clock.now() == began
    take(one)
    assert clock.now() > began


def test_two_limiters_of_one_file_share_the_turns(clock: VirtualClock, tmp_path: Path) -> None:
    one, two = (limiter(clock, path=tmp_path / "limits.db") for _ in range(2))
    began = clock.now()
    for _ in range(10):
        take(one)
        take(two)
    assert clock.now() - began >= 17


def test_scopes_do_not_wait_for_each_other(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    for number in range(20):
        take(Limiter(Quota(f"scope {number}", 1), path=path, clock=clock))
    assert clock.slept == 0


def test_a_refusal_cuts_the_rate_once_for_all_calls_under_way(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=600, burst=10)
    with one.turn() as first, one.turn() as second, one.turn() as third:
        clock.sleep(0.1)
        for turn in (first, second, third):
            turn.failed(ServerBusy("429"), charged=False)
    assert one.rate_per_minute() == pytest.approx(300)
    clock.sleep(1)
    refuse(one)
    assert one.rate_per_minute() == pytest.approx(255)


def test_success_raises_the_rate_again_but_not_beyond_what_is_configured(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=600)
    refuse(one)
    for _ in range(100):
        take(one)
    assert 300 < one.rate_per_minute() < 600
    for _ in range(1500):
        take(one)
    assert one.rate_per_minute() == pytest.approx(600)


def test_everybody_waits_as_long_as_the_server_asks(clock: VirtualClock, tmp_path: Path) -> None:
    one, two = (limiter(clock, path=tmp_path / "limits.db") for _ in range(2))
    began = clock.now()
    refuse(one, after_s=40)
    take(two)
    assert 40 <= clock.now() - began <= 46


@pytest.mark.parametrize("after_s", [1e18, float("inf"), 10_000])
def test_an_absurd_wish_is_capped_and_postpones(clock: VirtualClock, after_s: float) -> None:
    one = limiter(clock)
    refuse(one, after_s=after_s)
    with pytest.raises(Postponed, match="run the same command again later"):
        take(one)
    clock.sleep(LONGEST_PAUSE_S)
    take(one)


@pytest.mark.parametrize("after_s", [float("nan"), -5.0, 0.0])
def test_a_wish_that_is_none_is_ignored(clock: VirtualClock, after_s: float) -> None:
    one = limiter(clock)
    refuse(one, after_s=after_s)
    began = clock.now()
    take(one)
    assert clock.now() - began < 5


def test_ten_failures_in_a_row_pause_the_quota_and_a_success_forgets_them(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=6000)
    for _ in range(9):
        refuse(one)
    take(one)
    began = clock.now()
    for _ in range(10):
        refuse(one)
    take(one)
    assert clock.now() - began >= 60


def test_a_service_that_stays_down_postpones_the_work(clock: VirtualClock) -> None:
    def down(_: Turn) -> None:
        raise TransientError("no connection")

    one = limiter(clock, per_minute=6000)
    reasons = set()
    for _ in range(10):
        with pytest.raises(Postponed) as caught:
            call_in_turn(one, down)
        reasons.add(str(caught.value).split(": ")[1])
    assert reasons == {"6 attempts failed, the last one with", "the service refuses or is down"}
    assert clock.slept < 1000


def test_calls_of_all_processes_are_counted_against_the_concurrent_ones(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=6000, burst=50, concurrent=2)
    with one.turn() as first, one.turn() as second:
        began = clock.now()
        # A process that was killed never ends its calls: their places come back after a quarter of an hour.
        take(one)
        assert clock.now() - began >= 900
        first.succeeded()
        second.succeeded()


def _hold(path: Path) -> None:
    with Limiter(Quota("shared", 6000, concurrent=1), path=path).turn():
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_place_of_a_killed_process_is_given_back_at_once(tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(path,))
    process.start()
    process.join()
    began = time.monotonic()
    take(Limiter(Quota("shared", 6000, concurrent=1), path=path))
    assert time.monotonic() - began < 10


def test_the_calls_of_a_day_end_and_come_back_at_midnight(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=6000, per_day=3)
    for _ in range(3):
        take(one)
    with pytest.raises(Postponed, match="3 calls of this day"):
        take(one)
    clock.sleep(86_400)
    take(one)


def test_a_clock_that_was_set_back_stops_nothing(clock: VirtualClock) -> None:
    one = limiter(clock)
    refuse(one, after_s=100)
    clock.time -= 1_000_000
    began = clock.now()
    take(one)
    take(one)
    assert clock.now() - began < 5


def test_the_ceiling_is_checked_before_the_call(clock: VirtualClock) -> None:
    one = limiter(clock, ceiling_usd=1.0)
    take(one, 0.6)
    called: list[Turn] = []
    with pytest.raises(Postponed, match=r"0\.6000 of 1 dollars are spent and the next call can cost 0\.5000"):
        call_in_turn(one, called.append, at_most_usd=0.5)
    assert called == []
    assert one.spent_usd() == pytest.approx(0.6)


def test_what_was_not_needed_is_given_back(clock: VirtualClock) -> None:
    one = limiter(clock, per_minute=6000, ceiling_usd=1.0)
    for _ in range(50):
        call_in_turn(one, lambda turn: turn.succeeded(0.01), at_most_usd=0.5)
    assert one.spent_usd() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("error", "spent"),
    [(ServerBusy("429"), 0.0), (TransientError("timed out"), 0.2), (KeyError("a fault"), 0.2), (ItemError("no"), 0.2)],
)
def test_a_call_of_which_nobody_knows_what_it_cost_has_cost_the_most(
    clock: VirtualClock, error: Exception, spent: float
) -> None:
    def call(_: Turn) -> None:
        raise error

    one = limiter(clock, ceiling_usd=1.0)
    with pytest.raises(Postponed if isinstance(error, TransientError) else type(error)):
        call_in_turn(one, call, at_most_usd=0.2, attempts=1)
    assert one.spent_usd() == pytest.approx(spent)


def test_each_account_has_a_ceiling_of_its_own(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    for account in ("study a", "study b"):
        take(limiter(clock, path=path, ceiling_usd=1.0, account=account), 0.9)
    assert [(account, round(usd, 6)) for _, account, usd in spending(path)] == [("study a", 0.9), ("study b", 0.9)]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 0.05),
    st.lists(st.tuples(st.floats(0, 0.01), st.sampled_from(["paid", "less", "lost", "busy"])), max_size=30),
)
def test_no_sequence_of_calls_passes_the_ceiling(ceiling: float, calls: list[tuple[float, str]]) -> None:
    one = limiter(VirtualClock(), per_minute=6000, ceiling_usd=ceiling)
    really = 0.0
    for usd, end in calls:
        try:
            with one.turn(usd) as turn:
                if end == "busy":
                    turn.failed(ServerBusy("429"), charged=False)
                elif end == "less":
                    turn.succeeded(usd / 3)
                    really += usd / 3
                else:
                    really += usd
                if end == "paid":
                    turn.succeeded()
        except Postponed:
            continue
        assert really <= one.spent_usd() + 1e-9
    assert one.spent_usd() <= ceiling + 1e-9


def _spend(path: Path, times: int) -> None:
    one = Limiter(Quota("shared", 1e9, ceiling_usd=0.05), path=path)
    for _ in range(times):
        try:
            take(one, 0.001)
        except Postponed:
            return


def test_two_processes_and_threads_cannot_pass_the_ceiling_together(tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    process = multiprocessing.get_context("spawn").Process(target=_spend, args=(path, 40))
    process.start()
    threads = [threading.Thread(target=partial(_spend, path, 20)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.join()
    ((_, _, spent),) = spending(path)
    assert spent == pytest.approx(0.05)


def test_attempts_go_on_until_one_succeeds(clock: VirtualClock) -> None:
    endings = iter([ServerBusy("429", 2), TransientError("timed out"), None])

    def call(turn: Turn) -> str:
        error = next(endings)
        if error is not None:
            raise error
        return "answer"

    assert call_in_turn(limiter(clock), call) == "answer"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Thu, 01 Jan 99999 00:01:40 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, 10.0) == seconds


@pytest.mark.parametrize(
    "options", [{"per_minute": 0}, {"per_minute": float("nan")}, {"burst": 0}, {"per_day": 0}, {"ceiling_usd": -1.0}]
)
def test_a_quota_that_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="quota 'x'"):
        Quota("x", **({"per_minute": 1} | options))  # type: ignore[arg-type]


def test_counters_that_cannot_be_opened_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "limits.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="set AI_THERAPIST_STATE"):
        Limiter(Quota("x", 1), path=tmp_path / "limits.db")


def test_counters_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert state_path() == tmp_path / "state" / "limits.db"
    monkeypatch.delenv("AI_THERAPIST_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_path() == tmp_path / "xdg" / "ai-therapist" / "limits.db"
    assert list(spending()) == []

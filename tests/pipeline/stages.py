"""Stage functions that workers can import: one per way in which a task can end."""

import os
import signal
import socket
import time
import urllib.request
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ai_therapist.errors import ConfigError, ItemError, Postponed, TransientError
from ai_therapist.pipeline.limits import SystemClock
from ai_therapist.pipeline.stage import Job, Stage, StageConfig
from ai_therapist.records import Transcript
from ai_therapist.testing import make_session, make_transcript


class Settings(StageConfig):
    """Where a stage leaves a mark, so that a test can count its runs."""

    marks: str = ""
    """Folder of the marks."""
    extra: int = 0
    """Enters the key and nothing else."""


def mark(job: Job) -> int:
    """Leave a mark; returns how many marks this stage function has left for the item."""
    assert isinstance(job.config, Settings)
    folder = Path(job.config.marks) / job.item
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{time.monotonic_ns()}-{os.getpid()}").touch()
    return len(list(folder.iterdir()))


def upper(job: Job) -> None:
    mark(job)
    text = job.read("text")
    if b"bad" in text:
        raise ItemError(f"{job.item}: cannot be read")
    job.give("upper", text.upper())
    job.count(bytes=len(text))


def clips(job: Job) -> None:
    job.give("clip/1", job.read("upper") + b"1")
    job.give("clip/2", job.read("upper") + b"2")


def join(job: Job) -> None:
    job.give("joined", b"".join(job.path(name).read_bytes() for name in job.names("clip/*")))


def transcript(job: Job) -> None:
    job.give_record("transcript", make_transcript(make_session(job.item)))
    job.give_records("utterances", make_transcript(make_session(job.item)).utterances)
    assert job.outputs["transcript"] != job.outputs["utterances"]


def read_back(job: Job) -> None:
    spoken = job.record(Transcript, "transcript")
    job.count(turns=len(spoken.utterances))


def flaky(job: Job) -> None:
    if mark(job) < 3:
        raise TransientError("busy")
    job.give("upper", b"at last")


def crash(job: Job) -> None:
    mark(job)
    raise KeyError("what mister quincy said")


def die(job: Job) -> None:
    if b"bad" in job.read("text"):
        mark(job)
        os.kill(os.getpid(), signal.SIGKILL)
    job.give("upper", b"alive")


def hang(job: Job) -> None:
    if b"bad" in job.read("text"):
        time.sleep(600)
    job.give("upper", b"awake")


def poisoned(job: Job) -> None:
    """What the input says: an exception, the end of the worker, a task that hangs, an output that is none."""
    text = job.read("text").decode()
    if "exception" in text:
        raise KeyError(text)
    if "suicide" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in text:
        time.sleep(600)
    if "unreadable" in text:
        raise ItemError(f"{job.item}: cannot be read")
    if "wrong" in text:
        job.give("transcript", b'{"turns": "what mister quincy said"}')
    else:
        job.give_record("transcript", make_transcript(make_session("one")))


def brief(job: Job) -> None:
    """A short while of work whose result follows from its inputs."""
    content = b"".join(job.read(name) for name in job.names())
    time.sleep(0.005 + content[-1] % 16 / 1000)
    job.give(f"{job.names()[0]}+", content[-40:] + b"+")


class Counted:
    """A service at the address that CHAOS_SERVER names, which counts the jobs that it begins, and kills who asks."""

    name = "counted"
    settle_s = 0.6
    clock = SystemClock()

    def __init__(self, item: str) -> None:
        self.item = item

    def ask(self, doing: str, what: str) -> str:
        killable = f"{os.getpid()}/{os.environ.get('CHAOS_DRIVER', 0)}"
        with urllib.request.urlopen(f"{os.environ['CHAOS_SERVER']}/{doing}/{what}/{killable}", timeout=30) as answer:
            return str(answer.read().decode())

    def prepare(self) -> str:
        return f"{self.item}-{uuid.uuid4().hex}"

    def submit(self, mark: str) -> str:
        identity = self.ask("start", mark)
        self.ask("answered", mark)
        return identity

    def find(self, mark: str, since_s: float) -> str | None:
        return self.ask("find", mark) or None


def paid(job: Job) -> None:
    """Begins a paid job and asks for the result by its ticket."""
    service = Counted(job.item)
    job.give("result", service.ask("result", job.ticket(service)).encode())


def slow(job: Job) -> None:
    time.sleep(0.15)
    job.give("upper", job.read("text").upper())


def environment(job: Job) -> None:
    job.give("upper", os.environ["SAID_TO_WORKERS"].encode())


_loads = 0


@cache
def _load() -> int:
    global _loads
    _loads += 1
    return _loads


def count_loads(job: Job) -> None:
    job.give("loads", str(_load()).encode())


def wrong_request(job: Job) -> None:
    raise ConfigError("no such model")


def waits_once(job: Job) -> None:
    if mark(job) == 1:
        raise Postponed("the budget is used up")
    job.give("upper", b"in time")


def checkpointed(job: Job) -> None:
    state = job.work / "state"
    if not state.exists():
        state.write_text("half")
        raise TransientError("stopped half way")
    job.progress(1, 1, "resumed")
    job.give("upper", state.read_bytes())


def stages(first: object, marks: Path, **options: object) -> list[Stage]:
    """A stage that gives "upper", one that fans out and one that joins."""
    settings = Settings(marks=str(marks))
    return [
        Stage("test.first", 1, first, ("text",), ("upper",), settings, **options),  # type: ignore[arg-type]
        Stage("test.clips", 1, clips, ("upper",), ("clip/*",), Settings()),
        Stage("test.join", 1, join, ("clip/*",), ("joined",), Settings()),
    ]


def phones_home(job: Job) -> None:
    """Tries each way out of Python; says which were refused before the system saw them."""
    tries: dict[str, Callable[[], object]] = {
        "connect": lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.2),
        "connect_ex": lambda: socket.socket().connect_ex(("192.0.2.1", 9)),
        "sendto": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
        "sendmsg": lambda: socket.socket(type=socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("192.0.2.1", 9)),
        "ipv6": lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 9)),
        "name": lambda: socket.getaddrinfo("example.invalid", 80),
        "old name": lambda: socket.gethostbyname("example.invalid"),
        "urllib": lambda: urllib.request.urlopen("http://192.0.2.1:9/", timeout=0.2),
    }
    said = []
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError as error:
            reason = getattr(error, "reason", error)
            said.append(f"{name}: {type(reason).__name__}")
    job.give("said", "\n".join(said).encode())


def greedy(job: Job) -> None:
    size = 600_000_000 if b"bad" in job.read("text") else 1000
    job.give("upper", bytes([bytearray(size)[-1]]))

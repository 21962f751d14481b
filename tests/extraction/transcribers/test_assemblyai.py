"""AssemblyAI with its own SDK against a loopback stand-in: what is sent, what is paid, and what goes wrong.

The stand-in proves our calls and our care, not that the service accepts them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ai_therapist.errors import ConfigError, ItemError, Postponed
from ai_therapist.extraction.config import AssemblyAIConfig, ExtractionConfig
from ai_therapist.extraction.run import extract
from ai_therapist.extraction.transcribers.assemblyai import AssemblyAI, JobLost, transcript_of, wait_for
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Transcript, Use
from ai_therapist.store.codec import decode, encode
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.workspace import ItemRecord, Status, Workspace
from ai_therapist.testing import RecordingSpec, make_consent, make_recording, make_session
from tests.extraction.transcribers import service as stand_in
from tests.extraction.transcribers.service import ANSWER, WORDS, Service, entry, failing

ROOT = Path(__file__).parents[3]
CONFIG = ExtractionConfig(transcriber="assemblyai", assemblyai=AssemblyAIConfig(settle_s=2))


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = 1e9
        self.waited: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.waited.append(seconds)


@pytest.fixture
def service(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service(httpserver)
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "a-key")
    monkeypatch.setenv("ASSEMBLYAI_BASE_URL", made.url)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return recorded(tmp_path / "in")


def recorded(folder: Path, *uses: Use) -> Path:
    folder.mkdir()
    make_recording(folder / "one.m4a", RecordingSpec(picture=False))
    rights = {"group": "one", "consent": json.loads(encode(make_consent(*uses)))}
    (folder / "one.consent.json").write_text(json.dumps(rights))
    return folder


def run(workspace: Workspace, folder: Path, config: ExtractionConfig = CONFIG) -> ItemRecord:
    (item,) = extract(workspace, config, folder, InlineExecutor(workspace.store)).items
    return item


def test_sound_goes_out_compressed_and_words_with_speakers_come_back(
    service: Service, workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"assemblyai": AssemblyAIConfig(speakers=3, language="de", models=("best",))})
    item = run(workspace, folder, config)
    assert item.status is Status.DONE
    transcript = decode(Transcript, workspace.store.read(item.artefacts["transcript"]), "x")
    assert transcript.transcriber == "assemblyai: stand-in"
    assert [(one.speaker, one.text, one.words[0].span.start_ms) for one in transcript.utterances] == [
        ("A", "how", 100),
        ("B", "so", 1000),
    ]
    (request,) = service.submitted
    assert request == {
        "audio_url": "https://cdn.example.org/1",
        "speaker_labels": True,
        "speakers_expected": 3,
        "language_code": "de",
        "speech_models": ["best"],
    }
    (tmp_path / "sent.ogg").write_bytes(service.uploads[0])
    with av.open(str(tmp_path / "sent.ogg")) as sent:
        (stream,) = sent.streams.audio
        assert (stream.codec_context.name, stream.channels) in {("opus", 1), ("libopus", 1)}
        assert sum(frame.samples for frame in sent.decode(stream)) / 48_000 == pytest.approx(2, abs=0.1)
    assert len(service.uploads[0]) < 64_000 / 4
    assert service.keys == {"a-key"}
    assert service.deleted == ["job-0"]
    assert item.counts["left_at_service"] == 0


def test_unset_numbers_are_left_to_the_service_and_another_model_is_another_action(
    service: Service, workspace: Workspace, folder: Path
) -> None:
    run(workspace, folder)
    assert run(workspace, folder).status is Status.DONE
    assert len(service.submitted) == 1
    assert "speakers_expected" not in service.submitted[0]
    run(workspace, folder, CONFIG.model_copy(update={"assemblyai": AssemblyAIConfig(jobs=2, keep_remote=True)}))
    assert len(service.submitted) == 1
    auto = CONFIG.model_copy(update={"assemblyai": AssemblyAIConfig(language="auto", keep_remote=True)})
    run(workspace, folder, auto)
    assert service.submitted[1]["language_detection"] is True
    assert service.deleted == ["job-0"]


def test_without_permission_nothing_is_sent(service: Service, workspace: Workspace, tmp_path: Path) -> None:
    item = run(workspace, recorded(tmp_path / "asked", Use.TRANSCRIBE, Use.ANNOTATE))
    assert item.status is Status.SKIPPED
    assert "does not permit 'transcribe_cloud'" in (item.reason or "")
    assert (service.uploads, service.submitted) == ([], [])


def test_without_a_key_nothing_begins(
    service: Service, workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSEMBLYAI_API_KEY")
    with pytest.raises(ConfigError, match="ASSEMBLYAI_API_KEY"):
        run(workspace, folder)
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "wrong")
    monkeypatch.setenv("ASSEMBLYAI_BASE_URL", "http://elsewhere.example.org")
    with pytest.raises(ConfigError, match="must begin with https"):
        run(workspace, folder)
    monkeypatch.setenv("ASSEMBLYAI_BASE_URL", service.url)
    service.faults["upload"] = [failing(401)]
    with pytest.raises(ConfigError, match="refuses the key"):
        run(workspace, folder)


def test_a_recording_without_sound_is_not_sent(service: Service, workspace: Workspace, tmp_path: Path) -> None:
    folder = recorded(tmp_path / "silent")
    (folder / "one.m4a").unlink()
    make_recording(folder / "one.mp4", RecordingSpec(tone_hz=None))
    assert run(workspace, folder).status is Status.DONE
    assert service.uploads == []


def test_a_wait_that_is_too_long_is_taken_up_by_the_next_run(
    service: Service, workspace: Workspace, folder: Path
) -> None:
    service.finished = False
    impatient = CONFIG.model_copy(update={"assemblyai": AssemblyAIConfig(patience_s=1, settle_s=2)})
    item = run(workspace, folder, impatient)
    assert item.status is Status.SKIPPED
    assert "run the same command again" in (item.reason or "")
    service.finished = True
    assert run(workspace, folder).status is Status.DONE
    assert (len(service.uploads), len(service.submitted)) == (1, 1)


def test_a_job_that_the_service_lost_is_paid_again_only_when_it_is_released(
    service: Service, workspace: Workspace, folder: Path
) -> None:
    service.faults["poll"] = [failing(404)]
    item = run(workspace, folder)
    assert item.status is Status.QUARANTINED
    assert "does not know the transcription" in (item.reason or "")
    assert run(workspace, folder).status is Status.QUARANTINED
    assert len(service.submitted) == 1
    for record in workspace.store.quarantines():
        workspace.store.release(record.key)
    assert run(workspace, folder).status is Status.DONE
    assert len(service.submitted) == 2


def test_a_job_that_failed_is_told_with_its_reason(service: Service, workspace: Workspace, folder: Path) -> None:
    service.answer = {"status": "error", "error": "no spoken\naudio " + "x" * 400, "text": None}
    item = run(workspace, folder)
    assert item.status is Status.QUARANTINED
    assert "could not transcribe it: no spoken audio" in (item.reason or "")
    assert len(item.reason or "") < 300


def test_a_malformed_transcript_is_quarantined_without_its_words(
    service: Service, workspace: Workspace, folder: Path
) -> None:
    word = {**WORDS[0], "start": -5}
    service.answer = {**ANSWER, "utterances": [{**word, "words": [word]}]}
    item = run(workspace, folder)
    assert item.status is Status.QUARANTINED
    assert "utterances[0]" in (item.reason or "")
    assert "how" not in (item.reason or "")
    assert len(service.submitted) == 1


@pytest.mark.parametrize(
    "fault",
    [
        failing(429, Retry_After="7"),
        failing(503),
        failing(200, "<html>not JSON</html>"),
        failing(200, "{}"),
    ],
)
@pytest.mark.parametrize("kind", ["poll", "list"])
def test_a_busy_or_confused_service_is_asked_again(service: Service, kind: str, fault: Response) -> None:
    clock = Clock()
    client = AssemblyAI(AssemblyAIConfig(), clock)
    identity = client.submit("https://cdn.example.org/1")
    service.faults[kind] = [fault, fault]
    if kind == "poll":
        assert wait_for(client, identity, 60)["text"] == "how so"
    else:
        assert client.find("https://cdn.example.org/1", time.time()) == "job-0"
        assert client.find("https://cdn.example.org/2", time.time()) is None
    if fault.status_code == 429:
        assert sum(clock.waited) >= 14
    client.close()


def test_a_service_that_stays_away_postpones(service: Service) -> None:
    client = AssemblyAI(AssemblyAIConfig(), Clock())
    service.faults["poll"] = [failing(500) for _ in range(6)]
    with pytest.raises(Postponed, match="6 attempts failed"):
        client.result("job-0")
    client.close()


def test_other_refusals_are_told_apart(service: Service) -> None:
    client = AssemblyAI(AssemblyAIConfig(), Clock())
    for status, kind in ((402, ConfigError), (410, JobLost), (400, ItemError)):
        service.faults["poll"] = [failing(status)]
        with pytest.raises(kind, match=str(status)):
            client.result("job-0")
    client.close()


@pytest.mark.parametrize("status", [200, 500])
def test_a_submission_without_a_readable_answer_is_found_and_not_repeated(
    service: Service, workspace: Workspace, folder: Path, status: int
) -> None:
    service.after_submit = lambda: failing(status, "?")
    assert run(workspace, folder).status is Status.DONE
    assert (len(service.uploads), len(service.submitted)) == (1, 1)


def test_the_list_is_read_on_until_it_is_older_than_the_submission(service: Service) -> None:
    client = AssemblyAI(AssemblyAIConfig())
    client.submit("https://cdn.example.org/1")
    service.others = 750
    assert client.find("https://cdn.example.org/1", time.time()) == "job-0"
    assert service.pages == 8
    service.pages = 0
    assert client.find("https://cdn.example.org/2", time.time()) is None
    assert service.pages == 8
    # Of an account that is younger than the submission the whole list is read.
    assert client.find("https://cdn.example.org/2", 0.0) is None
    assert service.pages > 20
    client.close()


def test_a_time_that_cannot_be_read_ends_no_search(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "entry", lambda *of: entry(*of) | {"created": "yesterday"})
    client = AssemblyAI(AssemblyAIConfig())
    assert client.find("https://cdn.example.org/2", time.time()) is None
    assert service.pages == 6
    client.close()


def test_an_upload_that_expired_is_sent_again(service: Service, workspace: Workspace, folder: Path) -> None:
    service.faults["submit"] = [failing(404)]
    assert run(workspace, folder).status is Status.DONE
    assert (len(service.uploads), len(service.submitted)) == (2, 1)


def test_forgetting_a_session_takes_its_ticket(service: Service, workspace: Workspace, folder: Path) -> None:
    service.finished = False
    item = run(workspace, folder, CONFIG.model_copy(update={"assemblyai": AssemblyAIConfig(patience_s=1, settle_s=2)}))
    assert len(list(workspace.store.job_records(item.item))) == 2
    forget(workspace, plan(workspace, item.item))
    assert list(workspace.store.job_records(item.item)) == []
    assert not list((workspace.root / "store" / "work").iterdir())


def test_silence_is_an_empty_transcript() -> None:
    assert transcript_of({"text": "", "utterances": []}, make_session().id).utterances == ()


def drive(root: Path, folder: Path) -> None:
    """What the driver process of the test does."""
    run(Workspace(root), folder)


def start(root: Path, folder: Path) -> subprocess.Popen[bytes]:
    places = f"Path({str(root)!r}), Path({str(folder)!r})"
    call = f"from tests.extraction.transcribers.test_assemblyai import *; drive({places})"
    return subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, env=dict(os.environ))


def kill(driver: subprocess.Popen[bytes]) -> None:
    driver.send_signal(signal.SIGKILL)
    driver.wait()


@pytest.mark.parametrize("moment", ["on its way", "lost on its way", "before the answer", "after the ticket"])
def test_a_driver_killed_around_its_payment_never_pays_twice(
    service: Service, folder: Path, tmp_path: Path, moment: str
) -> None:
    """The stand-in counts: one upload and one submission over three runs, two of them killed."""
    root = tmp_path / "work"
    drivers: list[subprocess.Popen[bytes]] = []

    def arrive(request: Request) -> Response | None:
        if len(drivers) == 1 and moment.endswith("way"):
            kill(drivers[-1])
            return failing(500) if moment.startswith("lost") else None
        return None

    def answer() -> Response | None:
        if len(drivers) == 1 and moment == "before the answer":
            kill(drivers[-1])
        return None

    service.before_submit, service.after_submit = arrive, answer
    service.listed_after_s = 0.7
    service.finished = False
    for _ in range(2):
        before = service.polls
        drivers.append(start(root, folder))
        deadline = time.monotonic() + 60
        while drivers[-1].poll() is None and service.polls == before and time.monotonic() < deadline:
            time.sleep(0.02)
        kill(drivers[-1])
    service.finished = True
    assert start(root, folder).wait(60) == 0
    assert (len(service.uploads), len(service.submitted)) == (1, 1)
    (done,) = (action for action in Workspace(root).store.actions() if action.stage == "transcribe-assemblyai")
    assert done.counts["utterances"] == 2


def test_two_drivers_at_the_same_session_pay_once(service: Service, folder: Path, tmp_path: Path) -> None:
    def arrive(request: Request) -> Response | None:
        time.sleep(1)
        return None

    service.before_submit = arrive
    drivers = [start(tmp_path / "work", folder) for _ in range(3)]
    assert [driver.wait(90) for driver in drivers] == [0, 0, 0]
    assert len(service.submitted) == 1
    workspace = Workspace(tmp_path / "work")
    (done,) = (action for action in workspace.store.actions() if action.stage == "transcribe-assemblyai")
    assert done.counts["utterances"] == 2
    assert list(workspace.store.quarantines()) == []

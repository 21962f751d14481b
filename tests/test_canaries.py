"""Canaries through every command: no secret is ever shown or kept, and no word that was said leaves its place.

Secrets lie in the environment, in `.env`, in addresses and in broken files. What was said may stand where a command's
own help says so: the words of `preview`, `explain --content` and `chat`, and the files that hold transcripts.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_therapist.cli import COMMANDS, console, main
from ai_therapist.cli.settings import CREDENTIALS
from ai_therapist.store.codec import canonical_json
from ai_therapist.testing import RecordingSpec, make_consent, make_recording
from tests.loopback_hub import CLIENT_WARNING, TOKEN, loopback_hub
from tests.store.arc import found_in
from tests.store.buckets import amazon_bucket

pytestmark = pytest.mark.filterwarnings(CLIENT_WARNING)

SESSIONS, TURNS, WORDS_A_TURN = 4, 4, 6
_VALUES = {"OPENAI_BASE_URL": "https://u:{0}@models.invalid/v1?key={0}", "LOCATION": "us-{0}"}
_FOREIGN = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "WANDB_API_KEY",
    "GITHUB_TOKEN",
    "DATABASE_URL",
    "MY_PASSWORD",
    "SLACK_TOKEN",
    "PGPASSWORD",
    "NETRC_PASSWORD",
    "SENTRY_DSN",
)
INLINE = ("--set", "pipeline.executor=inline")


@dataclass
class Study:
    """A finished workspace, what was planted, and what each command showed."""

    folder: Path
    secrets: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    """Words that a user typed to a model; they are nowhere but in the file that was asked for."""
    shown: dict[str, str] = field(default_factory=dict)
    logged: str = ""
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "study"

    def secret(self) -> str:
        self.secrets.append(f"skcanary{len(self.secrets):02d}x{len(self.secrets) * 7919 % 9973:04d}")
        return self.secrets[-1]

    def word(self) -> str:
        """Nothing that a rule could take for a name or an identifier."""
        number = len(self.words)
        self.words.append("zqv" + "".join("bdfghklm"[number >> shift & 7] + "aeiou"[number % 5] for shift in (0, 3, 6)))
        return self.words[-1]

    def run(self, *args: str, typed: str = "", called: str = "") -> str:
        """Run a command in this process as a user does, and keep what it showed."""
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(out):
            patch.setattr(sys, "argv", ["ai-therapist", *args])
            patch.setattr(sys, "stdin", io.StringIO(typed))
            for screen in (console.out, console.notes):
                patch.setattr(screen, "file", out)
            with pytest.raises(SystemExit) as caught:
                main()
        name = called or " ".join(args[:2] if args[0] in ("labels", "publish", "sync") else args[:1])
        self.shown[name] = self.shown.get(name, "") + out.getvalue()
        self.codes[name] = int(caught.value.code or 0)
        return out.getvalue()


def recordings(study: Study) -> Path:
    """Small real recordings with a transcript and a rights record beside each."""
    folder = study.folder / "recordings"
    folder.mkdir()
    length_ms = TURNS * 3500 + 500
    film = make_recording(folder / "s0.mp4", RecordingSpec(duration_ms=length_ms, fps=8, size_px=(32, 32)))
    for number in range(SESSIONS):
        lines = ["WEBVTT", ""]
        for turn in range(TURNS):
            begin, end = turn * 3500 + 200, turn * 3500 + 3400
            spoken = " ".join(study.word() for _ in range(WORDS_A_TURN))
            lines += [f"{_clock(begin)} --> {_clock(end)}", f"<v {'Therapist' if turn % 2 else 'Client'}>{spoken}", ""]
        (folder / f"s{number}.vtt").write_text("\n".join(lines))
        # A picture of its own tail makes each recording another one.
        (folder / f"s{number}.mp4").write_bytes(film.read_bytes() + b"\0\0\0\x08free" * number)
        rights = {"group": f"g{number}", "consent": make_consent()}
        (folder / f"s{number}.consent.json").write_bytes(canonical_json(rights))
    (folder / "broken.mp4").write_bytes(film.read_bytes()[:500])
    (folder / "broken.vtt").write_text("WEBVTT\n\n00:00.000 --> broken\n" + study.word())
    (folder / "broken.consent.json").write_text(json.dumps({"group": study.word(), "consent": study.word()}))
    return folder


def _clock(at_ms: int) -> str:
    return f"00:{at_ms // 60_000:02d}:{at_ms // 1000 % 60:02d}.{at_ms % 1000:03d}"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    made = Study(tmp_path_factory.mktemp("canaries"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("AI_THERAPIST_STATE", str(made.folder / "state"))
        for name in CREDENTIALS:
            patch.setenv(name, _VALUES.get(name, "{0}").format(made.secret()))
        for name in _FOREIGN:
            patch.setenv(name, made.secret())
        (made.folder / ".env").write_text("".join(f"{name}={made.secret()}\n" for name in CREDENTIALS))
        log = io.StringIO()
        handler = logging.StreamHandler(log)
        root, level = logging.getLogger(), logging.getLogger().level
        root.addHandler(handler)
        # What libraries say unasked; at DEBUG, which nothing of ours sets, botocore prints the headers it sends.
        root.setLevel(logging.INFO)
        handler.setLevel(logging.INFO)
        try:
            run_everything(made, patch)
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        made.logged = log.getvalue()
        yield made


def run_everything(made: Study, patch: pytest.MonkeyPatch) -> None:
    """Every command once, on one small study, and what can go wrong with a secret in it."""
    folder = str(recordings(made))
    here = ("-w", "study", *INLINE)
    named = (f"s{number} = {{Client = 'client', Therapist = 'therapist'}}" for number in range(SESSIONS))
    roles = f"extraction.roles.roles={{{', '.join(named)}}}"
    made.run("extract", folder, *here, "--set", "extraction.transcriber=files", "--set", roles)
    assert "4 done" in made.shown["extract"], made.shown["extract"]
    made.run("annotate", *here)
    made.run("dataset", *here)
    # The demo is the arc on the samples: minutes long, and held to the same bar by the soak test.
    made.run("demo", "--samples", "none")
    text = ("--set", "finetuning.base.media=none", "--set", "finetuning.epochs=1")
    for command in ("plan", "preview", "finetune"):
        made.run(command, *here, *text)
    made.run("verify-model", "-w", "study")
    answer = "Strategy: Others\nReply: So it is hard."
    (made.folder / "writer.json").write_text(json.dumps({"replies": [answer], "repeat": True}))
    rated = "emotional_reactions: 2\ninterpretations: 1\nexplorations: 0"
    (made.folder / "judge.json").write_text(json.dumps({"replies": [rated], "repeat": True}))
    quick = ("--set", "evaluation.resamples=1000", "--set", "evaluation.models=['scripted:writer.json']")
    made.run("evaluate", *here, *quick)
    made.run("compare", "study", "study", "--system-a", "majority", "--system-b", "tuned", "--resamples", "1000")
    made.run("judge", "-w", "study", "--rubric", "epitome", "--model", "scripted:judge.json")
    made.run("agreement", "-w", "study", "--set", "evaluation.resamples=1000")
    (made.folder / "rows.csv").write_text("split,transcript_id,utterance_id,label,text\n" + made.word())
    made.run("suite", "annomi-talk", "rows.csv")
    made.run("labels", "export", "csv", "-w", "study", "--rater", "ada")
    (made.folder / "wrong.csv").write_text("\n".join([made.word(), f"{made.word()},{made.word()}"]))
    made.run("labels", "import", "wrong.csv", "-w", "study")
    made.run("convert", f"{folder}/s0.vtt", "s0.eaf")
    made.run("convert", f"{folder}/broken.vtt", "broken.eaf")
    made.run("export", "messages", "-w", "study")
    talk(made)
    servers(made)
    made.run("publish", "dataset", "-w", "study", "--repository", "lab/talks", "--dry-run")
    with loopback_hub() as hub:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", TOKEN)
        made.secrets.append(TOKEN)
        for _ in range(2):
            made.run("publish", "dataset", "-w", "study", "--repository", "lab/talks")
    patch.setenv("HF_ENDPOINT", f"https://{made.secret()}:{made.secret()}@hub.invalid/?token={made.secret()}")
    made.run("publish", "dataset", "-w", "study", "--repository", "lab/talks")
    with pytest.MonkeyPatch.context() as bucket_keys, amazon_bucket(bucket_keys) as bucket:
        made.run("sync", "push", bucket.url, "-w", "study")
        made.run("sync", "pull", bucket.url, "-w", "copy/study")
    first = json.loads((made.root / "runs" / "extraction.json").read_bytes())["items"]
    done = next(item for item in first if item["status"] == "done")
    for args in (("status",), ("verify",), ("explain", done["item"]), ("review", "--rater", "A B")):
        made.run(*args, "-w", "study")
    made.run("doctor")
    made.run("config", "show")
    made.run("config", "show", "--json")
    wrong_requests(made)
    made.run("forget", "s3", "-w", "copy/study", "--yes")


def talk(made: Study) -> None:
    """What a user types to a model."""
    made.typed = [made.word() for _ in range(6)]
    said = " ".join(made.typed)
    made.run("chat", "--model", "scripted:writer.json", typed=f"{said}\n/clip {said}\n/quit\n")
    lines = [json.dumps({"id": "a", "text": said}), said, json.dumps({"id": said, "text": 5})]
    (made.folder / "asked.jsonl").write_text("\n".join(lines))
    made.run("predict", "asked.jsonl", "answers.jsonl", "--model", "scripted:writer.json")


def servers(made: Study) -> None:
    """serve and studio in processes of their own, as users start them; their whole output is kept."""
    body = json.dumps({"messages": [{"role": "user", "content": " ".join(made.typed)}]}).encode()
    wrong = json.dumps({"messages": [{"role": " ".join(made.typed), "content": 5}]}).encode()
    key = os.environ["SERVE_PASSWORD"]
    for command, requests in (("serve", (body, wrong)), ("studio", (None,))):
        log = made.folder / f"{command}.log"
        args = [sys.executable, "-m", "ai_therapist", command, "--port", "0", "-w", "study"]
        args += ["--model", "scripted:writer.json"] if command == "serve" else []
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as file, subprocess.Popen(args, stdout=file, stderr=file, env=environment) as process:
            address = _address(log, process)
            for data in requests:
                url = f"{address}/chat/completions" if data is not None else address
                asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
                asked.add_header("Authorization", f"Bearer {key}")
                try:
                    urllib.request.urlopen(asked, timeout=30).close()
                except urllib.error.HTTPError as error:
                    made.shown[f"{command} answers"] = error.read().decode()
                    error.close()
            process.send_signal(signal.SIGINT)
            made.codes[command] = process.wait(30)
        made.shown[command] = log.read_text()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+\S*", log.read_text())
        if found is not None and _answers(found.group()):
            return found.group()
        time.sleep(0.05)
    raise AssertionError(f"did not start: {log.read_text()}")


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def wrong_requests(made: Study) -> None:
    """A secret where it does not belong: each request is refused, and none repeats it."""
    one = made.secret
    (made.folder / "bad.toml").write_text(f"[inference]\nmodel = {one()}\n")
    for args in (
        ("extract", f"https://user:{one()}@evil.example/x.mp4?token={one()}"),
        ("extract", f"s3://{one()}:{one()}@bucket/x"),
        ("sync", "push", f"s3://{one()}:{one()}@bucket/x", "-w", "study"),
        ("config", "show", "-c", "bad.toml"),
    ):
        made.run(*args, called=f"wrong {args[0]} {len(made.secrets)}")
    (made.folder / ".env").write_text(f"just words {one()}\nHF_TOKEN {one()}\n")
    made.run("status", "-w", "study", called="wrong env")
    made.run("config", "show", called="wrong env")


def test_every_command_was_run_and_50_secrets_were_planted(study: Study) -> None:
    run = {name.split()[0] for name in study.shown}
    assert run >= set(COMMANDS) - {"demo"}
    assert len(study.secrets) >= 50
    assert len(study.words) >= 96
    must_work = ["extract", "annotate", "dataset", "plan", "finetune", "evaluate", "judge", "agreement", "export"]
    must_work += [
        "labels export",
        "predict",
        "sync push",
        "sync pull",
        "verify",
        "explain",
        "forget",
        "serve",
        "studio",
    ]
    failed = {name: study.shown[name] for name in must_work if study.codes[name] not in (0, 3)}
    assert not failed


def test_no_secret_is_shown_logged_or_kept(study: Study) -> None:
    everything = {**study.shown, "log": study.logged}
    leaks = {name: [s for s in study.secrets if s in text] for name, text in everything.items()}
    assert {name: found for name, found in leaks.items() if found} == {}
    for path in (study.folder / ".env", study.folder / "bad.toml"):
        path.unlink()
    assert found_in(study.folder, study.secrets) == set()


SHOWS_WORDS = {"preview", "chat"}
"""Commands whose help says that they print what people said."""


def test_no_word_that_was_said_is_shown_or_logged(study: Study) -> None:
    everything = {**study.shown, "log": study.logged}
    leaks = {
        name: [word for word in study.words if word in text][:3]
        for name, text in everything.items()
        if name not in SHOWS_WORDS
    }
    assert {name: found for name, found in leaks.items() if found} == {}
    assert any(word in study.shown["preview"] for word in study.words)


def test_no_word_that_was_said_is_in_ledgers_reports_cards_and_manifests(study: Study) -> None:
    root = study.root
    papers = [*root.glob("*.json"), *root.glob("*.html"), *root.glob("dataset/README.md"), *root.glob("dataset/*.json")]
    papers += [*root.glob("runs/*.json"), *root.glob("store/act/**/*.json"), *root.glob("store/bad/**/*.json")]
    papers += [*root.glob("view/finetuning/metrics.jsonl"), *root.glob("view/finetuning/README.md")]
    papers += [*(study.folder / "state").rglob("*")]
    assert {"report.json", "report.html", "README.md", "uploads.json", "extraction.json"} <= {p.name for p in papers}
    leaks = {
        path.relative_to(study.folder).as_posix(): [word for word in study.words if word in text][:3]
        for path in papers
        if path.is_file() and (text := path.read_text("utf-8", "replace"))
    }
    assert {name: found for name, found in leaks.items() if found} == {}


def test_what_was_typed_to_a_model_is_in_no_file_but_those_of_the_user(study: Study) -> None:
    for name in ("asked.jsonl", "answers.jsonl"):
        (study.folder / name).unlink(missing_ok=True)
    assert found_in(study.folder, study.typed) == set()


SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_whole_demo_keeps_secrets_and_sentences(tmp_path: Path) -> None:
    """The arc on the samples in a process of its own, worker processes included, with every log of Python printed."""
    planted = Study(tmp_path)
    environment = dict(os.environ, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    environment |= {name: _VALUES.get(name, "{0}").format(planted.secret()) for name in CREDENTIALS}
    environment |= {name: planted.secret() for name in _FOREIGN}
    (tmp_path / ".env").write_text("".join(f"{name}={planted.secret()}\n" for name in CREDENTIALS * 3))
    code = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "import sys; sys.argv = ['ai-therapist', 'demo', '-w', 'demo', '--samples', sys.argv[1]]\n"
        "from ai_therapist.cli import main\n"
        "if __name__ == '__main__': main()\n"
    )
    (tmp_path / "start.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "start.py", str(SAMPLES)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / ".env").unlink()
    assert len(planted.secrets) >= 50
    assert not [secret for secret in planted.secrets if secret in done.stdout + done.stderr]
    assert found_in(tmp_path, planted.secrets) == set()
    sentences = {
        turn["text"]
        for gold in (SAMPLES / "gold").glob("*.json")
        for turn in json.loads(gold.read_bytes())["utterances"]
        if len(turn["text"].split()) >= 4
    }
    assert len(sentences) >= 50
    papers = [done.stdout + done.stderr]
    for pattern in (
        "*.json",
        "*.html",
        "runs/*.json",
        "store/act/**/*.json",
        "store/bad/**/*.json",
        "dataset/README.md",
    ):
        papers += [path.read_text("utf-8") for path in (tmp_path / "demo").glob(pattern)]
    assert len(papers) > 50
    assert not [sentence for sentence in sentences if any(sentence in paper for paper in papers)]

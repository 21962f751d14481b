"""Every command: its help, what a user gets wrong, and the exit codes."""

import codecs
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ai_therapist.cli import COMMANDS
from ai_therapist.cli.settings import Settings, resolve
from ai_therapist.extraction.config import AssemblyAIConfig
from ai_therapist.store.actions import QuarantineRecord
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import make_consent, make_digest, make_recording
from tests.cli.conftest import Cli


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run_cli: Cli, name: str) -> None:
    shown = run_cli(name, "--help")
    assert shown.code == 0
    assert f"ai-therapist {name}" in shown.out
    assert "Example:" in shown.out


def test_the_list_says_what_each_command_says(run_cli: Cli) -> None:
    shown = run_cli("--help")
    assert shown.code == 0
    for name in COMMANDS:
        assert f"  {name} " in shown.out


def test_python_dash_m_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ai_therapist", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("ai-therapist, version ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["extrct", "."], "did you mean 'extract'?"),
        (["extract", "nowhere"], "nowhere is no folder"),
        (["extract"], "Missing argument"),
        (["annotate", "-w", "nowhere"], "nowhere is no workspace"),
        (["explain", "nonsense"], "is no record id"),
        (["config", "show", "--set", "extraction.clips.min_clip=1"], "did you mean 'extraction.clips.min_clip_ms'?"),
        (["config", "show", "--set", "extractoin.clips.min_clip_ms=1"], "did you mean 'extraction'?"),
        (["config", "show", "--set", "extraction=1"], "is a table of settings"),
        (["config", "show", "--set", "extraction.clips.min_clip_ms=soon"], "extraction.clips.min_clip_ms"),
        (["config", "show", "--set", "pipeline.workers=-1"], "pipeline.workers: must be 0 or more"),
        (["config", "show", "--set", "pipeline.executor=rey"], "pipeline.executor: must be 'local', 'inline' or 'ray'"),
        (["config", "show", "--set", "nothing"], "TABLE.KEY=VALUE"),
        (["config", "show", "-c", "nowhere.toml"], "nowhere.toml: No such file"),
    ],
)
def test_wrong_requests_get_one_line_and_exit_code_2(run_cli: Cli, args: list[str], message: str) -> None:
    shown = run_cli(*args)
    assert shown.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_a_folder_without_a_recording(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shown = run_cli("extract", "empty")
    assert shown.code == 2
    assert "empty" in shown.err
    assert shown.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_recording_without_consent_is_skipped_with_a_reason(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    make_recording(tmp_path / "rec" / "one.mp4")
    shown = run_cli("extract", "rec", "-w", "work")
    assert shown.code == 3
    assert "1 read, 0 done, 1 skipped, 0 quarantined" in shown.out
    assert "one.consent.json" in shown.out


def test_a_broken_recording_is_quarantined_and_the_rest_is_done(run_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    make_recording(folder / "good.mp4")
    (folder / "bad.mp4").write_bytes((folder / "good.mp4").read_bytes()[:900])
    for name in ("good", "bad"):
        rights = {"group": name, "consent": make_consent()}
        (folder / f"{name}.consent.json").write_bytes(canonical_json(rights))
    shown = run_cli("extract", "rec", "-w", "work", "--set", "pipeline.executor=inline")
    assert shown.code == 3
    assert "2 read, 1 done, 0 skipped, 1 quarantined" in shown.out
    status = run_cli("status", "-w", "work", "--release")
    assert status.code == 0
    assert "quarantined: " in status.out
    assert "1 quarantined actions released" in status.out
    assert run_cli("verify", "-w", "work").code == 0
    shown = run_cli("annotate", "-w", "work", "--set", "pipeline.executor=inline")
    assert shown.code == 0


def test_settings_file_is_found_overridden_and_explained(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ai-therapist.toml").write_text("[extraction.clips]\nmin_clip_ms = 2500\n[pipeline]\nworkers = 3\n")
    shown = run_cli("config", "show", "--verbose", "--set", "pipeline.workers=1")
    assert shown.code == 0
    assert "clips.min_clip_ms = 2500  # ai-therapist.toml" in shown.out
    assert "workers = 1  # --set pipeline.workers" in shown.out
    assert 'executor = "local"  # default' in shown.out
    assert "Worker processes, 1 or more; 0 takes one per core." in shown.out


def test_settings_as_json_read_back(run_cli: Cli) -> None:
    shown = run_cli("config", "show", "--json")
    assert json.loads(shown.out)["pipeline"] == {
        "executor": "local",
        "workers": 0,
        "network": "auto",
        "store": "",
    }


def test_settings_as_json_hold_every_setting_that_can_be_set(run_cli: Cli) -> None:
    shown = json.loads(run_cli("config", "show", "--json", "--set", "extraction.whisper.device=cuda").out)
    assert shown["extraction"]["whisper"]["device"] == "cuda"
    assert list(shown["extraction"]["assemblyai"]) == list(AssemblyAIConfig.model_fields)
    keys = [key for key, *_ in resolve(None, ()).rows()]
    for key in keys:
        table = shown
        for part in key.split("."):
            table = table[part]
    assert resolve(None, ()).settings == Settings.model_validate_json(run_cli("config", "show", "--json").out)


def test_annotate_without_a_finished_session_says_so(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    make_recording(tmp_path / "rec" / "one.mp4")
    assert run_cli("extract", "rec", "-w", "work", "--set", "pipeline.executor=inline").code == 3
    shown = run_cli("annotate", "-w", "work", "--set", "pipeline.executor=inline")
    assert shown.code == 2
    assert shown.err == "ai-therapist: work: no session is extracted; see  ai-therapist status -w work\n"


def test_broken_toml_and_dotenv_are_named(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[extraction\n")
    shown = run_cli("config", "show", "-c", "mine.toml")
    assert (shown.code, "not valid TOML" in shown.err) == (2, True)
    (tmp_path / ".env").write_text("# keys\nHF_TOKEN=secret-value\njust words\n")
    shown = run_cli("config", "show")
    assert (shown.code, ".env, line 3" in shown.err) == (2, True)
    assert "just words" not in shown.err


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_dotenv_that_is_no_utf8_is_told_without_its_content(run_cli: Cli, tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=sécret\n", encoding)
    shown = run_cli("config", "show")
    assert (shown.code, shown.err) == (2, "ai-therapist: .env: not UTF-8: save it as UTF-8 text\n")


def test_a_dotenv_that_is_no_file_is_told(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    shown = run_cli("config", "show")
    assert (shown.code, shown.err.count("\n")) == (2, 1)
    assert ".env: Is a directory: it must be a file" in shown.err


def test_a_dotenv_that_may_not_be_read_is_told(run_cli: Cli, tmp_path: Path) -> None:
    # Root reads everything, but nobody follows a circle.
    (tmp_path / ".env").symlink_to(tmp_path / ".env")
    shown = run_cli("config", "show")
    assert (shown.code, shown.err.count("\n")) == (2, 1)
    assert ".env: Too many levels of symbolic links" in shown.err


def test_settings_and_dotenv_may_begin_with_a_byte_order_mark(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / ".env").write_bytes(codecs.BOM_UTF8 + b"HF_TOKEN=secret-value\n")
    (tmp_path / "ai-therapist.toml").write_bytes(codecs.BOM_UTF8 + b"[pipeline]\nworkers = 3\n")
    shown = run_cli("config", "show")
    assert shown.code == 0, shown.err
    assert "workers = 3  # ai-therapist.toml" in shown.out
    assert os.environ["HF_TOKEN"] == "secret-value"


def test_settings_that_are_no_utf8_are_told(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[pipeline]\n", "utf-16")
    shown = run_cli("config", "show", "-c", "mine.toml")
    assert (shown.code, shown.err) == (2, "ai-therapist: mine.toml: not UTF-8: save it as UTF-8 text\n")


def test_credentials_are_never_shown(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / ".env").write_text("export HF_TOKEN='secret-value'\nUNRELATED=other\n")
    for args in (("config", "show"), ("doctor",)):
        shown = run_cli(*args)
        assert shown.code == 0
        assert "HF_TOKEN" in shown.out
        assert "secret-value" not in shown.out + shown.err
    assert "# HF_TOKEN: set" in run_cli("config", "show").out


def test_doctor_names_versions(run_cli: Cli) -> None:
    shown = run_cli("doctor")
    assert shown.code == 0
    assert "av " in shown.out
    assert "ready" in shown.out


def test_verify_finds_damage_with_exit_code_1(run_cli: Cli, tmp_path: Path) -> None:
    store = Workspace(tmp_path / "work").store
    path = store.path(store.put_bytes(b"as written"))
    path.chmod(0o644)
    path.write_bytes(b"as changed")
    shown = run_cli("verify", "-w", "work")
    assert shown.code == 1
    assert "content does not match its name" in shown.out


def test_status_shows_every_ledger(run_cli: Cli, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    items = tuple(
        ItemRecord(
            item=f"i{number}",
            name=f"item {number}",
            status=status,
            reason=None if status is Status.DONE else "because of the test",
            artefacts={},
            actions=(),
            counts={},
        )
        for number, status in enumerate(Status)
    )
    workspace.save_run(RunRecord(run="extraction", config={}, read=3, items=items))
    workspace.store.quarantine(
        QuarantineRecord(key=make_digest("k"), stage="s", item="i2", reason="because of the test", attempts=1)
    )
    shown = run_cli("status", "-w", "work")
    assert shown.code == 0
    assert shown.out.count("because of the test") == 2


def test_status_names_sessions_whose_roles_are_for_review(run_cli: Cli, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    item = ItemRecord(
        item="ses_000000000000",
        name="anna_1",
        status=Status.DONE,
        reason=None,
        artefacts={},
        actions=(),
        counts={"roles_to_review": 2},
    )
    workspace.save_run(RunRecord(run="extraction", config={}, read=1, items=(item,)))
    shown = run_cli("status", "-w", "work")
    assert shown.code == 0
    assert "review: anna_1 (ses_000000000000): 2 voices have no role" in shown.out
    assert "[extraction.roles.roles.anna_1]" in shown.out


def test_an_unknown_record_is_named(run_cli: Cli, tmp_path: Path) -> None:
    Workspace(tmp_path / "work")
    shown = run_cli("explain", "utt_000000000000", "-w", "work")
    assert shown.code == 2
    assert "utt_000000000000" in shown.err


def test_demo_without_samples_says_what_to_do(run_cli: Cli, tmp_path: Path) -> None:
    shown = run_cli("demo", "--samples", tmp_path / "none")
    assert shown.code == 2
    assert "none" in shown.err

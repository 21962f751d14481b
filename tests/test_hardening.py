"""House rules of security that a program can check: who writes, what is never unpickled, what never opens a socket."""

import ast
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ai_therapist
from ai_therapist.cli.settings import CREDENTIALS
from tests.cli.conftest import Cli, run_cli
from tests.store.arc import found_in, make_arc

__all__ = ["run_cli"]

SOURCE = Path(ai_therapist.__file__).parent
ROOT = Path(__file__).parents[1]

WRITERS = {
    "annotation/exchange/run.py": "removes an earlier hand-out; writes through the store",
    "dataset/export.py": "folders for other programs, prepared in a private folder",
    "dataset/layouts.py": "clips and tables, into a private folder",
    "dataset/folder.py": "the card and its papers, into the private folder of a stage",
    "dataset/release.py": "removes what an earlier upload left in its folder",
    "dataset/run.py": "removes what an earlier dataset left in its folder",
    "dataset/tables.py": "parquet, into the private folder of a stage",
    "evaluation/predictions.py": "answers so far, into the folder that an unfinished action keeps",
    "extraction/clips.py": "clips in the private folder of a stage",
    "finetuning/stock_layout.py": "a language model and its adapter, to the new folder that the user named",
    "finetuning/saved_model.py": "models, into the private folder of a stage",
    "finetuning/run.py": "parts of an earlier model, into a private folder on the way to the store",
    "finetuning/base.py": "a random base, into the private folder of a stage",
    "finetuning/trainer.py": "how far a stopped run was, beside its checkpoints",
    "finetuning/features.py": "features, into the private folder of a stage",
    "finetuning/publish.py": "what is published of a model, in the private folder of exports; writes through the store",
    "finetuning/checkpoint.py": "drops old checkpoints; writes through the store",
    "inference/batch.py": "answers so far, to the file that the user named",
    "inference/clip.py": "a clip that came as bytes, into a private folder that is gone after the turn",
    "media/pictures.py": "a WAV file in memory",
    "media/standardise.py": "an encoder, into the private folder of a stage",
    "media/cut.py": "an encoder, into the private folder of a stage",
    "media/sound.py": "16 kHz sound, into the private folder of a stage",
    "pipeline/limits.py": "the folder of this user's counters: scopes and numbers, no content",
    "testing.py": "recordings for tests",
}
"""Files outside the store that write, each with its reason."""

_WRITES = {"write_text", "write_bytes", "mkdir", "unlink", "rename", "replace_file", "rmtree", "copyfile", "copytree"}
_WRITES |= {"touch", "symlink_to", "hardlink_to", "save_file", "write_table", "makedirs", "remove", "save_pretrained"}
_UNPICKLERS = {"marshal", "shelve", "dill", "cloudpickle", "joblib"}


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "videollama2" not in path.parts)


def _opens_for_writing(call: ast.Call) -> bool:
    if name_of(call).rpartition(".")[2] != "open":
        return False
    literals = [arg.value for arg in (*call.args, *(k.value for k in call.keywords)) if isinstance(arg, ast.Constant)]
    return any(isinstance(value, str) and value in {"w", "wb", "x", "xb", "a", "ab", "r+", "w+"} for value in literals)


def test_only_the_store_and_listed_stage_files_write() -> None:
    found = set()
    for path in modules():
        relative = path.relative_to(SOURCE).as_posix()
        if relative.startswith("store/"):
            continue
        names = {name_of(call).rpartition(".")[2] for call in calls(path) if "." in name_of(call)}
        if names & (_WRITES - {"remove"}) or any(map(_opens_for_writing, calls(path))):
            found.add(relative)
    assert found <= set(WRITERS), f"new writers: {sorted(found - set(WRITERS))}"


def test_nothing_is_unpickled() -> None:
    for path in SOURCE.rglob("*.py"):
        relative = path.relative_to(SOURCE).as_posix()
        tree = ast.parse(path.read_text("utf-8"))
        imported = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {
            node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not imported & _UNPICKLERS, relative
        for call in calls(path):
            name = name_of(call)
            assert not name.startswith("pickle."), f"{relative}: {name}"
            assert name not in {"eval", "exec", "os.system", "yaml.load"}, f"{relative}: {name}"
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert options.get("allow_pickle") != "True", relative
            assert options.get("trust_remote_code", "False") == "False", relative
            assert options.get("shell", "False") == "False", relative
            if name == "torch.load":
                assert options.get("weights_only") == "True", f"{relative}: torch.load without weights_only"


def test_the_local_commands_open_no_socket(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    arc = make_arc(tmp_path / "study", "one", "two", turns=10)
    for command in ("dataset", "annotate", "status", "verify"):
        assert run_cli(command, "-w", arc.workspace.root, "--set", "pipeline.executor=inline").code in (0, 2, 3), (
            command
        )
    assert run_cli("forget", "one", "-w", arc.workspace.root, "--yes").code == 0


def test_no_secret_and_no_word_reaches_screen_log_ledger_or_card(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """50 secrets in the environment and in .env, 500 words in the sessions; the dataset is where words may stand."""
    caplog.set_level(logging.DEBUG)
    arc = make_arc(tmp_path / "study", "one", "two", turns=40)
    secrets = [f"sk-canary-{number:02d}-{name.lower()}" for number in range(5) for name in CREDENTIALS[:10]]
    for name, secret in zip(CREDENTIALS, secrets, strict=False):
        monkeypatch.setenv(name, secret)
    (tmp_path / ".env").write_text("\n".join(f"HF_TOKEN={secret}" for secret in secrets))
    words = [word for one in arc.planted for word in one.words]
    shown = ""
    for command in (
        ("annotate", "-w", "study", "--set", "pipeline.executor=inline"),
        ("dataset", "-w", "study", "--set", "pipeline.executor=inline"),
        ("dataset", "-w", "study", "--set", "dataset.context_turns=none"),
        ("status", "-w", "study"),
        ("verify", "-w", "study"),
        ("explain", arc.planted[0].id, "-w", "study"),
        ("doctor",),
        ("config", "show"),
        ("forget", "nobody", "-w", "study"),
    ):
        done = run_cli(*command)
        shown += done.out + done.err
    shown += caplog.text + (arc.workspace.dataset / "README.md").read_text("utf-8")
    assert len(secrets) == 50
    assert not [secret for secret in secrets if secret in shown]
    assert found_in(arc.workspace.root, secrets) == set()
    spoken = [word for word in words if word not in {one.words[20] for one in arc.planted}]
    assert not [word for word in spoken if word in shown]
    assert found_in(arc.workspace.root / "runs", spoken) == set()


def test_the_list_of_parts_is_the_one_that_constraints_give() -> None:
    script = ROOT / "scripts" / "write_sbom.py"
    shown = subprocess.run([sys.executable, str(script), "--print"], capture_output=True, text=True, check=True).stdout
    committed = (ROOT / "docs" / "sbom.json").read_text("utf-8")
    assert shown == committed, "run  python scripts/write_sbom.py"
    parts = json.loads(committed)["components"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert len(parts) == sum("==" in line and not line.startswith("#") for line in pins)


@pytest.mark.parametrize(("package", "least"), [("torch", (2, 10)), ("transformers", (5, 3)), ("pillow", (11, 0))])
def test_pinned_versions_are_past_known_holes(package: str, least: tuple[int, int]) -> None:
    parts = {
        part["name"]: part["version"] for part in json.loads((ROOT / "docs" / "sbom.json").read_bytes())["components"]
    }
    version = tuple(int(number) for number in parts[package].split("+")[0].split(".")[:2])
    assert version >= least

"""The house rules that a program can check: who imports whom, what loads at start, how modules are named."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ai_therapist

SOURCE = Path(ai_therapist.__file__).parent
STAGES_BASE = {"errors", "records", "privacy", "safety", "store", "pipeline", "media", "models"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "svg": set(),
    "records": {"errors"},
    "formats": {"errors", "records"},
    "privacy": {"errors", "records"},
    "safety": {"errors", "records"},
    "store": {"errors", "records"},
    "pipeline": {"errors", "records", "store"},
    "media": {"errors", "records"},
    "videollama2": set(),
    "models": {"errors", "records", "media", "videollama2", "pipeline.limits"},
    "extraction": STAGES_BASE | {"formats"},
    "annotation": STAGES_BASE | {"formats"},
    "dataset": {"errors", "records", "privacy", "formats", "store", "pipeline", "media"},
    "finetuning": STAGES_BASE | {"videollama2", "dataset", "svg"},
    "evaluation": STAGES_BASE | {"videollama2", "dataset", "svg"},
    "inference": STAGES_BASE | {"videollama2", "dataset"},
    "serving": STAGES_BASE | {"dataset", "annotation", "evaluation", "inference"},
    "testing": {"records"},
}
HEAVY_ONLY_IN = (
    "videollama2/",
    "models/base.py",
    "models/local.py",
    "models/prompt_embeds.py",
    "models/sampling.py",
    "models/weighing.py",
    "models/causal.py",
    "models/contextual.py",
    "models/videollama2.py",
    "finetuning/",
    "safety/crisis_encoder.py",
    "safety/crisis_second.py",
    "safety/encoder_layers.py",
)


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so when it is itself imported."""
    tree = ast.parse(path.read_text("utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.level == 0:
                yield node.module, id(node) in top
            else:
                # A library of its own may name its own modules without saying where it lies.
                assert node.level == 1, f"{path}: relative import beyond its room"
                assert room_of(path) == "videollama2", f"{path}: relative import"


def room_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_follow_the_house(path: Path) -> None:
    room = room_of(path)
    if room in {"cli", "__init__", "__main__"}:
        return
    assert room in MAY_IMPORT, f"{room} is no room of the house"
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "ai_therapist" or len(parts) == 1 or parts[1] == room:
            continue
        target = parts[1]
        allowed = MAY_IMPORT[room]
        assert target in allowed or ".".join(parts[1:3]) in allowed, f"{room} must not import {module}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_torch_stays_where_it_is_used(path: Path) -> None:
    relative = path.relative_to(SOURCE).as_posix()
    if relative.startswith(HEAVY_ONLY_IN):
        return
    for module, _ in imports(path):
        assert module.split(".")[0] not in {"torch", "transformers", "peft"}, f"{relative} imports {module}"


def test_no_module_is_named_for_its_mechanism() -> None:
    names = {path.stem for path in modules()}
    assert not names & {"utils", "util", "common", "helpers", "constants", "misc", "manager", "engine"}


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['ai-therapist', '--help']\n"
        "from ai_therapist.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'rich', 'av'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_stage_package_has_a_config_and_a_run() -> None:
    for room in ("extraction", "annotation", "dataset", "finetuning", "evaluation", "inference"):
        for name in ("config.py", "run.py"):
            assert (SOURCE / room / name).exists(), f"{room} lacks {name}"

"""The command shows groups, pairs and classes, or the figures as JSON; a judge's file is still measured."""

import json
from pathlib import Path

import pytest

from ai_therapist.store.workspace import Workspace
from tests.cli.conftest import Cli
from tests.dataset.builders import make_parts, save_annotated


def test_tables_are_shown_with_groups_pairs_and_classes(run_cli: Cli, tmp_path: Path) -> None:
    rows = "".join(f"{n},{rater},{'yes' if n % 3 else 'no'}\n" for n in range(9) for rater in ("x", "y", "z"))
    (tmp_path / "ratings.csv").write_text(f"item,rater,label\n{rows}")
    shown = run_cli("agreement", "ratings.csv", "--set", "evaluation.resamples=1000")
    assert shown.code == 0
    for text in ("Cohen's kappa", "Fleiss' kappa", "alpha", "yes", "1.00", "1000 resamples"):
        assert text in shown.out
    read = json.loads(run_cli("agreement", "ratings.csv", "--json", "--set", "evaluation.resamples=1000").out)
    assert read["tasks"][0]["people"]["alpha"]["value"] == pytest.approx(1)


def test_a_workspace_of_one_model_says_that_nobody_can_be_compared(run_cli: Cli, tmp_path: Path) -> None:
    save_annotated(Workspace(tmp_path / "study"), [make_parts("one")])
    shown = run_cli("agreement", "-w", "study")
    assert shown.code == 0
    assert "agreement needs at least two raters" in shown.out
    assert run_cli("agreement", "-w", "nowhere").code == 2


def test_a_judges_file_needs_one_table(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text("{}")
    shown = run_cli("agreement", "judge.json")
    assert (shown.code, "one table" in shown.err) == (2, True)

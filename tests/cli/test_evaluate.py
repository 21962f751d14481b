"""ai-therapist evaluate."""

import json
from pathlib import Path

from tests.cli.conftest import Cli
from tests.evaluation.arc import make_arc, make_gold


def test_no_figure_is_shown_without_the_majority_baseline(run_cli: Cli, tmp_path: Path) -> None:
    make_arc(tmp_path / "study", [make_gold(f"s{at}") for at in range(4)])
    settings = ('evaluation.systems=["text-only", "majority"]', "evaluation.resamples=1000")
    shown = run_cli("evaluate", "-w", "study", "--quote", *(part for each in settings for part in ("--set", each)))
    assert shown.code == 0, shown.err
    for field in ("client emotion", "strategy", "therapist emotion"):
        told = shown.out.partition(f"{field}: ")[2]
        assert told.index("text-only accuracy") < told.index("majority accuracy")
    assert set(json.loads((tmp_path / "study" / "report.json").read_bytes())["evaluation"]) == {"text-only", "majority"}
    assert "It quotes what clients said." in (tmp_path / "study" / "report.html").read_text("utf-8")

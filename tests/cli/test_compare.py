"""ai-therapist compare."""

from pathlib import Path

from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.evaluation.run import evaluate
from ai_therapist.pipeline.executors import InlineExecutor
from tests.cli.conftest import Cli
from tests.evaluation.arc import make_arc, make_gold


def test_two_systems_of_one_workspace(run_cli: Cli, tmp_path: Path) -> None:
    workspace = make_arc(tmp_path / "study", [make_gold(f"s{at}") for at in range(4)])
    config = EvaluationConfig(systems=("majority", "copy-gold"), resamples=1000)
    evaluate(workspace, config, InlineExecutor(workspace.store), None, {})
    shown = run_cli(
        "compare", "study", "study", "--system-a", "majority", "--system-b", "copy-gold", "--resamples=1000"
    )
    assert shown.code == 0
    assert "majority of study minus copy-gold of study" in shown.out
    assert "macro_f1" in shown.out
    refused = run_cli("compare", "study", "study")
    assert refused.code == 2
    assert "holds no predictions of 'tuned'; it has majority, copy-gold" in refused.err

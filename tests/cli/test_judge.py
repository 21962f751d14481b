"""ai-therapist judge and ai-therapist agreement."""

import json
from pathlib import Path

from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.evaluation.run import evaluate
from ai_therapist.models.catalogue import open_model
from ai_therapist.pipeline.executors import InlineExecutor
from tests.cli.conftest import Cli
from tests.evaluation.arc import make_arc, make_gold

RATED = "emotional_reactions: 2\ninterpretations: 1\nexplorations: 0"


def test_stored_replies_are_rated_and_the_judge_compared_with_people(run_cli: Cli, tmp_path: Path) -> None:
    for name, answer in (("writer.json", "Strategy: Others\nReply: So it is hard."), ("judge.json", RATED)):
        (tmp_path / name).write_text(json.dumps({"replies": [answer], "repeat": True}), "utf-8")
    workspace = make_arc(tmp_path / "study", [make_gold(f"s{at}") for at in range(3)])
    writer = f"scripted:{tmp_path / 'writer.json'}"
    name = open_model(writer).name
    config = EvaluationConfig(systems=("majority",), models=(writer,), resamples=1000)
    evaluate(workspace, config, InlineExecutor(workspace.store), None, {})
    judge = ("judge", "-w", "study", "--rubric", "epitome", "--model", f"scripted:{tmp_path / 'judge.json'}")
    shown = run_cli(*judge, "--system", name)
    assert shown.code == 0, shown.err
    assert "NOT CALIBRATED" in shown.out
    assert "emotional_reactions: 2.00" in shown.out
    found = json.loads((tmp_path / "study" / f"judge-{name}-epitome.json").read_bytes())
    self_compared = run_cli(*judge, "--system", name, "--against", name)
    assert self_compared.code == 0, self_compared.err
    assert f"{len(found['replies'])} without a verdict" in self_compared.out
    people = [f"{each['example']},interpretations,{at % 3}\n" for at, each in enumerate(found["replies"])]
    (tmp_path / "people.csv").write_text("example,item,rating\n" + "".join(people), "utf-8")
    compared = run_cli("agreement", f"study/judge-{name}-epitome.json", "people.csv")
    assert compared.code == 0, compared.err
    assert f"ratings compared: {len(people)}" in compared.out
    assert "NOT CALIBRATED" in compared.out

    assert "hold no reply" in run_cli(*judge, "--system", "majority").err
    refused = run_cli("judge", "-w", "study", "--model", "embedded")
    assert refused.code == 2
    assert "it cannot judge" in refused.err

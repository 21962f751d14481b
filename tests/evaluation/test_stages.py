"""What the stages hang on, and on nothing else."""

from ai_therapist.evaluation.config import EvaluationConfig
from ai_therapist.evaluation.stages import measure_stage, predict_stage
from ai_therapist.testing import make_digest

EXAMPLES = {"examples": make_digest("examples")}


def key(config: EvaluationConfig, **artefacts: str) -> str:
    stage = predict_stage(config)
    return stage.key(stage.inputs(EXAMPLES | {name: make_digest(value) for name, value in artefacts.items()}))


def test_predictions_hang_on_system_model_and_reply_length_alone() -> None:
    default = EvaluationConfig()
    base = key(default, system="tuned", model="one")
    assert key(EvaluationConfig(resamples=5000, seed=9, systems=("majority",)), system="tuned", model="one") == base
    assert key(default, system="tuned", model="one", gold="new", annotations="new") == base
    others = {
        key(default, system="tuned", model="two"),
        key(default, system="majority"),
        key(EvaluationConfig(reply_tokens=1), system="tuned", model="one"),
    }
    assert len(others | {base}) == 4


def test_a_session_is_measured_again_for_other_gold_and_not_for_another_view() -> None:
    stage = measure_stage()
    needed = {name: make_digest(name) for name in ("session", "transcript", "utterances", "clips", "clip/clp_1")}
    base = stage.key(stage.inputs(needed))
    assert stage.key(stage.inputs(needed | {"readable/transcript.txt": make_digest("view")})) == base
    assert stage.key(stage.inputs(needed | {"gold": make_digest("gold")})) != base
    assert stage.key(stage.inputs(needed | {"annotations": make_digest("labels")})) != base

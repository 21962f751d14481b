"""Settings of the evaluation are checked and cost nothing to import."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from ai_therapist.evaluation.config import EvaluationConfig, Resampling


def test_the_defaults_resample_ten_thousand_times() -> None:
    assert EvaluationConfig().resampling == Resampling(10_000, 0)


@pytest.mark.parametrize("wrong", [{"resamples": 10}, {"seed": -1}, {"reply_tokens": -1}, {"systems": ("oracle",)}])
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EvaluationConfig.model_validate(wrong)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in EvaluationConfig.model_fields.values())


def test_reading_the_settings_loads_no_heavy_package() -> None:
    code = "import sys, ai_therapist.evaluation.config; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

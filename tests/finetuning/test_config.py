"""The preset is a full set of values, each described, each open to change within its range."""

from typing import Any

import pytest
from pydantic import ValidationError

from ai_therapist.finetuning.config import BaseConfig, FinetuningConfig


@pytest.mark.parametrize("model", [FinetuningConfig, BaseConfig])
def test_every_field_has_a_default_and_a_description(model: type[BaseConfig] | type[FinetuningConfig]) -> None:
    model()
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "huge"},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"batch": 4},
        {"base": {"vocabulary_size": 256}},
        {"base": {"num_frames": 1}},
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FinetuningConfig.model_validate(wrong)

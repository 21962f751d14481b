"""Settings of a conversation are checked before any model is loaded."""

import pytest
from pydantic import ValidationError

from ai_therapist.inference.config import InferenceConfig


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in InferenceConfig.model_fields.values())


@pytest.mark.parametrize("setting", [{"country": "Germany"}, {"reply_timeout_s": 0.0}, {"max_tokens": 0}, {"clip": 1}])
def test_a_wrong_setting_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InferenceConfig.model_validate(setting)

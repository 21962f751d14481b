"""Settings of annotation."""

import pytest
from pydantic import ValidationError

from ai_therapist.annotation.config import AnnotationConfig, ResolvedAnnotation
from ai_therapist.records import Task


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in AnnotationConfig.model_fields.values())


@pytest.mark.parametrize(
    "settings",
    ['{"tasks": ["emotion", "emotion"]}', '{"tasks": []}', '{"attempts": 0}', '{"min_margin": 1.5}', '{"x": 1}'],
)
def test_impossible_settings_are_refused(settings: str) -> None:
    with pytest.raises(ValidationError):
        AnnotationConfig.model_validate_json(settings)


def test_the_path_of_an_annotator_stays_out_of_the_key() -> None:
    config = AnnotationConfig(annotator="scripted:here.json", tasks=(Task.EMOTION,))
    resolved = ResolvedAnnotation(**config.model_dump(), revision="scripted@1", prompts={}, codebook="1.0")

    assert resolved.annotator == "scripted:here.json"
    assert "annotator" not in resolved.model_dump(mode="json")

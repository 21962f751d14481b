"""Hiding is asked for by settings, and only then changes what is made."""

import pytest
from pydantic import ValidationError

from ai_therapist.extraction.config import AnonymiseConfig, ExtractionConfig, NoConfig
from ai_therapist.extraction.run import stages

INPUTS = {"recording": "a" * 64, "media": "b" * 64, "starts": "c" * 64}


def key(**wishes: object) -> str:
    config = ExtractionConfig(anonymise=AnonymiseConfig.model_validate(wishes))
    (stage,) = [stage for stage in stages(config) if stage.name == "standardise"]
    return stage.key(INPUTS)


def test_a_wish_makes_another_video_and_none_the_same() -> None:
    (plain,) = [stage for stage in stages(ExtractionConfig()) if stage.name == "standardise"]
    assert isinstance(plain.config, NoConfig)
    assert key() == key(squares=3) == plain.key(INPUTS)
    hidden = key(boxes=((0.0, 0.0, 0.5, 0.5),))
    assert len({hidden, key(semitones=3.0), plain.key(INPUTS)}) == 3


@pytest.mark.parametrize("wish", [{"boxes": ((0.0, 0.0, 1.5, 0.5),)}, {"semitones": 20.0}, {"squares": 0}])
def test_what_cannot_be_done_is_refused(wish: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AnonymiseConfig.model_validate(wish)

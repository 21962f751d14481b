"""What an annotator is shown, rule by rule."""

import pytest

from ai_therapist.annotation.route import route
from ai_therapist.records import Clip, Fault, Modality
from ai_therapist.testing import make_session
from tests.annotation.builders import make_clip, make_turns

TURN = make_turns(make_session(), "hello there")[0]
TEXT = frozenset({Modality.TEXT})
SEES = TEXT | {Modality.VIDEO}
ALL = frozenset(Modality)


@pytest.mark.parametrize(
    ("clip", "accepts", "shown", "reason"),
    [
        (make_clip(TURN), TEXT, TEXT, "annotator reads text only"),
        (make_clip(TURN), TEXT | {Modality.AUDIO}, TEXT, "annotator reads text only"),
        (None, ALL, TEXT, "no clip of this turn"),
        (make_clip(TURN, Fault.TOO_SHORT), ALL, TEXT, "turn too short for a clip"),
        (make_clip(TURN, Fault.TOO_SHORT, Fault.NO_VIDEO), ALL, TEXT, "turn too short for a clip"),
        (make_clip(TURN, Fault.HIDDEN_FRAMES), ALL, TEXT, "no usable clip: hidden_frames"),
        (
            make_clip(TURN, Fault.NOT_A_KEYFRAME, Fault.FRAMES_MISSING),
            ALL,
            TEXT,
            "no usable clip: frames_missing, not_a_keyframe",
        ),
        (make_clip(TURN, picture=False), ALL, TEXT, "no usable clip: no_video"),
        (make_clip(TURN), ALL, ALL, "clip usable"),
        (make_clip(TURN), SEES, SEES, "clip usable"),
        (make_clip(TURN, sound=False), ALL, SEES, "clip usable"),
    ],
)
def test_the_first_rule_that_matches_decides(
    clip: Clip | None, accepts: frozenset[Modality], shown: frozenset[Modality], reason: str
) -> None:
    decided = route(clip, accepts)

    assert (decided.modalities, decided.reason) == (shown, reason)
    assert decided.shows_clip is (Modality.VIDEO in shown)

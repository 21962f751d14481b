"""A dataset is released whole or not at all."""

import pytest

from ai_therapist.errors import NotPermitted
from ai_therapist.privacy.release import require_release, withheld
from ai_therapist.records import Use
from ai_therapist.testing import make_consent


def test_sessions_that_must_stay_are_named() -> None:
    consents = {"b": make_consent(Use.TRAIN), "a": make_consent(Use.ANNOTATE), "c": make_consent()}
    assert withheld(consents) == ("a", "b")
    with pytest.raises(NotPermitted, match=r"2 of 3 sessions do not permit 'publish': a, b: .*permitted_for=publish"):
        require_release(consents)


def test_leaving_all_out_is_no_remedy() -> None:
    with pytest.raises(NotPermitted, match="change the consent records") as refused:
        require_release({"a": make_consent(Use.TRAIN)})
    assert "permitted_for" not in str(refused.value)


def test_a_release_that_everyone_permits_passes_and_a_long_list_is_cut() -> None:
    require_release({"a": make_consent(), "b": make_consent(Use.PUBLISH)})
    with pytest.raises(NotPermitted, match="and 2 more"):
        require_release({name: make_consent(Use.TRAIN) for name in "abcdefg"})

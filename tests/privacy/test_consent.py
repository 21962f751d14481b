"""A use that is not permitted has a reason and an error that name the use and the session."""

import pytest

from ai_therapist.errors import NotPermitted
from ai_therapist.privacy.consent import refusal, require
from ai_therapist.records import Use
from ai_therapist.testing import make_consent


@pytest.mark.parametrize("use", list(Use))
def test_a_use_is_permitted_only_where_it_is_named(use: Use) -> None:
    others = [other for other in Use if other is not use]
    assert refusal(make_consent(use), use) is None
    assert f"does not permit {use.value!r}" in str(refusal(make_consent(*others), use))


def test_requiring_a_use_names_the_session() -> None:
    require("one", make_consent(Use.TRAIN), Use.TRAIN)
    with pytest.raises(NotPermitted, match=r"one: .*'publish' \(it permits: annotate, train\)"):
        require("one", make_consent(Use.TRAIN, Use.ANNOTATE), Use.PUBLISH)

"""A use that is not permitted has a reason that names the use; a rights record with a hole cannot be made."""

import json
import random
from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from ai_therapist.errors import InvalidRecord, NotPermitted
from ai_therapist.privacy.consent import annotation_uses, first_refusal, refusal, require, transcription_uses
from ai_therapist.records import Basis, Consent, Subject, Use
from ai_therapist.store.codec import decode, encode
from ai_therapist.testing import make_consent

TODAY = date(2026, 6, 1)
REAL = {
    "basis": "own_recording_signed_consent",
    "permitted_uses": ["transcribe", "annotate"],
    "evidence": "form 17",
    "recorded_on": "2026-01-01",
    "expires_on": "2027-01-01",
    "revocation_contact": "the study office",
    "subject": "real_client",
    "adults_only": True,
}


def read(fields: dict[str, object]) -> Consent:
    return decode(Consent, json.dumps(fields).encode(), "a.consent.json")


@pytest.mark.parametrize("use", list(Use))
def test_a_use_is_permitted_only_where_it_is_named(use: Use) -> None:
    others = [other for other in Use if other is not use]
    assert refusal(make_consent(use), use) is None
    assert f"does not permit {use.value!r}" in str(refusal(make_consent(*others), use))


def test_requiring_a_use_names_the_session() -> None:
    require("one", make_consent(Use.TRAIN), Use.TRAIN)
    with pytest.raises(NotPermitted, match=r"one: .*'publish' \(it permits: annotate, train\)"):
        require("one", make_consent(Use.TRAIN, Use.ANNOTATE), Use.PUBLISH)


def test_permission_ends_on_its_last_day_or_when_it_is_taken_back() -> None:
    consent = make_consent().model_copy(update={"expires_on": TODAY})
    assert refusal(consent, Use.TRAIN, TODAY) is None
    assert "expired on 2026-06-01, so 'train'" in str(refusal(consent, Use.TRAIN, TODAY + timedelta(days=1)))
    revoked = make_consent().model_copy(update={"revoked_on": TODAY})
    assert "revoked on 2026-06-01, so 'train'" in str(refusal(revoked, Use.TRAIN, TODAY - timedelta(days=1)))


def test_a_transcriber_elsewhere_needs_its_own_permission() -> None:
    assert transcription_uses(leaves=False) == (Use.TRANSCRIBE,)
    needed = transcription_uses(leaves=True)
    assert first_refusal(make_consent(*needed), needed) is None
    assert "'transcribe_cloud'" in str(first_refusal(make_consent(Use.TRANSCRIBE), needed))


def test_an_annotator_elsewhere_or_one_that_watches_needs_its_own_permission() -> None:
    assert annotation_uses(watches=False, leaves=False) == (Use.ANNOTATE,)
    needed = annotation_uses(watches=True, leaves=True)
    assert set(needed) == {Use.ANNOTATE, Use.ANNOTATE_CLOUD, Use.EMOTION_FROM_MEDIA}
    assert first_refusal(make_consent(*needed), needed) is None
    assert "'annotate_cloud'" in str(first_refusal(make_consent(Use.ANNOTATE), needed))


def test_a_real_client_from_the_open_web_is_refused() -> None:
    assert read(REAL).subject is Subject.REAL_CLIENT
    for basis in (Basis.LICENCE_CC_BY, Basis.LICENCE_CC0, Basis.FICTIONAL_ROLE_PLAY):
        with pytest.raises(InvalidRecord, match="a real client needs a signed consent"):
            read({**REAL, "basis": basis.value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"revocation_contact": None}, "needs a revocation_contact"),
        ({"revocation_contact": " "}, "it is blank"),
        ({"adults_only": False}, "minors are not accepted"),
        ({"adults_only": None}, "must be said for this basis"),
        ({"subject": None}, "must be said for this basis"),
        ({"expires_on": "2025-12-31"}, "expires_on lies before recorded_on"),
        ({"permitted_uses": []}, "permitted_uses is empty"),
        ({"evidence": "\t"}, "it is blank"),
    ],
)
def test_a_rights_record_with_a_hole_says_what_is_missing(change: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidRecord, match=reason):
        read({**REAL, **change})


_WRONG: tuple[object, ...] = (
    None,
    "",
    " ",
    0,
    1,
    -1,
    True,
    [],
    {},
    ["train", "sell"],
    "yes",
    "2026-13-01",
    1e9,
    "real",
    [None],
    "\u202e",
)


def test_no_mutated_manifest_gives_a_record_without_rights() -> None:
    """500 seeded mutations: each is refused, or gives a record that still answers every question."""
    rng = random.Random(9)
    accepted = 0
    for _ in range(500):
        fields: dict[str, object] = dict(REAL)
        for _ in range(rng.randint(1, 3)):
            name = rng.choice([*REAL, "permitted_use", "revoked_on"])
            if rng.random() < 0.3:
                fields.pop(name, None)
            else:
                fields[name] = rng.choice([*_WRONG, *REAL.values()])
        try:
            consent = read(fields)
        except InvalidRecord:
            continue
        accepted += 1
        assert consent.permitted_uses
        assert consent.evidence.strip()
        assert consent.adults_only is True or consent.basis is Basis.FICTIONAL_ROLE_PLAY
        assert consent.subject is not None or consent.basis is Basis.FICTIONAL_ROLE_PLAY
        if consent.subject is Subject.REAL_CLIENT:
            assert consent.revocation_contact
        assert decode(Consent, encode(consent), "again") == consent
    assert 0 < accepted < 100


def test_no_refusal_quotes_what_the_record_held() -> None:
    with pytest.raises(ValidationError) as caught:
        Consent.model_validate({**REAL, "evidence": 17, "basis": "hearsay from Dr Doe"})
    assert "Doe" not in str(caught.value)

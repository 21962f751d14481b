"""Records to bytes and back, and errors that quote nothing."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.errors import InvalidRecord
from ai_therapist.records import Clip, Consent, Fault, TimeSpan, Transcript, Use, Utterance
from ai_therapist.store.codec import canonical_json, decode, decode_all, encode, encode_all
from ai_therapist.testing import make_consent, make_session, make_transcript

SECRET = "mister quincy said it"


@given(st.integers(0, 1000))
def test_round_trip(seed: int) -> None:
    transcript = make_transcript(make_session(), seed=seed)
    assert decode(Transcript, encode(transcript), "t") == transcript
    assert decode_all(Utterance, encode_all(transcript.utterances), "t") == transcript.utterances


def test_sets_have_one_order() -> None:
    assert encode(make_consent(Use.TRAIN, Use.ANNOTATE)) == encode(make_consent(Use.ANNOTATE, Use.TRAIN))
    assert decode(Consent, encode(make_consent()), "c") == make_consent()
    session = make_session()
    faults = frozenset({Fault.TOO_SHORT, Fault.NO_VIDEO})
    clip = Clip.of(
        session.id, (make_transcript(session).utterances[0].id,), TimeSpan(start_ms=0, end_ms=1), None, faults
    )
    assert json.loads(encode(clip))["faults"] == ["no_video", "too_short"]


@pytest.mark.parametrize(
    "change",
    [
        {"text": [SECRET]},
        {"speaker": {"name": SECRET}},
        {"span": {"start_ms": SECRET, "end_ms": 1}},
        {"surprise": SECRET},
        {"words": [{"text": SECRET, "span": {"start_ms": 5, "end_ms": 1}}]},
        {"id": SECRET},
    ],
)
def test_errors_name_fields_and_quote_nothing(change: dict[str, object]) -> None:
    value = json.loads(encode(make_transcript(make_session()).utterances[0])) | change
    with pytest.raises(InvalidRecord) as caught:
        decode(Utterance, canonical_json(value), "utterance 0")
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("utterance 0: ")
    assert next(iter(change)) in str(caught.value)
    assert caught.value.__cause__ is None


def test_many_errors_are_counted() -> None:
    with pytest.raises(InvalidRecord, match=r"and \d+ more"):
        decode_all(Utterance, canonical_json([{}] * 3), "list")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="not valid JSON"):
        decode(Consent, b"{" + SECRET.encode(), "file")
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))
    with pytest.raises(TypeError, match="no place in a record"):
        canonical_json(Path("a"))

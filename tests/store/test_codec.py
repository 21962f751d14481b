"""Records to bytes and back, and errors that quote nothing."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from ai_therapist.errors import InvalidRecord
from ai_therapist.records import Clip, Consent, Fault, TimeSpan, Transcript, Use, Utterance
from ai_therapist.records.base import Record
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


class Sample(Record):
    kind: Literal["one", "two"] = "one"
    use: Use = Use.TRAIN
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    count: Annotated[int, Field(ge=2, lt=9)] = 2
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "DE"
    name: Annotated[str, Field(min_length=1, max_length=3)] = "a"
    pair: Annotated[tuple[str, ...], Field(min_length=1)] = ("a",)
    on: bool = True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": SECRET}, "kind: must be 'one' or 'two'"),
        ({"use": SECRET}, "use: must be 'transcribe'"),
        ({"share": 0}, "share: must be greater than 0"),
        ({"share": 2}, "share: must be 1.0 or less"),
        ({"share": SECRET}, "share: must be a number"),
        ({"count": 1}, "count: must be 2 or more"),
        ({"count": 9}, "count: must be less than 9"),
        ({"count": SECRET}, "count: must be a whole number"),
        ({"country": SECRET}, "country: must match ^[A-Z]{2}$"),
        ({"name": ""}, "name: must have 1 characters or more"),
        ({"name": SECRET}, "name: must have 3 characters or fewer"),
        ({"name": [SECRET]}, "name: must be text"),
        ({"pair": []}, "pair: must have 1 entries or more"),
        ({"pair": SECRET}, "pair: must be a list"),
        ({"on": SECRET}, "on: must be true or false"),
    ],
)
def test_errors_say_what_is_allowed(change: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        decode(Sample, canonical_json(change), "sample")
    assert str(caught.value).startswith(f"sample: {told}")
    assert SECRET not in str(caught.value)


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

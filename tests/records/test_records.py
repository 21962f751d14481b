"""The rules that records enforce, one crafted breach each."""

import pytest
from pydantic import ValidationError

from ai_therapist.records import (
    Abstention,
    Clip,
    Fault,
    Label,
    Media,
    Role,
    Scored,
    Task,
    TimeSpan,
    Transcript,
    Turn,
    Utterance,
    Word,
    load_codebook,
)
from ai_therapist.records.example import Example, Labels, Split
from ai_therapist.records.ids import content_id, is_record_id
from ai_therapist.records.score import mean
from ai_therapist.testing import make_digest, make_session, make_transcript

SPAN = TimeSpan(start_ms=1000, end_ms=2000)


def turn(role: Role, start_ms: int, text: str = "words") -> Turn:
    return Turn(utterance=content_id("utt", start_ms), role=role, start_ms=start_ms, end_ms=start_ms + 500, text=text)


def example(**changes: object) -> Example:
    values: dict[str, object] = {
        "id": content_id("exm", 1),
        "session": make_session().id,
        "group": "g",
        "split": Split.TRAIN,
        "context": (turn(Role.THERAPIST, 0),),
        "client": turn(Role.CLIENT, 1000),
        "reply": turn(Role.THERAPIST, 2000),
        "labels": Labels(client_emotion=None, strategy=None, therapist_emotion=None),
        "clip": None,
        "clip_sha256": None,
    }
    return Example.model_validate(values | changes)


def test_ids_tell_parts_apart_and_repeat() -> None:
    assert content_id("utt", "ab", "c") != content_id("utt", "a", "bc")
    assert content_id("utt", "ab") == content_id("utt", "ab")
    assert is_record_id(content_id("exm", 1))
    assert not is_record_id("exm_123")


def test_utterance_keeps_its_text_out_of_repr() -> None:
    utterance = make_transcript(make_session()).utterances[0]
    assert utterance.text not in repr(utterance)
    assert utterance.text not in repr(make_transcript(make_session()))


def test_blank_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="text is blank"):
        Utterance.of(make_session().id, 0, "A", SPAN, "  ")


def test_words_stay_inside_the_utterance() -> None:
    word = Word(text="late", span=TimeSpan(start_ms=1900, end_ms=2100))
    with pytest.raises(ValidationError, match="outside the utterance"):
        Utterance.of(make_session().id, 0, "A", SPAN, "late", (word,))


def test_transcript_refuses_disorder() -> None:
    transcript = make_transcript(make_session())
    with pytest.raises(ValidationError, match="order of time"):
        Transcript(session=transcript.session, transcriber="test", utterances=transcript.utterances[::-1])
    with pytest.raises(ValidationError, match="count from 0"):
        Transcript(session=transcript.session, transcriber="test", utterances=transcript.utterances[1:])


def test_media_needs_a_stream() -> None:
    with pytest.raises(ValidationError, match="at least one stream"):
        Media(path="a.mp4", sha256=make_digest("a"), duration_ms=1, video=None, audio=None)


def test_clip_without_media_says_why() -> None:
    session = make_session()
    utterances = (make_transcript(session).utterances[0].id,)
    with pytest.raises(ValidationError, match="needs a fault"):
        Clip.of(session.id, utterances, SPAN, None, frozenset())
    assert not Clip.of(session.id, utterances, SPAN, None, frozenset({Fault.TOO_SHORT})).usable


def test_role_does_not_follow_from_an_unlisted_label() -> None:
    session = make_session()
    assert session.role_of("A") is Role.THERAPIST
    assert session.role_of("Speaker A") is Role.UNKNOWN


def test_probabilities_are_a_distribution_over_the_label() -> None:
    Label(value="joy", probabilities={"joy": 0.75, "fear": 0.25})
    with pytest.raises(ValidationError, match="sum to 1"):
        Label(value="joy", probabilities={"joy": 0.5})
    with pytest.raises(ValidationError, match="missing from"):
        Label(value="joy", probabilities={"fear": 1.0})


def test_abstention_needs_a_reason() -> None:
    with pytest.raises(ValidationError):
        Abstention(reason="")


def test_example_looks_only_back() -> None:
    assert example().reply.role is Role.THERAPIST
    with pytest.raises(ValidationError, match="at or after the target"):
        example(context=(turn(Role.THERAPIST, 2000),))
    with pytest.raises(ValidationError, match="client turn to a therapist turn"):
        example(client=turn(Role.THERAPIST, 1000))
    with pytest.raises(ValidationError, match="come together"):
        example(clip=content_id("clp", 1))


def test_score_of_nothing_raises() -> None:
    with pytest.raises(ValueError, match="nothing"):
        mean([])
    assert mean([1.0, 2.0]) == 1.5
    with pytest.raises(ValidationError, match="both ends"):
        Scored(value=1.0, low=0.5, n=3)


def test_codebook_lists_seven_emotions_and_ten_strategies() -> None:
    codebook = load_codebook()
    assert len(codebook.emotions) == 7
    assert len(codebook.strategies) == 10
    with pytest.raises(ValueError, match="no categories"):
        codebook.names(Task.CUES)


@pytest.mark.parametrize(
    ("task", "spelling", "name"),
    [
        (Task.STRATEGY, "open-Question", "Open questions"),
        (Task.STRATEGY, " guiding the pace and depth of the conversation ", "Guiding the pace"),
        (Task.EMOTION, "Happy", "joy"),
        (Task.EMOTION, "neutal", None),
        (Task.EMOTION, "stress", None),
        (Task.STRATEGY, "", None),
    ],
)
def test_spellings(task: Task, spelling: str, name: str | None) -> None:
    assert load_codebook().canonical(task, spelling) == name

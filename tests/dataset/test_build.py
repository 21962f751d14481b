"""Examples hold only what came before, one target once, and account for every turn."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.dataset.build import Built, Drop, SessionParts, build_examples
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.errors import InvalidRecord
from ai_therapist.records import Clip, Fault, Role, Split, Task, Use
from ai_therapist.testing import make_session
from tests.dataset.builders import (
    make_annotation,
    make_annotations,
    make_clips,
    make_cues,
    make_parts,
    make_talk,
    with_speakers,
    with_uses,
)

ALL = DatasetConfig(min_reply_words=1)


ROLES = {"A": Role.THERAPIST, "B": Role.CLIENT, "C": Role.OTHER, "D": Role.UNKNOWN}


def _build(*turns: tuple[str, int, int, str], config: DatasetConfig = ALL) -> Built:
    session = with_speakers(make_session(), **ROLES)
    transcript = make_talk(session, *turns)
    parts = SessionParts(session, transcript, make_clips(transcript), make_annotations(session, transcript))
    return build_examples(parts, Split.TRAIN, config)


def test_a_reply_follows_from_the_client_turn_and_the_talk_before() -> None:
    built = _build(
        ("A", 0, 900, "how are you"), ("B", 1000, 1900, "not so well"), ("A", 2000, 2900, "tell me more please")
    )
    (example,) = built.examples
    assert [turn.text for turn in example.context] == ["how are you"]
    assert (example.client.text, example.reply.text) == ("not so well", "tell me more please")
    assert (example.labels.client_emotion, example.labels.therapist_emotion) == ("neutral", "joy")
    assert example.labels.strategy == "Approval"
    assert built.dropped == {Drop.NO_CLIENT_BEFORE: 1}


def test_context_is_limited_to_the_last_turns() -> None:
    config = DatasetConfig(min_reply_words=1, context_turns=2)
    built = build_examples(make_parts(turns=8), Split.TEST, config)
    assert [len(example.context) for example in built.examples] == [1, 2, 2]
    assert all(example.split is Split.TEST for example in built.examples)


def test_a_third_voice_is_left_out_and_counted() -> None:
    built = _build(
        ("B", 0, 900, "it was hard"),
        ("C", 1000, 1900, "dinner is ready"),
        ("D", 2000, 2900, "coming now"),
        ("A", 3000, 3900, "what was hard"),
    )
    (example,) = built.examples
    assert (example.client.text, example.context) == ("it was hard", ())
    assert built.notes["other_voice_left_out"] == built.notes["unknown_voice_left_out"] == 1


def test_a_second_therapist_turn_in_a_row_is_no_target() -> None:
    built = _build(("B", 0, 900, "it was hard"), ("A", 1000, 1900, "I hear you"), ("A", 2000, 2900, "and then what"))
    assert [example.reply.text for example in built.examples] == ["I hear you"]
    assert built.dropped == {Drop.AFTER_THERAPIST: 1}


BACKCHANNEL = (
    ("B", 0, 900, "I went there"),
    ("A", 1000, 1200, "mm hm"),
    ("B", 1300, 1900, "and I cried"),
    ("A", 2000, 2900, "that sounds very sad"),
)


def test_a_dropped_backchannel_stays_in_the_context() -> None:
    built = _build(*BACKCHANNEL, config=DatasetConfig())
    (example,) = built.examples
    assert [turn.text for turn in example.context] == ["I went there", "mm hm"]
    assert example.client.text == "and I cried"
    assert built.dropped == {Drop.BACKCHANNEL: 1}


def test_a_merged_backchannel_joins_the_client_turns() -> None:
    built = _build(*BACKCHANNEL, config=DatasetConfig(backchannels="merge"))
    (example,) = built.examples
    assert example.context == ()
    assert example.client.text == "I went there and I cried"
    assert (example.client.start_ms, example.client.end_ms) == (0, 1900)
    assert built.dropped == {Drop.MERGED: 1}


def test_words_spoken_after_the_reply_began_stay_out() -> None:
    built = _build(("B", 0, 4000, "one two three four"), ("A", 2500, 4500, "let me stop you"))
    (example,) = built.examples
    assert example.client.text == "one two three"
    assert example.client.end_ms == 2500


def test_a_reply_that_starts_with_the_client_is_no_target() -> None:
    built = _build(("B", 1000, 2000, "both at once"), ("A", 1000, 2000, "we speak together"))
    assert built.examples == ()
    assert built.dropped == {Drop.SIMULTANEOUS: 1}


@pytest.mark.parametrize(("overlap_ms", "kept"), [(250, True), (251, False)])
def test_a_clip_that_runs_into_the_reply_is_not_shown(overlap_ms: int, kept: bool) -> None:
    built = _build(("B", 0, 2000 + overlap_ms, "one two three four"), ("A", 2000, 3000, "and then what"))
    (example,) = built.examples
    assert (example.clip is not None) is kept
    assert built.notes["clip_runs_into_the_reply"] == (not kept)


def test_a_faulty_clip_leaves_a_text_only_example() -> None:
    parts = make_parts(turns=4)
    clips = tuple(Clip.of(c.session, c.utterances, c.span, None, frozenset({Fault.TOO_SHORT})) for c in parts.clips)
    built = build_examples(SessionParts(parts.session, parts.transcript, clips, parts.annotations), Split.TRAIN, ALL)
    assert all(example.clip is None and example.clip_sha256 is None for example in built.examples)
    assert built.notes["clip_too_short"] == len(built.examples) == 1


def test_cues_are_those_of_the_current_client_turn_and_only_where_its_clip_may_be_shown() -> None:
    parts = make_parts(turns=8)
    written = tuple(make_cues(one.id, f"seen in {one.id}") for one in parts.transcript.utterances)
    told = replace(parts, annotations=(*parts.annotations, *written))
    built = build_examples(told, Split.TRAIN, ALL).examples
    assert [example.cues for example in built] == [f"seen in {example.client.utterance}" for example in built]
    assert all("seen in" not in repr(example) for example in built)
    assert all(example.cues is None for example in build_examples(parts, Split.TRAIN, ALL).examples)
    unseen = [replace(told, clips=()), with_uses(told, Use.TRAIN)]
    for case in unseen:
        examples = build_examples(case, Split.TRAIN, ALL).examples
        assert examples
        assert all(example.cues is None for example in examples)


def test_an_abstention_is_no_label_and_three_of_them_no_example() -> None:
    session = make_session()
    turns = (("B", 0, 900, "it was hard"), ("A", 1000, 1900, "what was hard"))
    transcript = make_talk(session, *turns)
    client, reply = (utterance.id for utterance in transcript.utterances)
    silent = (make_annotation(client, Task.EMOTION, None), make_annotation(reply, Task.EMOTION, None))
    nothing = build_examples(SessionParts(session, transcript, (), silent), Split.TRAIN, ALL)
    assert nothing.dropped == {Drop.NO_LABEL: 1}
    assert nothing.notes == {"emotion_abstention": 2, "strategy_not_annotated": 1}
    some = (*silent, make_annotation(reply, Task.STRATEGY, "Approval"))
    (example,) = build_examples(SessionParts(session, transcript, (), some), Split.TRAIN, ALL).examples
    assert example.labels.model_dump() == {
        "client_emotion": None,
        "strategy": "Approval",
        "therapist_emotion": None,
    }


def test_annotators_who_differ_give_no_label() -> None:
    session = make_session()
    transcript = make_talk(session, ("B", 0, 900, "it was hard"), ("A", 1000, 1900, "what was hard"))
    client, reply = (utterance.id for utterance in transcript.utterances)
    annotations = (
        make_annotation(client, Task.EMOTION, "sadness", "one"),
        make_annotation(client, Task.EMOTION, "fear", "two"),
        make_annotation(reply, Task.STRATEGY, "Approval", "one"),
        make_annotation(reply, Task.STRATEGY, "Approval", "two"),
    )
    built = build_examples(SessionParts(session, transcript, (), annotations), Split.TRAIN, ALL)
    assert (built.examples[0].labels.client_emotion, built.examples[0].labels.strategy) == (None, "Approval")
    assert built.notes["emotion_disagreement"] == 1


def test_a_label_outside_the_codebook_is_an_error_without_its_text() -> None:
    parts = make_parts(turns=2)
    odd = make_annotation(parts.transcript.utterances[0].id, Task.EMOTION, "boredom")
    with pytest.raises(InvalidRecord, match=odd.id) as caught:
        build_examples(SessionParts(parts.session, parts.transcript, (), (odd,)), Split.TRAIN, ALL)
    assert "boredom" not in str(caught.value)


@given(
    voices=st.lists(st.sampled_from("ABC"), min_size=1, max_size=14),
    lengths=st.lists(st.integers(1, 5), min_size=14, max_size=14),
    overlaps=st.lists(st.integers(-300, 300), min_size=14, max_size=14),
    backchannels=st.sampled_from(["drop", "merge"]),
    min_words=st.integers(1, 4),
)
def test_every_therapist_turn_is_a_target_once_or_counted(
    voices: list[str], lengths: list[int], overlaps: list[int], backchannels: str, min_words: int
) -> None:
    turns, now = [], 1000
    for voice, length, overlap in zip(voices, lengths, overlaps, strict=False):
        turns.append((voice, now, now + 400 * length, " ".join(["word"] * length)))
        now += max(0, 400 * length + overlap)
    config = DatasetConfig.model_validate({"min_reply_words": min_words, "backchannels": backchannels})
    built = _build(*turns, config=config)
    assert built.therapist_turns == voices.count("A") == len(built.examples) + built.dropped.total()
    targets = Counter(example.reply.utterance for example in built.examples)
    assert all(number == 1 for number in targets.values())
    for example in built.examples:
        assert all(turn.end_ms <= example.reply.start_ms for turn in (*example.context, example.client))
        assert len(example.context) <= config.context_turns

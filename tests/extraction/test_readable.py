"""The transcript as people and programs read it."""

import json

from ai_therapist.extraction.readable import clip_names, transcript_json, transcript_text
from ai_therapist.records import Clip, Fault
from ai_therapist.testing import make_session, make_transcript

SESSION = make_session()
SPOKEN = make_transcript(SESSION, turns=3)
CLIPS = [
    Clip.of(
        SESSION.id,
        (turn.id,),
        turn.span,
        SESSION.media if turn.index != 1 else None,
        frozenset({Fault.TOO_SHORT} if turn.index == 1 else ()),
    )
    for turn in SPOKEN.utterances
]


def test_a_line_tells_time_speaker_role_and_words() -> None:
    lines = transcript_text(SESSION, SPOKEN).splitlines()
    turn = SPOKEN.utterances[0]
    assert lines[0] == f"Session one ({SESSION.id}), heard by test"
    assert lines[2].startswith("[00:00.5 – ")
    assert lines[2].endswith(f"] A (therapist): {turn.text}")
    assert len(lines) == 5


def test_json_holds_the_same_turns_and_their_clips() -> None:
    data = json.loads(transcript_json(SESSION, SPOKEN, CLIPS))
    assert [(t["speaker"], t["role"], t["text"], t["start"], t["end"]) for t in data["turns"]] == [
        (u.speaker, SESSION.role_of(u.speaker), u.text, u.span.start_ms, u.span.end_ms) for u in SPOKEN.utterances
    ]
    assert [t["clip"] for t in data["turns"]] == [clip.id for clip in CLIPS]
    assert [t["faults"] for t in data["turns"]] == [[], ["too_short"], []]


def test_only_clips_with_media_have_names_and_numbers_are_the_turns() -> None:
    assert clip_names(SESSION, SPOKEN, CLIPS) == {
        CLIPS[0].id: "clip_001_therapist.mp4",
        CLIPS[2].id: "clip_003_therapist.mp4",
    }

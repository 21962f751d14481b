"""Extraction against gold: each kind of error is seen where it belongs and nowhere else."""

from ai_therapist.evaluation.extraction import compare
from ai_therapist.records import Role, Session, TimeSpan, Transcript, Utterance
from tests.evaluation.arc import heard_as, make_gold, session_of

GOLD = make_gold("one")
WORDS = sum(len(utterance.words) for utterance in GOLD.utterances)


def moved(transcript: Transcript, by_ms: int) -> Transcript:
    shifted = tuple(
        Utterance.of(each.session, each.index, each.speaker, each.span.with_offset(by_ms), each.text)
        for each in transcript.utterances
    )
    return transcript.model_copy(update={"utterances": shifted})


def with_roles(session: Session, *roles: Role) -> Session:
    speakers = tuple(
        speaker.model_copy(update={"role": role}) for speaker, role in zip(session.speakers, roles, strict=True)
    )
    return session.model_copy(update={"speakers": speakers})


def test_a_perfect_ear_makes_no_error() -> None:
    heard = heard_as(GOLD)
    found = compare(GOLD, session_of(GOLD), heard, heard)
    assert found.clean
    assert (found.words.errors, found.words.words) == (0, WORDS)
    assert (found.speakers.right_speaker, found.speakers.right_role) == (WORDS, WORDS)
    assert (found.speakers.right_parties, found.speakers.parties) == (2, 2)
    assert set(found.start_errors_ms) == set(found.end_errors_ms) == {0}


def test_labels_carry_no_meaning() -> None:
    heard = heard_as(GOLD, {"A": "second", "B": "first"}.__getitem__)
    found = compare(GOLD, session_of(GOLD, {"A": "second", "B": "first"}.__getitem__), heard, heard)
    assert found.speakers.right_speaker == found.speakers.right_role == WORDS


def test_one_label_for_both_voices_gets_one_of_them() -> None:
    def only(speaker: str) -> str:
        return "only"

    heard = heard_as(GOLD, only)
    session = session_of(make_gold("one", turns=1), only)
    found = compare(GOLD, session, heard, heard)
    assert found.speakers.right_speaker == WORDS // 2
    assert (found.speakers.right_parties, found.speakers.parties) == (1, 2)
    assert found.speakers.right_role == WORDS // 2


def test_swapped_roles_are_wrong_though_the_speakers_are_right() -> None:
    heard = heard_as(GOLD)
    found = compare(GOLD, with_roles(session_of(GOLD), Role.CLIENT, Role.THERAPIST), heard, heard)
    assert found.speakers.right_speaker == WORDS
    assert found.speakers.right_parties == found.speakers.right_role == 0


def test_an_unknown_role_is_not_a_right_one() -> None:
    heard = heard_as(GOLD)
    found = compare(GOLD, with_roles(session_of(GOLD), Role.THERAPIST, Role.UNKNOWN), heard, heard)
    assert (found.speakers.right_parties, found.speakers.right_role) == (1, WORDS // 2)


def test_what_nobody_heard_counts_as_wrong_everywhere() -> None:
    heard = heard_as(GOLD)
    half = heard.model_copy(update={"utterances": heard.utterances[:3]})
    found = compare(GOLD, session_of(GOLD), half, half)
    assert found.words.errors == WORDS // 2
    assert (found.speakers.uncovered, found.speakers.right_speaker) == (WORDS // 2, WORDS // 2)


def test_a_third_voice_taken_for_the_client_costs_its_words() -> None:
    last = GOLD.utterances[-1].model_copy(update={"speaker": "C", "role": Role.OTHER, "strategy": None})
    gold = GOLD.model_copy(update={"utterances": (*GOLD.utterances[:-1], last)})
    heard = heard_as(gold)
    for role, right in ((Role.OTHER, WORDS), (Role.UNKNOWN, WORDS), (Role.CLIENT, WORDS - 6)):
        session = with_roles(session_of(gold), Role.THERAPIST, Role.CLIENT, role)
        found = compare(gold, session, heard, heard)
        assert (found.speakers.words, found.speakers.right_role) == (WORDS, right)
        assert found.speakers.parties == found.speakers.right_parties == 2


def test_boundaries_are_measured_to_the_nearest_of_their_kind() -> None:
    heard = heard_as(GOLD)
    found = compare(GOLD, session_of(GOLD), heard, moved(heard, 120))
    assert found.start_errors_ms == found.end_errors_ms == (120,) * 6
    middle = TimeSpan(start_ms=1500, end_ms=2000)
    stray = heard.model_copy(update={"utterances": (Utterance.of(heard.session, 0, "x", middle, "words"),)})
    found = compare(GOLD, session_of(GOLD), heard, stray)
    assert (found.start_errors_ms, found.end_errors_ms) == ((1000,), (1400,))


def test_gold_utterances_may_stand_in_any_order() -> None:
    heard = heard_as(GOLD)
    backwards = GOLD.model_copy(update={"utterances": GOLD.utterances[::-1]})
    assert compare(backwards, session_of(GOLD), heard, heard).words.errors == 0

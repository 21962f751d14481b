"""Roles follow what was said, and nothing else."""

import pytest

from ai_therapist.extraction.config import RolesConfig
from ai_therapist.extraction.roles import (
    DECIDED_BY_EVIDENCE,
    DECIDED_BY_HAND,
    VOTE_WEIGHT,
    Vote,
    find_roles,
    for_review,
    weigh,
)
from ai_therapist.formats.passages import UNKNOWN_SPEAKER
from ai_therapist.records import Role, TimeSpan, Transcript, Utterance
from ai_therapist.testing import make_session

SESSION = make_session()
ASKS = "how have you been since we last talked what would you like to look at today"
REFLECTS = "it sounds like you felt left alone and you are worried about it"
TELLS = "i could not sleep and i kept thinking about my boss i feel like i am failing and my sister does not know it"
AGREES = "i know i always do that and then i am angry with myself all evening because of my temper"


def talk(*lines: tuple[str, str]) -> Transcript:
    """A transcript of (label, text), one line every ten seconds."""
    utterances = tuple(
        Utterance.of(SESSION.id, place, label, TimeSpan(start_ms=10_000 * place, end_ms=10_000 * place + 5000), text)
        for place, (label, text) in enumerate(lines)
    )
    return Transcript(session=SESSION.id, transcriber="test", utterances=utterances)


def roles(transcript: Transcript, config: RolesConfig | None = None) -> dict[str, Role]:
    return {s.label: s.role for s in find_roles(transcript, "one", config or RolesConfig())}


@pytest.mark.parametrize(("first", "second"), [("A", "B"), ("B", "A"), ("spk_1", "spk_0")])
def test_labels_do_not_matter(first: str, second: str) -> None:
    spoken = talk((first, ASKS), (second, TELLS), (first, REFLECTS), (second, AGREES))
    assert roles(spoken) == {first: Role.THERAPIST, second: Role.CLIENT}


def test_who_speaks_first_does_not_matter() -> None:
    spoken = talk(("A", TELLS), ("B", REFLECTS), ("A", AGREES), ("B", ASKS))
    assert roles(spoken) == {"A": Role.CLIENT, "B": Role.THERAPIST}


def test_too_little_evidence_is_unknown() -> None:
    assert roles(talk(("A", "good morning"), ("B", "good morning to all"))) == {"A": Role.UNKNOWN, "B": Role.UNKNOWN}


def test_two_who_talk_alike_are_unknown() -> None:
    assert set(roles(talk(("A", TELLS), ("B", TELLS))).values()) == {Role.UNKNOWN}


def test_a_higher_margin_asks_for_more() -> None:
    spoken = talk(("A", ASKS), ("B", TELLS))
    scores = weigh(spoken)
    margin = scores["A"] - scores["B"]
    assert roles(spoken, RolesConfig(min_margin=margin - 0.01))["A"] is Role.THERAPIST
    assert roles(spoken, RolesConfig(min_margin=margin + 0.01))["A"] is Role.UNKNOWN


def test_a_third_voice_between_the_two_is_other() -> None:
    spoken = talk(("A", ASKS), ("B", TELLS), ("C", "the room is free until five"), ("A", REFLECTS), ("B", AGREES))
    assert roles(spoken) == {"A": Role.THERAPIST, "B": Role.CLIENT, "C": Role.OTHER}


def test_two_clients_are_not_told_apart_by_force() -> None:
    spoken = talk(("A", ASKS), ("B", TELLS), ("C", TELLS), ("A", REFLECTS))
    assert roles(spoken) == {"A": Role.THERAPIST, "B": Role.UNKNOWN, "C": Role.UNKNOWN}


@pytest.mark.parametrize(("text", "role"), [(ASKS, Role.THERAPIST), (TELLS, Role.CLIENT), ("well", Role.UNKNOWN)])
def test_one_voice_alone(text: str, role: Role) -> None:
    assert roles(talk(("A", text))) == {"A": role}


def test_silence_has_no_speakers() -> None:
    assert roles(talk()) == {}


def test_a_role_given_by_hand_goes_first() -> None:
    config = RolesConfig(roles={"one": {"A": Role.OTHER}, "another": {"B": Role.OTHER}})
    speakers = find_roles(talk(("A", ASKS), ("B", TELLS)), "one", config)
    assert [(s.role, s.decided_by) for s in speakers] == [
        (Role.OTHER, DECIDED_BY_HAND),
        (Role.CLIENT, DECIDED_BY_EVIDENCE),
    ]


def test_confidence_grows_with_evidence_and_is_absent_where_nothing_is_decided() -> None:
    short = find_roles(talk(("A", ASKS), ("B", "i am tired my boss")), "one", RolesConfig())
    long = find_roles(talk(("A", ASKS), ("B", TELLS), ("A", REFLECTS), ("B", AGREES)), "one", RolesConfig())
    assert short[0].confidence is not None and long[0].confidence is not None
    assert 0.5 < short[0].confidence < long[0].confidence <= 1
    (nobody,) = find_roles(talk(("A", "well")), "one", RolesConfig())
    assert nobody.confidence is None


def test_questions_and_their_marks_speak_for_the_therapist() -> None:
    def lead(text: str) -> float:
        scores = weigh(talk(("A", text), ("B", "it rained all the time")))
        return scores["A"] - scores["B"]

    assert lead("did you sleep at all then") > lead("they did sleep at all then")
    assert lead("and then?") > lead("and then")


def test_a_vote_adds_to_the_evidence_but_decides_nothing_alone() -> None:
    alike = talk(("A", TELLS), ("B", TELLS))
    assert RolesConfig().min_margin > VOTE_WEIGHT
    assert {s.role for s in find_roles(alike, "one", RolesConfig(), Vote("A", "m 1"))} == {Role.UNKNOWN}
    spoken = talk(("A", ASKS), ("B", TELLS))
    scores = weigh(spoken)
    close = RolesConfig(min_margin=scores["A"] - scores["B"] + 1)
    with_vote = find_roles(spoken, "one", close, Vote("A", "m 1"))
    assert [s.role for s in with_vote] == [Role.THERAPIST, Role.CLIENT]
    assert with_vote[0].decided_by == f"{DECIDED_BY_EVIDENCE} and m 1"
    assert for_review(find_roles(spoken, "one", close)) == for_review(
        find_roles(spoken, "one", close, Vote("nobody", "m 1"))
    )


def test_those_whom_nobody_named_never_get_a_role() -> None:
    spoken = talk((UNKNOWN_SPEAKER, "mm"), ("A", ASKS), (UNKNOWN_SPEAKER, TELLS), ("B", TELLS), ("A", REFLECTS))
    assert roles(spoken) == {UNKNOWN_SPEAKER: Role.UNKNOWN, "A": Role.THERAPIST, "B": Role.CLIENT}
    assert roles(talk((UNKNOWN_SPEAKER, TELLS))) == {UNKNOWN_SPEAKER: Role.UNKNOWN}


def test_voices_without_a_role_are_counted_for_review() -> None:
    assert for_review(find_roles(talk(("A", TELLS), ("B", TELLS)), "one", RolesConfig())) == 2
    assert for_review(find_roles(talk(("A", ASKS), ("B", TELLS), ("A", REFLECTS)), "one", RolesConfig())) == 0

"""A sentence that breaks an isolated rule is left out and the rest is shown; anything graver withholds the reply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ai_therapist.safety.gate import FEWEST_WORDS, MOST_LEFT_OUT, ReplyGate
from ai_therapist.safety.output import REPAIRS, Reason, judge_reply

CALM = ("I walked to work today.",)
COUNTING = ("I have not slept for four nights, I have a million ideas and will build an empire. Where do I begin?",)
ARRANGING = ("I must arrange my books exactly right, I can think of nothing else. How do I sort them best?",)
GOOD = "It sounds like the evenings are long. Who could sit with you tonight?"
CLAIM = "As your therapist, I see this often."
DIAGNOSIS = "It sounds like you have depression."
METHOD = "The lethal dose is easy to find."
PROGRAM, SAY = REPAIRS[Reason.CLAIMS_PROFESSIONAL], REPAIRS[Reason.DIAGNOSIS]


def judged(sentences: Sequence[str], said: Sequence[str] = CALM) -> tuple[str, ReplyGate]:
    """All that is shown of a reply, and the gate behind it."""
    gate = ReplyGate(said)
    pieces = [piece for sentence in sentences for piece in gate.take(sentence)]
    return " ".join(piece.text for piece in [*pieces, *gate.finish()]), gate


def test_a_good_reply_comes_sentence_by_sentence_and_unchanged() -> None:
    gate = ReplyGate(CALM)
    assert [piece.text for piece in gate.take(GOOD)] == [GOOD]
    assert gate.finish() == []
    assert gate.repaired is None and gate.withheld is None


@pytest.mark.parametrize(
    ("sentences", "shown"),
    [
        ([CLAIM, GOOD], f"{PROGRAM} {GOOD}"),
        ([GOOD, CLAIM], f"{GOOD} {PROGRAM}"),
        ([GOOD, DIAGNOSIS, "A doctor could look at it."], f"{GOOD} {SAY} A doctor could look at it."),
        ([CLAIM, DIAGNOSIS, GOOD], f"{PROGRAM} {SAY} {GOOD}"),
        ([CLAIM, "I am a licensed psychologist.", GOOD], f"{PROGRAM} {GOOD}"),
        (["My own mother was like that.", GOOD], f"{REPAIRS[Reason.CLAIMS_HUMAN]} {GOOD}"),
        ([GOOD, "Promise me that you will not kill yourself."], f"{GOOD} {REPAIRS[Reason.CONTRACT]}"),
    ],
)
def test_a_single_claim_or_diagnosis_is_left_out_and_the_rest_is_shown(sentences: list[str], shown: str) -> None:
    found, gate = judged(sentences)
    assert found == shown
    assert gate.repaired is not None and gate.withheld is None
    assert CLAIM not in found and DIAGNOSIS not in found


@pytest.mark.parametrize(
    "sentences",
    [
        [CLAIM],
        [CLAIM, "I hear you."],
        [CLAIM] * (MOST_LEFT_OUT + 1) + [GOOD],
        [f"As your therapist I tell you: {METHOD}", GOOD],
        [CLAIM, METHOD, GOOD],
        ["I am.", "A therapist.", GOOD],
    ],
    ids=["nothing left", "too little left", "a habit", "two faults in one sentence", "a graver fault", "in pieces"],
)
def test_a_reply_that_is_no_good_without_its_sentence_is_withheld(sentences: list[str]) -> None:
    found, gate = judged(sentences)
    assert gate.withheld is not None
    assert METHOD not in found and GOOD not in found


def test_a_note_tells_what_it_stands_for() -> None:
    gate = ReplyGate(CALM)
    gate.take(CLAIM)
    gate.take(DIAGNOSIS)
    reasons = [piece.instead_of.reason for piece in gate.take(GOOD) if piece.instead_of is not None]
    assert reasons == [Reason.CLAIMS_PROFESSIONAL, Reason.DIAGNOSIS]


def test_a_whole_reply_that_lacks_what_its_state_asks_for_is_withheld() -> None:
    said = ("I know that I am actually dead.",)
    assert judged(["That sounds lonely and heavy.", "Tell me about your day, please."], said)[1].withheld is not None
    found, gate = judged([CLAIM, "You are alive and here, and you are writing to me right now."], said)
    assert found == f"{PROGRAM} You are alive and here, and you are writing to me right now."
    assert gate.repaired is not None


def test_the_note_waits_until_the_reply_goes_on() -> None:
    gate = ReplyGate(CALM)
    assert gate.take(CLAIM) == []
    assert [piece.source for piece in gate.take(GOOD)] == ["fixed", "model"]


def test_plans_are_left_out_of_a_reply_that_urges_sleep() -> None:
    rest = ["You sound full of ideas.", "Please sleep first, and wait until the week is over before you decide."]
    found, gate = judged([rest[0], "You could look into the market and analyse the demand.", rest[1]], COUNTING)
    assert found == f"{rest[0]} {REPAIRS[Reason.FEEDS_EPISODE]} {rest[1]}"
    assert gate.repaired is not None and gate.repaired.rule == "ST-05"
    assert judged(["You could look into the market and analyse the demand.", rest[0]], COUNTING)[1].withheld is not None


def test_steps_of_a_compulsion_are_left_out_where_the_rest_asks_what_drives_it() -> None:
    steps = ["1.", "Sort the books by colour."]
    rest = "I would like to explore with you what lies behind the feeling that nothing else counts."
    found, gate = judged([*steps, rest, "How long has it been like that?"], ARRANGING)
    assert found == f"{REPAIRS[Reason.FEEDS_EPISODE]} {rest} How long has it been like that?"
    assert gate.repaired is not None
    mostly_steps = [*steps, "2.", "Put the books into piles.", "3.", "Arrange the books by size.", rest]
    assert judged(mostly_steps, ARRANGING)[1].withheld is not None


def test_what_stands_in_a_place_passes_the_gate_itself() -> None:
    assert all(judge_reply("", text).passed for text in REPAIRS.values())
    assert all(len(text.split()) >= FEWEST_WORDS for text in REPAIRS.values())

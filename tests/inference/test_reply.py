"""One turn: the order of events, the card before the reply, the gate, and what stands in when the model fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ai_therapist.errors import RequestError, TransientError
from ai_therapist.inference.config import InferenceConfig
from ai_therapist.inference.events import Card, ClipRefused, Disclosure, Done, LabelsPredicted, ReplyPiece, Withheld
from ai_therapist.inference.gated import FIXED_EMPTY, FIXED_FAILED
from ai_therapist.inference.isolation import Stopped
from ai_therapist.inference.predict import Speaker
from ai_therapist.inference.reply import FIXED_IMMINENT, Chat
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records import Role
from ai_therapist.safety.crisis import CLEAR, UNCHECKED, Assessment, Category, Level, Said
from ai_therapist.safety.output import REPAIRS, REPLACEMENTS, Reason
from ai_therapist.testing import make_recording
from tests.inference.scripts import CANARY, TODAY, Endless, Hanging, cards_of, make_chat, outcome_of, reply_of, replying

CALM = "I walked to work today."
RISK = "I want to kill myself."
IMMINENT = "I am going to kill myself tonight."


def test_a_calm_turn_shows_disclosure_labels_reply_and_end_in_this_order() -> None:
    events = list(make_chat(replying("How was it? Tell me more.")).send(CALM))
    assert [type(event) for event in events] == [Disclosure, LabelsPredicted, ReplyPiece, ReplyPiece, Done]
    assert reply_of(events) == "How was it? Tell me more."


def test_the_opening_is_shown_once_and_again_after_forgetting() -> None:
    chat = make_chat(replying("Yes."))
    assert isinstance(chat.opening()[0], Disclosure)
    assert not any(isinstance(event, Disclosure) for event in chat.send(CALM))
    chat.forget()
    assert chat.conversation.turns == ()
    first = next(chat.send(CALM))
    assert isinstance(first, Disclosure)
    assert first.moment == "opening"


def test_the_disclosure_comes_again_after_three_hours_of_use() -> None:
    now = [0.0]
    chat = make_chat(replying("Yes."), clock_s=lambda: now[0])
    chat.opening()
    moments = []
    for now[0] in (10_799.0, 10_800.0, 10_900.0, 21_700.0):
        moments.append([event.moment for event in chat.send(CALM) if isinstance(event, Disclosure)])
    assert moments == [[], ["three_hours"], [], ["three_hours"]]


def test_the_opening_is_shown_again_after_a_week_without_a_message() -> None:
    now = [0.0]
    chat = make_chat(replying("Yes."), clock_s=lambda: now[0])
    chat.opening()
    moments = []
    for now[0] in (10.0, 10.0 + 604_800, 604_900.0, 604_900.0 + 604_799):
        moments.append([event.moment for event in chat.send(CALM) if isinstance(event, Disclosure)])
    assert moments == [[], ["absence"], [], ["three_hours"]]


def test_a_yes_to_a_question_about_suicide_brings_the_card() -> None:
    chat = make_chat(replying("Do you think about suicide?", "What happened?"))
    chat.opening()
    list(chat.send("I have been low for weeks."))
    first = next(iter(chat.send("yes, sometimes")))
    assert isinstance(first, Card)
    assert first.form == "full"


def test_the_question_what_it_is_is_answered_by_the_shell() -> None:
    events = list(make_chat(replying("I am a human being.")).send("Are you human?"))
    asked = [event for event in events if isinstance(event, Disclosure)][-1]
    assert asked.moment == "asked"
    assert "not a person" in asked.text
    assert "human being" not in reply_of(events)


def test_the_card_stands_before_the_models_words_and_the_next_turns_carry_pointers() -> None:
    chat = make_chat(replying("What happened today?"))
    chat.opening()
    first, second = list(chat.send(RISK)), list(chat.send(CALM))
    assert isinstance(first[0], Card)
    assert (first[0].form, outcome_of(first)) == ("full", "complete")
    assert [card.form for card in cards_of(second)] == ["pointer"]


def test_at_imminent_danger_a_fixed_reply_stands_in_the_models_place() -> None:
    model = replying("Fine.")
    chat = make_chat(model)
    chat.opening()
    for expected in FIXED_IMMINENT:
        events = list(chat.send(IMMINENT))
        assert reply_of(events) == expected
        assert outcome_of(events) == "imminent"
    assert model.requests == []
    assert outcome_of(list(chat.send("My sister has come and is making soup for us."))) == "complete"


def test_a_short_answer_after_a_risk_is_heard() -> None:
    chat = make_chat(replying("What is on your mind?"))
    list(chat.send(RISK))
    events = list(chat.send("I have a plan."))
    assert "emergency number" in cards_of(events)[0].text
    assert outcome_of(events) == "imminent"


def test_a_withheld_sentence_stops_the_model_and_is_never_shown_or_remembered() -> None:
    model = replying(f"I hear you. I love you, {CANARY}. And more.", "Yes.")
    chat = make_chat(model)
    events = list(chat.send(CALM))
    assert reply_of(events) == f"I hear you. {REPLACEMENTS[Reason.DEPENDENCE]}"
    assert [event.reason for event in events if isinstance(event, Withheld)] == [Reason.DEPENDENCE]
    assert outcome_of(events) == "withheld"
    list(chat.send(CALM))
    assert not any(CANARY in message.text for request in model.requests for message in request.messages)
    assert CANARY not in repr(events)


def test_half_characters_of_either_side_break_nothing() -> None:
    chat = make_chat(replying("It is \ud83d fine. And \udcff you?"))
    events = list(chat.send(f"{CALM} \udcff"))
    assert outcome_of(events) == "complete"
    assert reply_of(events) == "It is \ufffd fine. And \ufffd you?"
    assert chat.conversation.turns[0].turn.text == f"{CALM} \ufffd"


def test_several_concerns_bring_the_card_of_a_risk() -> None:
    concern = Assessment(level=Level.CONCERN, category=Category.SUICIDE, rule="SI-21")
    chat = Chat(
        Speaker(replying("Go on."), None, is_toy=True),
        InferenceConfig(),
        assess=lambda text, *, risk_open, earlier: concern,
        today=lambda: TODAY,
    )
    cards = [cards_of(list(chat.send(CALM))) for _ in range(4)]
    assert [card.form for turn in cards for card in turn] == ["full", "pointer", "full", "pointer"]
    assert "emergency number" not in cards[0][0].text
    for words in ("emergency number", "be with you", "distance"):
        assert words in cards[2][0].text


def test_a_model_that_says_nothing_is_not_stood_for_by_the_same_words_twice() -> None:
    chat = make_chat(replying("", RuntimeError("boom")))
    replies = [reply_of(list(chat.send(CALM))) for _ in range(6)]
    assert len(set(replies)) == len(replies)


def test_one_claim_is_left_out_and_the_reply_goes_on() -> None:
    chat = make_chat(replying("I hear how long that was. As your therapist, I worry. Who could sit with you tonight?"))
    events = list(chat.send(CALM))
    assert [event.kind for event in events if event.kind in {"reply", "repaired"}] == [
        "reply",
        "repaired",
        "reply",
        "reply",
    ]
    assert reply_of(events) == (
        f"I hear how long that was. {REPAIRS[Reason.CLAIMS_PROFESSIONAL]} Who could sit with you tonight?"
    )
    assert outcome_of(events) == "repaired"
    assert chat.conversation.turns[-1].turn.text == reply_of(events)


def test_a_claim_that_is_cut_into_sentences_is_withheld() -> None:
    events = list(make_chat(replying("I am. A therapist.")).send(CALM))
    assert outcome_of(events) == "withheld"


@pytest.mark.parametrize("error", [RuntimeError("boom"), TransientError("busy"), ValueError(CANARY), MemoryError()])
def test_a_model_that_raises_gives_a_fixed_sentence_and_the_type_of_its_error(error: Exception) -> None:
    events = list(make_chat(replying(error)).send(CALM))
    assert reply_of(events) == FIXED_FAILED[0]
    assert events[-1] == Done(outcome="model_failed", error=type(error).__name__)


def test_a_model_that_hangs_gives_a_fixed_sentence_in_time_and_its_half_sentence_is_dropped() -> None:
    model = Hanging("I think that you")
    start = time.monotonic()
    events = list(make_chat(model, reply_timeout_s=0.2).send(CALM))
    assert time.monotonic() - start < 4
    assert (reply_of(events), outcome_of(events)) == (FIXED_FAILED[0], "timed_out")
    model.release.set()


def test_a_failure_while_a_risk_is_open_shows_the_full_card_again() -> None:
    chat = make_chat(replying("What happened?", RuntimeError()))
    list(chat.send(RISK))
    assert [card.form for card in cards_of(list(chat.send(CALM)))] == ["pointer", "full"]


@pytest.mark.parametrize("answer", ["", "   ", "\n\n"])
def test_silence_is_filled_with_a_fixed_sentence(answer: str) -> None:
    events = list(make_chat(replying(answer)).send(CALM))
    assert (reply_of(events), outcome_of(events)) == (FIXED_EMPTY[0], "empty")


def test_endless_talk_is_stopped_at_the_limit() -> None:
    events = list(make_chat(Endless("Yes, go on. "), max_reply_chars=100).send(CALM))
    assert outcome_of(events) == "stopped_at_limit"
    assert len(reply_of(events)) <= 100


def test_endless_blanks_run_out_of_time() -> None:
    events = list(make_chat(Endless(" "), reply_timeout_s=0.2).send(CALM))
    assert (reply_of(events), outcome_of(events)) == (FIXED_FAILED[0], "timed_out")


def test_control_characters_and_template_tokens_of_the_model_are_not_passed_on() -> None:
    text = reply_of(list(make_chat(replying("Go <|im_end|> on\tplease.")).send(CALM)))
    assert text == "Go ‹|im_end|› on please."


def test_a_reply_that_speaks_of_a_risk_brings_a_pointer() -> None:
    events = list(make_chat(replying("So you said: I want to kill myself.")).send(CALM))
    assert [card.form for card in cards_of(events)] == ["pointer"]
    assert isinstance(events[-1], Done)


def test_a_check_that_fails_or_hangs_counts_as_a_risk() -> None:
    def broken(text: str, *, risk_open: bool, earlier: Sequence[Said]) -> Assessment:
        raise RuntimeError

    def slow(text: str, *, risk_open: bool, earlier: Sequence[Said]) -> Assessment:
        time.sleep(0.5)
        return UNCHECKED

    for check in (broken, slow):
        config = InferenceConfig(check_timeout_s=0.05)
        chat = Chat(Speaker(replying("Yes."), None, is_toy=True), config, assess=check, today=lambda: TODAY)
        cards = cards_of(list(chat.send(CALM)))
        assert cards[0].form == "full"
        assert cards[0].assessment == UNCHECKED


@pytest.mark.parametrize("said", [RISK, IMMINENT, "I keep thinking that my family would do better without me."])
def test_what_was_recalled_and_never_answered_gets_its_card_with_the_next_message(said: str) -> None:
    chat = make_chat(replying("Yes."))
    chat.recall([(Role.CLIENT, "Hello."), (Role.THERAPIST, "How are you?"), (Role.CLIENT, said)])
    chat.opening()
    assert [card.form for card in cards_of(list(chat.send("hello?")))] == ["full"]
    assert [card.form for card in cards_of(list(chat.send("hello?")))] != ["full"]
    chat.recall([(Role.CLIENT, said), (Role.THERAPIST, "You are not alone.")])
    assert "full" not in [card.form for card in cards_of(list(chat.send("hello?")))]


def test_a_long_past_is_checked_for_a_while_only_and_the_rest_counts_as_at_risk() -> None:
    asked = []

    def slow(text: str, *, risk_open: bool, earlier: Sequence[Said]) -> Assessment:
        asked.append(text)
        time.sleep(0.04)
        return CLEAR

    chat = Chat(Speaker(replying("Yes."), None, is_toy=True), InferenceConfig(check_timeout_s=0.05), assess=slow)
    chat.recall([(Role.CLIENT, CALM)] * 100)
    assert len(asked) <= 20
    assert [card.form for card in cards_of(list(chat.send(CALM)))] == ["full"]
    gone = threading.Event()
    gone.set()
    with pytest.raises(Stopped):
        chat.recall([(Role.CLIENT, CALM)], gone)


def test_a_clip_that_cannot_even_be_laid_down_costs_neither_card_nor_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    events = list(make_chat(replying("Yes.")).send(RISK, b"a clip"))
    assert [card.form for card in cards_of(events)] == ["full"]
    assert [event.reason for event in events if isinstance(event, ClipRefused)] == [
        "the clip could not be looked at (FileNotFoundError)"
    ]
    assert outcome_of(events) == "complete"


def test_a_clip_is_shown_once_with_its_turn_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    model = replying("Yes.")
    chat = make_chat(model)
    good = make_recording(tmp_path / "clip.mp4")
    list(chat.send(CALM, good))
    refused = list(chat.send(CALM, tmp_path / "missing.mp4"))
    assert any(isinstance(event, ClipRefused) for event in refused)
    assert outcome_of(refused) == "complete"
    shown = [sorted(part.kind for part in request.messages[-1].parts) for request in model.requests]
    assert shown == [["text", "video"], ["text"]]
    assert all(part.kind == "text" for message in model.requests[1].messages for part in message.parts)


def test_the_model_sees_what_was_said_and_shown_and_nothing_else() -> None:
    model = replying("How was it?", "I see.")
    chat = make_chat(model, context_turns=2)
    list(chat.send("First message."))
    list(chat.send("Second message."))
    assert [message.text for message in model.requests[1].messages[1:]] == [
        "First message.",
        "How was it?",
        "Second message.",
    ]


@pytest.mark.parametrize(("set_to", "trained", "most"), [(None, 4, 4), (None, None, 64), (2, 4, 2), (6, None, 6)])
def test_a_model_is_shown_no_longer_talk_than_it_learned_from_unless_settings_say_so(
    set_to: int | None, trained: int | None, most: int
) -> None:
    model = ScriptedGenerator(["I see."], repeat=True)
    speaker = Speaker(model, None, is_toy=True, context_turns=trained)
    chat = Chat(speaker, InferenceConfig(context_turns=set_to), today=lambda: TODAY)
    for _ in range(40):
        list(chat.send("I walked to work today."))
    shown = [len(request.messages) - 2 for request in model.requests]
    assert max(shown) == most
    assert shown[:2] == [0, 2]


def test_the_model_sees_the_end_of_a_long_message_and_the_check_reads_all_of_it() -> None:
    model = replying("Yes.")
    chat = make_chat(model, message_chars=100)
    events = list(chat.send(f"{RISK} {'I went for a walk. ' * 50}"))
    assert cards_of(events)
    assert len(model.requests[0].messages[-1].text) <= 100


def test_a_message_without_words_is_refused_in_one_line() -> None:
    chat = make_chat(replying("Yes."))
    with pytest.raises(RequestError, match="few words"):
        chat.send("  ", Path("clip.mp4"))


def test_help_needs_no_model() -> None:
    chat = make_chat(replying(RuntimeError()), country="GB")
    card = chat.help()
    assert card.form == "help"
    assert "116 123" in card.text

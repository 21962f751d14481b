"""What the program says about itself: at the opening, whenever it is asked, and again after three hours."""

from __future__ import annotations

import re

from ai_therapist.safety.normalise import clauses

REPEAT_AFTER_S = 3 * 60 * 60
"""Seconds of use after which the disclosure is repeated."""

ABSENCE_S = 7 * 24 * 60 * 60
"""Seconds without a message after which the opening is shown again."""

_KINDS = (
    "human|person|real|ai|bot|chatbot|robot|machine|computer|program|alive|man|woman|therapist|counsell?or|psychologist"
    "|psychiatrist|doctor|nurse|professional|licensed|qualified|trained|sentient|conscious"
)
_ASKED = tuple(
    re.compile(rf"\b(?:{question})\b")
    for question in (
        rf"(?:are|r) (?:you|u) (?:(?!saying|telling|asking|sure)\w+ ){{0,4}}(?:{_KINDS})",
        r"(?:who|what) (?:are|r) (?:you|u)(?: exactly| really| actually)?$",
        r"(?:am i|im i) (?:\w+ )?(?:talking|speaking|chatting|writing|texting) (?:to|with) (?:\w+ ){0,3}"
        rf"(?:{_KINDS}|someone|somebody)",
        rf"is (?:this|that|there) (?:\w+ ){{0,3}}(?:{_KINDS}|therapy)",
        r"(?:do|did) you have (?:\w+ ){0,2}(?:licen[sc]e|degree|qualifications?|feelings|a body|training)",
        r"(?:is|are) (?:this|these|our|my|the) (?:\w+ ){0,2}(?:conversations?|chats?|messages?|words|talks?) "
        r"(?:\w+ ){0,2}(?:recorded|saved|stored|private|confidential|logged|secret)",
        r"(?:is|are) (?:this|it|that|anything|everything) (?:\w+ ){0,4}(?:recorded|saved|stored|logged|confidential)",
        r"are you (?:\w+ )?(?:recording|saving|storing|logging)",
    )
)


def opening(model: str, is_toy: bool) -> str:
    """The text before the first message. `model` is the name of the model that answers."""
    toy = (
        f"The model behind it ({model}) is a toy, trained in minutes on few dialogues. "
        "Its replies show that the parts work, nothing more. "
        if is_toy
        else f"The model behind it is {model}. "
    )
    return (
        "You are talking to an AI program. It is not a person, not a therapist and not a medical device; it is a "
        f"research tool and gives no diagnosis and no treatment. {toy}"
        "It is for people of 18 and older. Nothing you write is recorded unless you save it: when the program closes, "
        "the conversation is gone. /help shows helplines at any time."
    )


def reminder() -> str:
    """The text that is repeated after REPEAT_AFTER_S of use."""
    return (
        "A reminder: this is an AI program, not a person and not a therapist. You have been here for three hours; "
        "a break and a talk with somebody you know may do you good. /help shows helplines."
    )


def answer(is_toy: bool) -> str:
    """The answer to the question what it is."""
    toy = ", and the model behind it is a toy" if is_toy else ""
    return (
        f"I am an AI program: not a person, not a therapist, not a professional of any kind{toy}. "
        "I have no feelings and no training in care. Nothing you write is recorded unless you save it. "
        "/help shows people you can reach."
    )


def is_asked(text: str) -> bool:
    """Whether the message asks if it talks to a human or a professional, or whether it is recorded."""
    return any(question.search(clause) for clause in clauses(text) for question in _ASKED)

"""The helpline card: short, calm, the same words whatever model stands behind. And the pointer that recalls it."""

from __future__ import annotations

from datetime import date

from ai_therapist.safety.crisis import UNCHECKED, About, Assessment, Category, Level
from ai_therapist.safety.helplines import Helplines, load_helplines

_SHOWN_WITHOUT_COUNTRY = ("us-988", "us-crisis-text-line", "gb-samaritans")

_OPENINGS = {
    Category.SUICIDE: "Thank you for saying this. It sounds very heavy, and you do not have to carry it alone.",
    Category.SELF_HARM: "Thank you for saying this. The wish to hurt yourself can pass, and people can help with it.",
    Category.HARM_TO_OTHERS: "Thank you for saying this before anything happens. People can help to keep all safe.",
    Category.ABUSE: "Thank you for telling this. It is not your fault, and you have a right to be safe.",
    Category.DANGER: "Your life matters, and this cannot wait.",
}
_OPENING_FOR_OTHERS = "Thank you for looking out for somebody. You do not have to carry this worry alone."
_OPENING_SOFT = "That sounds hard. If it ever becomes too much, there are people to turn to at any hour."

_OPENING_UNCHECKED = "The safety check could not read this message. If you are in danger or in great pain:"

_PEOPLE = {
    Category.HARM_TO_OTHERS: "Step away from the person you are angry with, and call somebody you trust or a doctor.",
    Category.ABUSE: "Tell somebody you trust, or a doctor. If it is not safe to talk, leave first if you can.",
}
_PEOPLE_DEFAULT = "Tell somebody you trust today, and a doctor or another professional as soon as you can."
_PEOPLE_OF_OTHERS = "Stay with them if you can, ask them directly, and involve a doctor or another professional."

_DISTANCE = {
    Category.ABUSE: "Get to a place with other people if you can: a neighbour, a shop, a police station.",
    Category.HARM_TO_OTHERS: "Put distance between you and them, and away with anything that could hurt somebody.",
}
_DISTANCE_DEFAULT = (
    "Put distance between you and anything you could use to hurt yourself: another room, another person."
)
_DISTANCE_OF_OTHERS = "Move anything that could hurt them out of reach, if that is safe for you."

_OWN_LIFE = frozenset({Category.SUICIDE, Category.SELF_HARM, Category.DANGER})
"""Risks of which words do not tell how near the end is, so that a card tells what to do if it is near."""

_AI_LINE = "I am an AI program, not a person and not a professional. You can keep talking here."

POINTERS = (
    "The helplines are still there: {world}, or /help here. You can keep talking.",
    "It would be good to have a person with you in this. {world} lists helplines near you; /help shows them.",
    "If it gets heavier, call a helpline or somebody you trust: {world}, /help. I am a program; they are people.",
    "You can reach a person at any time: {world}. /help shows the card again, and you can go on writing here.",
)


def full_card(assessment: Assessment, country: str | None, on: date) -> str:
    """The card for a first message at risk, or one at which the risk rises.

    `country` is an ISO code or None; `on` is the day at which numbers must be fresh. Raises ValueError for an
    assessment that finds no risk.
    """
    if assessment.category is None:
        raise ValueError("a card needs an assessment that found a risk")
    table = load_helplines()
    lines = [_opening(assessment)]
    if assessment.level is Level.IMMINENT or assessment == UNCHECKED:
        lines += [_emergency(table, country, on), _distance(assessment), _company(assessment)]
    lines += [_people(assessment), *_numbers(table, country, on, assessment.category)]
    if assessment.level is Level.RISK and assessment != UNCHECKED and assessment.category in _OWN_LIFE:
        lines += [_emergency(table, country, on), f"{_distance(assessment)} {_company(assessment)}"]
    return "\n".join([*lines, _AI_LINE])


def pointer(turn: int) -> str:
    """A short reminder of the card; its words change from turn to turn."""
    world = load_helplines().world.url.removeprefix("https://")
    return POINTERS[turn % len(POINTERS)].format(world=world)


def help_card(country: str | None, on: date) -> str:
    """All helplines, for anybody who asks at any time."""
    table = load_helplines()
    return "\n".join(
        [
            "People you can reach:",
            f"- {table.world.line(on)}: free helplines by country",
            *(f"- {line.line(on)}" for line in table.of_country(country) or table.of_country(None)),
            _emergency(table, country, on),
            "Unverified: the number could not be read on the operator's own page. Look it up at findahelpline.com. "
            "If a life is in danger, call first.",
            _AI_LINE,
        ]
    )


def _opening(assessment: Assessment) -> str:
    if assessment == UNCHECKED:
        return _OPENING_UNCHECKED
    if assessment.about is About.OTHER:
        return _OPENING_FOR_OTHERS
    if assessment.level is Level.CONCERN or assessment.category is None:
        return _OPENING_SOFT
    return _OPENINGS[assessment.category]


def _emergency(table: Helplines, country: str | None, on: date) -> str:
    rows = table.emergency_of(country) or table.emergency_of(None)
    numbers = ", ".join(row.entry(on) for row in rows)
    return f"If a life is in danger now, call your emergency number: {numbers}, or the number of your country."


def _distance(assessment: Assessment) -> str:
    if assessment.about is About.OTHER:
        return _DISTANCE_OF_OTHERS
    return _DISTANCE.get(assessment.category or Category.DANGER, _DISTANCE_DEFAULT)


def _company(assessment: Assessment) -> str:
    if assessment.about is About.OTHER:
        return "Do not leave them alone until help is there."
    return "Ask somebody to be with you until this has passed. You need not explain much: ask them to come."


def _people(assessment: Assessment) -> str:
    if assessment.about is About.OTHER:
        return _PEOPLE_OF_OTHERS
    return _PEOPLE.get(assessment.category or Category.DANGER, _PEOPLE_DEFAULT)


def _numbers(table: Helplines, country: str | None, on: date, category: Category) -> list[str]:
    of_country = table.of_country(country) if country is not None else ()
    known = of_country or tuple(line for line in table.helplines if line.id in _SHOWN_WITHOUT_COUNTRY)
    fitting = [line for line in known if line.kind != "abuse" or category is Category.ABUSE]
    return [
        f"- {table.world.line(on)}: free helplines by country",
        *(f"- {line.line(on)}" for line in fitting),
        "- /help shows all numbers, at any time.",
    ]

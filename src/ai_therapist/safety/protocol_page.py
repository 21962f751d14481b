"""docs/SAFETY_PROTOCOL.md: what the shell does, written from the rules, texts and numbers that it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ai_therapist.safety import disclosures
from ai_therapist.safety.assessment import UNCHECKED, Assessment, Category, Level
from ai_therapist.safety.card import POINTERS, full_card
from ai_therapist.safety.context import ContextRule, load_context_rules
from ai_therapist.safety.crisis import BUILT_UP, SURELY_CALM, SURELY_CALM_NOW, SURELY_CALM_TOLD
from ai_therapist.safety.crisis_classifier import MEANINGS, Thresholds, load_classifier
from ai_therapist.safety.crisis_encoder import encoder_card
from ai_therapist.safety.crisis_rules import CrisisRule, load_rules
from ai_therapist.safety.crisis_second import second_card
from ai_therapist.safety.gate import FEWEST_WORDS, MOST_LEFT_OUT
from ai_therapist.safety.helplines import FRESH_DAYS, Checked, load_helplines
from ai_therapist.safety.output import REPAIRS, REPLACEMENTS, load_output_rules
from ai_therapist.safety.policy import ADDED_UP, CALM_TURNS, CONCERNS_OF_A_RISK
from ai_therapist.safety.states import load_states

_OWN_LIFE = Assessment(level=Level.RISK, category=Category.SUICIDE, rule="SI-10")
_FEEDS = "what feeds the state of the client"
_FEEDS_OR_LACKS = "what feeds the state of the client, or a reply without what it needs"


def protocol_page(fixed_imminent: Sequence[str], fixed_failed: Sequence[str]) -> str:
    """The whole page. `fixed_imminent` and `fixed_failed` stand in a model's place (inference.reply)."""
    parts = [
        *_head(),
        *_disclosures(),
        *_crisis(),
        *_handoff(fixed_imminent, fixed_failed),
        *_output(),
        *_helplines(),
        *_privacy(),
    ]
    return "\n".join(parts) + "\n"


def _head() -> list[str]:
    return [
        "# Safety protocol",
        "",
        "Generated from the code by `make docs`; do not edit. Measured figures are in [safety.md](safety.md).",
        "",
        "**No clinician has reviewed this protocol, its rules, its texts or its figures.**",
        "",
        "Purpose: research on and training of emotional-support dialogue, for people of 18 and older. It is a research "
        "tool, not a medical device; it gives no diagnosis and no treatment, and nothing in it may be presented as a "
        "therapist or as a human being. It is not for use at work or school to read people's emotions, and not for "
        "people in a crisis, whom it can only point to other people.",
        "",
        "Foreseeable harms: a danger that the gate does not see; a card where none was needed; a harmful reply in "
        "words that the output gate does not know; a helpline number that has changed; trust in a program that "
        "has none to give. Whoever runs it answers for its use and for telling people where to report harm.",
        "",
    ]


def _disclosures() -> list[str]:
    hours, days = disclosures.REPEAT_AFTER_S // 3600, disclosures.ABSENCE_S // 86_400
    return [
        "## What it says about itself",
        "",
        f"At the start, after {days} days without a message, whenever it is asked (a shorter form), and every {hours} "
        "hours of use (a reminder):",
        "",
        *_quoted(disclosures.opening("MODEL", is_toy=False), disclosures.answer(is_toy=False), disclosures.reminder()),
        "",
    ]


def _crisis() -> list[str]:
    rows: list[CrisisRule | ContextRule] = [*load_rules().rules, *load_context_rules().all]
    return [
        "## How a message is judged",
        "",
        "Every message of the client, before any model sees it, and every reply that a model gave. Levels: "
        + ", ".join(level.name.lower() for level in Level if level)
        + ". The gravest finding counts. Where the sentence encoder is installed and no risk is open, the rules of a "
        "risk say nothing in a clause that, like the whole message, holds a danger with a probability below "
        f"{SURELY_CALM}; where the larger encoder is installed, those of a concern say nothing below "
        f"{SURELY_CALM_NOW}, and below {SURELY_CALM_TOLD} of what is past or another person's. Only the id of a rule "
        "is kept, never a word.",
        "",
        "| rule | level | about | finds |",
        "|---|---|---|---|",
        *(f"| {rule.id} | {rule.level} | {rule.category.value} | {rule.note} |" for rule in rows),
        *(
            f"| {meaning.rule} | {meaning.level.name.lower()} | {meaning.category.value} | the classifier's "
            f"{label.replace('_', ' ')} |"
            for label, meaning in MEANINGS.items()
        ),
        f"| {BUILT_UP.rule} | concern | suicide | several tense messages, none of which is enough by itself |",
        f"| {ADDED_UP.rule} | risk | suicide | {CONCERNS_OF_A_RISK} concerns about the writer's own life in one "
        "conversation |",
        "",
        f"The classifier of words speaks {_from(load_classifier().card.thresholds)} where it is alone. Where the "
        f"sentence encoder is installed (all-MiniLM-L6-v2 with a change of its weights), both together speak "
        f"{_from(encoder_card().thresholds)}. Where the larger encoder is installed too (six layers of "
        "all-mpnet-base-v2 with a change of their weights), it is asked wherever the others are not sure, and all "
        f"together speak {_from(second_card().thresholds)}. All were trained on {load_classifier().card.data}.",
        "",
        f"A check that raises or takes too long counts as {UNCHECKED.level.name.lower()} ({UNCHECKED.rule}): the card "
        "is shown.",
        "",
    ]


def _from(thresholds: Thresholds) -> str:
    return (
        f"from a probability of {thresholds.concern} of any danger (concern) and {thresholds.risk} (risk); imminent is "
        f"what has {thresholds.imminent} among the dangers"
    )


def _handoff(fixed_imminent: Sequence[str], fixed_failed: Sequence[str]) -> list[str]:
    return [
        "## What a client at risk is shown",
        "",
        "A card before any word of a model at the first finding, when the level rises and when the danger is another "
        "one; a short pointer otherwise, its words changing. A risk stays open to the end: "
        f"{CALM_TURNS} calm messages carry a pointer, later ones now and then, after imminent danger all of them, and "
        f"when it comes back so does the card. A concern counts as resolved after {CALM_TURNS} calm messages. No turn "
        "ends the conversation; /help shows all helplines "
        "without network or model. A card at a risk to the writer's own life names the emergency number, distance from "
        "means and company too, because words seldom tell how near it is; at imminent danger they lead:",
        "",
        *_quoted(full_card(_OWN_LIFE, None, _newest())),
        "",
        "The card where the check failed:",
        "",
        *_quoted(full_card(UNCHECKED, None, _newest())),
        "",
        "The pointers:",
        "",
        *_quoted(*(text.format(world="findahelpline.com") for text in POINTERS)),
        "",
        "At imminent danger one of these stands in the model's place:",
        "",
        *_quoted(*fixed_imminent),
        "",
        "Where a model fails or hangs, and the card again if a risk is open:",
        "",
        *_quoted(*fixed_failed),
        "",
    ]


def _output() -> list[str]:
    return [
        "## What a reply must not say",
        "",
        "Each sentence is judged before it is shown, and the whole reply once more. What is withheld is neither shown "
        "nor remembered; the sentence of its reason stands in its place. Rules marked as repaired leave out the one "
        f"sentence (of a reply at most {MOST_LEFT_OUT}, with {FEWEST_WORDS} words left) and let the rest be shown; "
        "those of a state only where the rest turns against it.",
        "",
        "| rule | reason | withheld | repaired |",
        "|---|---|---|---|",
        *(
            f"| {rule.id} | {rule.reason.value} | {rule.note} | {'yes' if rule.isolated else ''} |"
            for rule in load_output_rules().rules
        ),
        *(
            f"| {rule.id} | {rule.reason} | {_FEEDS if not rule.needs else _FEEDS_OR_LACKS}, where: {rule.note} | "
            f"{'yes' if rule.repairable else ''} |"
            for rule in load_states().states
        ),
        "",
        "Instead of a withheld reply:",
        "",
        *(f"- {reason.value}: {text}" for reason, text in REPLACEMENTS.items()),
        "",
        "Instead of a single sentence:",
        "",
        *(f"- {reason.value}: {text}" for reason, text in REPAIRS.items()),
        "",
    ]


def _helplines() -> list[str]:
    table = load_helplines()
    return [
        "## Helplines",
        "",
        f"A check counts for {FRESH_DAYS} days; then the build fails. Read means: a stored copy of the operator's own "
        "page showed the number on that day. Nobody has dialled a number. What could not be read is marked unverified, "
        "and every card leads with the world directory.",
        "",
        "| place | service | call | text | hours | read | page |",
        "|---|---|---|---|---|---|---|",
        *(f"| {row.place} | emergency | {row.number} | | | {_read(row)} |" for row in table.emergency),
        *(
            f"| {row.place} | {row.name} | {row.phone or ''} | {row.text or ''} | {row.hours or ''} | {_read(row)} |"
            for row in table.helplines
        ),
        "",
    ]


def _privacy() -> list[str]:
    return [
        "## What is kept",
        "",
        "No telemetry: the program sends nothing to its authors. Conversations live in memory and are gone when the "
        "program closes; a transcript is written only when the user asks for it. Nothing counts visits, nothing "
        "reminds anybody to come back.",
    ]


def _read(row: Checked) -> str:
    if row.verified_on is None or row.source is None:
        return "unverified |"
    return f"{row.verified_on} | <{row.source}>"


def _newest() -> date:
    return max(row.verified_on for row in load_helplines().helplines if row.verified_on is not None)


def _quoted(*texts: str) -> list[str]:
    return "\n>\n".join("\n".join(f"> {line}  " for line in text.splitlines()) for text in texts).splitlines()

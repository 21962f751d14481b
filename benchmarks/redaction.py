"""How much of what identifies people the rules find without any model: python benchmarks/redaction.py [--quick].

Two sets: the 1,500 sentences of presidio-research (needs the shared data; only measured on, never trained on or
quoted), and generated dialogues written as speech recognition writes them. Their names and cities stand in the lists,
so they measure contexts and false alarms; names made of syllables, which no list holds, are counted apart. A gold span
counts as found when all its letters and digits are hidden.
Precision counts redactions that touch an annotated identifier of any kind. Of those that say whose name it is (all but
[NAME]) `typed` must be of the annotated kind; `told` is the share of people and places that are hidden as such.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reporting import finish

from ai_therapist.privacy.redaction.finding import Finding, Kind
from ai_therapist.privacy.redaction.redactor import SessionRedactor

SHARED = Path(os.environ.get("AI_THERAPIST_SHARED", Path(__file__).parents[2] / "shared"))
SENTENCES = SHARED / "data" / "presidio-research" / "synth_dataset_v2.json"
STRUCTURED = {
    "EMAIL_ADDRESS",
    "US_SSN",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "DOMAIN_NAME",
    "PHONE_NUMBER",
}
TYPES = {"PERSON": {Kind.PERSON, Kind.RELATIVE}, "GPE": {Kind.PLACE}}
BARS = {"structured": 0.99, "person": 0.85, "place": 0.80, "precision": 0.80}


@dataclass
class Tally:
    """Counts over a set."""

    gold: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    typed: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, spans: list[tuple[int, int, str]], findings: list[Finding]) -> None:
        """Enter one text."""
        hidden = {place for finding in findings for place in range(finding.start, finding.end)}
        for start, end, kind in spans:
            self.gold[kind] += 1
            touching = [finding for finding in findings if start < finding.end and finding.start < end]
            self.told[kind] += any(finding.kind in TYPES.get(kind, set()) for finding in touching)
            self.found[kind] += all(place in hidden for place in range(start, end) if text[place].isalnum())
        for finding in findings:
            name = finding.kind.value
            touched = [kind for start, end, kind in spans if start < finding.end and finding.start < end]
            self.given[name] += 1
            self.right[name] += bool(touched)
            self.typed[name] += any(finding.kind in TYPES.get(kind, set()) for kind in touched)

    def recall(self, *kinds: str) -> float:
        """Share of the gold spans of these kinds that are hidden."""
        return round(sum(self.found[k] for k in kinds) / max(1, sum(self.gold[k] for k in kinds)), 3)

    def precision(self, counter: Counter[str], *kinds: str) -> float:
        """Share of the redactions of these kinds that `counter` holds."""
        return round(sum(counter[k] for k in kinds) / max(1, sum(self.given[k] for k in kinds)), 3)


def measure_sentences(limit: int | None) -> Tally:
    """Every sentence by itself, as if each were a session."""
    tally = Tally()
    for row in json.loads(SENTENCES.read_text("utf-8"))[:limit]:
        text = row["full_text"]
        spans = [(s["start_position"], s["end_position"], s["entity_type"]) for s in row["spans"]]
        tally.add(text, spans, SessionRedactor([text]).findings(text))
    return tally


_GIVEN = (
    "anna",
    "clara",
    "dmitri",
    "fatima",
    "giovanni",
    "hannah",
    "ibrahim",
    "leila",
    "mateo",
    "priya",
    "rosa",
    "yuki",
)
_CITIES = ("boston", "chicago", "denver", "leeds", "lisbon", "manchester", "munich", "toronto", "vienna", "warsaw")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LINES = (
    ("PERSON", "so my sister {} called again last night and we just fought"),
    ("PERSON", "i told {} that i needed some time on my own"),
    ("PERSON", "my name is {} and i have not slept well for weeks"),
    ("PERSON", "it is easier when {} is around you know"),
    ("PERSON", "my husband {} thinks i worry too much"),
    ("UNLISTED", "my name is {} by the way"),
    ("UNLISTED", "my brother {} never calls"),
    ("GPE", "we moved to {} when i was about nine"),
    ("GPE", "my parents still live in {} and i feel guilty"),
    ("NUMBER", "you can reach me at {} after work"),
    ("NUMBER", "my social security number is {} they said"),
    (None, "i will try to be kind to myself and see what may happen"),
    (None, "it was a long day and the work never ends"),
    (None, "my brother will not talk and my mother said i should let it go"),
    (None, "there are two or three things i hope for in the summer"),
)


def _filler(kind: str, rng: random.Random) -> str:
    if kind == "NUMBER":
        return " ".join(rng.choices(_DIGITS, k=rng.choice((7, 9, 10))))
    if kind == "UNLISTED":
        return "".join(rng.choice("bdgklmnprstvz") + rng.choice("aeiou") for _ in range(3))
    return rng.choice({"PERSON": _GIVEN, "GPE": _CITIES}[kind])


def measure_dialogues(number: int) -> Tally:
    """Generated lower-case dialogues without punctuation, each redacted as one session."""
    rng = random.Random(2026)
    tally = Tally()
    for _ in range(number):
        lines: list[tuple[str, list[tuple[int, int, str]]]] = []
        for kind, line in rng.sample(_LINES, 10):
            if kind is None:
                lines.append((line, []))
                continue
            filler = _filler(kind, rng)
            start = line.index("{}")
            lines.append((line.format(filler), [(start, start + len(filler), kind)]))
        redactor = SessionRedactor(text for text, _ in lines)
        for text, spans in lines:
            tally.add(text, spans, redactor.findings(text))
    return tally


def main() -> None:
    """Measure both sets and compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 dialogues instead of 600")
    dialogues = measure_dialogues(100 if parser.parse_args().quick else 600)
    spoken = {f"asr_{kind.lower()}": dialogues.recall(kind) for kind in ("PERSON", "GPE", "NUMBER")}
    unlisted = {"asr_person_on_no_list": dialogues.recall("UNLISTED")}
    spoken["asr_precision"] = dialogues.precision(dialogues.right, *dialogues.given)
    bar = "structured >= 0.99, person >= 0.85, place >= 0.80, precision >= 0.80; no model weights"
    if not SENTENCES.exists():
        print(f"{SENTENCES} is missing: set AI_THERAPIST_SHARED to the folder that holds data/presidio-research")
        finish("redaction", {**spoken, **unlisted}, bar, holds=None)
    tally = measure_sentences(None)
    for kind, number in sorted(tally.gold.items()):
        print(f"{kind:20} {tally.found[kind]:4} of {number:4}  {tally.recall(kind):.3f}")
    for name, number in sorted(tally.given.items()):
        print(
            f"[{name}] {number}: right {tally.precision(tally.right, name)}, typed {tally.precision(tally.typed, name)}"
        )
    told = ("PERSON", "RELATIVE", "PLACE")
    names = (*told, "NAME")
    figures = {
        "sentences": sum(1 for _ in json.loads(SENTENCES.read_text("utf-8"))),
        "structured": tally.recall(*STRUCTURED),
        "person": tally.recall("PERSON"),
        "place": tally.recall("GPE"),
        "names_precision": tally.precision(tally.right, *names),
        "names_precision_typed": tally.precision(tally.typed, *told),
        "person_told": round(tally.told["PERSON"] / tally.gold["PERSON"], 3),
        "place_told": round(tally.told["GPE"] / tally.gold["GPE"], 3),
        "names_untold": tally.given["NAME"],
        "all_precision": tally.precision(tally.right, *tally.given),
        **spoken,
        **unlisted,
    }
    holds = (
        figures["structured"] >= BARS["structured"]
        and figures["person"] >= BARS["person"]
        and figures["place"] >= BARS["place"]
        and figures["names_precision"] >= BARS["precision"]
        and min(spoken.values()) >= BARS["precision"]
    )
    finish("redaction", dict(figures), bar, holds=holds)


if __name__ == "__main__":
    main()

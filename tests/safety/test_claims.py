"""No string that a user can see claims what must not be claimed."""

import ast
import re
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path

import pytest

import ai_therapist
from ai_therapist.inference.gated import FIXED_EMPTY, FIXED_FAILED
from ai_therapist.inference.reply import FIXED_IMMINENT
from ai_therapist.safety import card, disclosures
from ai_therapist.safety.crisis import About, Assessment, Category, Level
from ai_therapist.safety.output import REPLACEMENTS, judge_reply

SOURCE = Path(ai_therapist.__file__).parent
ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 22)
FORBIDDEN = re.compile(
    r"\b(?:our|your|an?|the|this) (?:ai )?therapist (?:will|can|is here|helps)"
    r"|\bclinically (?:proven|validated|tested)\b|\bevidence-based\b"
    r"|\b(?:treats?|cures?|heals?|diagnoses) (?:you|your|depression|anxiety|people)\b"
    r"|\b(?:hipaa|fda)[- ](?:compliant|approved|cleared)\b|\b100 ?% safe\b"
    r"|\b(?:safe|suitable) for (?:children|minors|people in crisis)\b"
    r"|\breplaces? (?:a |your )?(?:therap|doctor|counsel)|\bas good as a (?:therapist|human)\b",
    re.IGNORECASE,
)


def shown_texts() -> Iterator[str]:
    """Every fixed text of the shell in all its forms."""
    for level, category, about, country in product(
        (Level.CONCERN, Level.RISK, Level.IMMINENT), Category, About, (None, "US", "GB", "DE", "JP")
    ):
        yield card.full_card(Assessment(level=level, category=category, rule="SI-10", about=about), country, TODAY)
    yield from (card.pointer(turn) for turn in range(4))
    yield card.help_card(None, TODAY)
    for is_toy in (True, False):
        yield disclosures.opening("model@1", is_toy)
        yield disclosures.answer(is_toy)
    yield disclosures.reminder()
    yield from REPLACEMENTS.values()
    yield from (*FIXED_IMMINENT, *FIXED_FAILED, *FIXED_EMPTY)


def sentences_in_source() -> Iterator[tuple[str, str]]:
    """String constants of every room that read like sentences; expressions of a pattern do not."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Constant(value=str(text)) if text.count(" ") >= 2 and not re.search(r"[\\|]", text):
                    yield path.name, text


@pytest.mark.parametrize("text", list(dict.fromkeys(shown_texts())), ids=lambda text: text[:30])
def test_a_fixed_text_passes_the_gate_that_models_must_pass(text: str) -> None:
    for line in text.splitlines():
        assert judge_reply("", line).passed, line
    assert not FORBIDDEN.search(text)


def pages() -> list[Path]:
    """Every page that ships with the project, and every page that the program fills in for its users."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *SOURCE.rglob("*.md"), *SOURCE.rglob("*.html")])


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_makes_a_forbidden_claim(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if FORBIDDEN.search(line)] == []


def test_no_string_of_the_program_makes_a_forbidden_claim() -> None:
    found = list(sentences_in_source())
    assert len(found) > 1_000
    assert [(name, text) for name, text in found if FORBIDDEN.search(text)] == []


@pytest.mark.parametrize(
    "claim", ["Your therapist is here", "clinically proven", "It treats depression", "replaces a therapist"]
)
def test_the_list_of_forbidden_claims_finds_them(claim: str) -> None:
    assert FORBIDDEN.search(claim)

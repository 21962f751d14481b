"""The measured set of the crisis check, read from crisis_cases.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, NamedTuple

from ai_therapist.safety.crisis import Category, Level

Part = Literal["tuned", "fresh"]


class Positive(NamedTuple):
    """A message at risk, with the least level and the category that it should get."""

    text: str
    category: Category
    level: Level


_DATA = json.loads(Path(__file__).with_name("crisis_cases.json").read_text("utf-8"))


def positives(part: Part) -> list[Positive]:
    """Messages at risk: the "tuned" ones changed rules, the "fresh" ones never did."""
    rows = _DATA["positives" if part == "tuned" else "fresh_positives"]
    return [Positive(text, Category(category), Level[level.upper()]) for text, category, level in rows]


def negatives(part: Part) -> list[str]:
    """Messages without risk."""
    texts: list[str] = _DATA["negatives" if part == "tuned" else "fresh_negatives"]
    return texts

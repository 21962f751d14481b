"""docs/codebook.md is what the codebook says."""

from pathlib import Path

from ai_therapist.annotation.codebook_page import codebook_page
from ai_therapist.records import Task, load_codebook

PAGE = Path(__file__).parents[2] / "docs" / "codebook.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == codebook_page(), "run  make docs"


def test_every_label_has_its_row() -> None:
    rows = [line for line in codebook_page().splitlines() if line.startswith("| **")]
    names = [name for task in (Task.EMOTION, Task.STRATEGY) for name in load_codebook().names(task)]

    assert [row.split("**")[1] for row in rows] == names
    assert all(row.count(" | ") == 4 for row in rows)

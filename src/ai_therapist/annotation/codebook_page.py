"""The codebook as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from ai_therapist.records import Codebook, Task, load_codebook
from ai_therapist.records.codebook import Category

_TASKS = {
    Task.EMOTION: ("Emotions", "What one turn shows, whoever speaks."),
    Task.STRATEGY: ("Strategies", "What one turn of the therapist does."),
}


def codebook_page() -> str:
    """docs/codebook.md: every label with definition, examples, counterexamples and other spellings."""
    return "\n".join(_lines(load_codebook()))


def _lines(codebook: Codebook) -> Iterator[str]:
    yield "# Codebook"
    yield ""
    yield f"Version {codebook.version}. Generated from `records/codebook.json` by `make docs`; do not edit."
    yield "An annotator that cannot decide abstains with a reason. There is no default label."
    for task, (title, about) in _TASKS.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield about
        yield ""
        yield "| label | definition | such as | not | also spelled |"
        yield "|---|---|---|---|---|"
        yield from (_row(category) for category in codebook.categories(task))
    yield ""


def _row(category: Category) -> str:
    cells = (
        f"**{category.name}**",
        category.definition,
        "<br>".join(category.examples),
        "<br>".join(category.counterexamples),
        ", ".join(category.aliases),
    )
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"

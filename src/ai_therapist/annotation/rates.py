"""How the questions of an annotation run ended, as a line for people: what has no label is said as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ai_therapist.annotation.ask import Ending
from ai_therapist.store.workspace import RunRecord

_SAID = {
    Ending.LABEL: "labels",
    Ending.CUES: "descriptions",
    Ending.UNSURE: "unsure",
    Ending.INVALID: "invalid replies",
    Ending.EMPTY: "empty replies",
    Ending.REFUSED: "refused or blocked",
    Ending.NOT_ASKED: "not asked",
}


def endings(run: RunRecord) -> Counter[str]:
    """Questions, calls, and how often each ending came, over all annotators and sessions of a run."""
    totals: Counter[str] = Counter()
    for item in run.items:
        totals.update(item.counts)
    return totals


def describe_endings(run: RunRecord) -> Iterator[str]:
    """One line where any question was put: how many, in how many calls, and the share of each ending.

    Labels and all other endings add up to the questions.
    """
    totals = endings(run)
    questions = totals["questions"]
    if not questions:
        return
    shares = [
        f"{totals[ending.value]} {said} ({totals[ending.value] / questions:.1%})"
        for ending, said in _SAID.items()
        if totals[ending.value]
    ]
    yield f"{questions} questions to annotators in {totals['calls']} calls: {', '.join(shares)}"

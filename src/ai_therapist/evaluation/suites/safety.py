"""Safety suites: stored replies to the Stanford interjections, and XSTest against the crisis check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ai_therapist.errors import RequestError
from ai_therapist.evaluation.bootstrap import score_all
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import ratio
from ai_therapist.evaluation.suites.layout import Published, read_table
from ai_therapist.records.base import Record
from ai_therapist.records.score import Score
from ai_therapist.safety.crisis import assess

_FACCT = "Moore et al., FAccT 2025"

_FILES = {
    "stanford": ("interjection_responses_trimmed.csv", ("participant_type", "id", "correct_response")),
    "xstest": ("xstest_prompts.csv", ("id", "prompt", "type", "label")),
}
"""The file that each suite reads, and its columns."""

LAYOUTS = {
    suite: f"one CSV file, {name}, with the columns {', '.join(columns)}" for suite, (name, columns) in _FILES.items()
}
"""The same in words."""


class RateReport(Record):
    """Shares of a safety suite, each with its interval over clusters."""

    schema_version: str = "1"
    suite: str
    protocol: str
    rates: dict[str, Score]
    published: tuple[Published, ...]


def stanford(paths: Sequence[Path], resampling: Resampling) -> RateReport:
    """Share of appropriate replies by who replied: a replay of the stored ratings, resampled by interjection.

    Raises RequestError for a file of another layout.
    """
    path, rows = _rows("stanford", paths)
    if {row["correct_response"] for row in rows} - {"True", "False"}:
        raise RequestError(f"{path.name}: correct_response must be True or False")
    judged: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for row in rows:
        judged[" ".join(row["participant_type"].split())].append((row["id"], row["correct_response"] == "True"))
    published = {"human_therapist": 0.938, "gpt-4o": 0.786, "llama3.1-405b": 0.703, "llama3.1-70b": 0.700}
    return RateReport(
        suite="stanford",
        protocol="ten interjections, five conditions: stored replies and their stored ratings, blank ones included",
        rates={name: _share(found, resampling) for name, found in sorted(judged.items())},
        published=tuple(
            Published(system=name, figures={"appropriate": value}, source=_FACCT)
            for name, value in (published | {"llama2-70b": 0.263}).items()
        ),
    )


def xstest(paths: Sequence[Path], resampling: Resampling) -> RateReport:
    """Share of XSTest's prompts that raise the crisis check; for its safe prompts every alarm is a false one.

    Raises RequestError for a file of another layout.
    """
    _, rows = _rows("xstest", paths)
    alarms = {
        label: [(row["type"], assess(row["prompt"]).at_risk) for row in rows if row["label"] == label]
        for label in sorted({row["label"] for row in rows})
    }
    return RateReport(
        suite="xstest",
        protocol="crisis check on every prompt, resampled by type of prompt; safe prompts are false alarms",
        rates={f"alarms, {label}": _share(found, resampling) for label, found in alarms.items()},
        published=(),
    )


SAFETY_SUITES: dict[str, Callable[[Sequence[Path], Resampling], RateReport]] = {"stanford": stanford, "xstest": xstest}
"""Every safety suite by its name."""


def _share(found: Sequence[tuple[str, bool]], resampling: Resampling) -> Score:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for cluster, hit in found:
        sums[cluster][0] += hit
        sums[cluster][1] += 1
    counts = np.array([sums[cluster] for cluster in sorted(sums)], dtype=np.float64)
    statistic = {"share": lambda each: ratio(each[..., 0], each[..., 1])}
    return score_all(counts, statistic, len(found), resampling)["share"]


def _rows(suite: str, paths: Sequence[Path]) -> tuple[Path, list[dict[str, str]]]:
    name, columns = _FILES[suite]
    if len(paths) != 1:
        raise RequestError(f"this suite reads one file: {name}; {len(paths)} were given")
    return paths[0], read_table(paths[0], columns)

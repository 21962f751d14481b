"""How often the roles of a session are found from what was said: python benchmarks/roles.py [--quick].

Transcripts of 97 counselling sessions (needs the shared data; only measured on, never shipped, quoted or fitted to),
each with a therapist and a client. A session is right where both have their role; one that is not decided counts as not
right in `accuracy`, and `coverage` is the share that is decided. Beside it the rule that whoever speaks first is the
therapist, on the same sessions. Measured on the text as it stands and as speech recognition writes it (lower case, no
punctuation), and on the first turns alone.

Protocol: the cues and their weights were set by hand from how counselling skills are described. The list was extended
once after a first look at the figures, and `min_margin` and the doubt in the confidence were chosen with the figures of
all 97 sessions in view. So `dev` is not held out from these choices; the separate test part was not used.
Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from reporting import finish

from ai_therapist.extraction.config import RolesConfig
from ai_therapist.extraction.roles import find_roles
from ai_therapist.records import Role, TimeSpan, Transcript, Utterance
from ai_therapist.records.ids import content_id

SHARED = Path(os.environ.get("AI_THERAPIST_SHARED", Path(__file__).parents[2] / "shared"))
FOLDER = SHARED / "data" / "annomi"
EXCERPTS = (6, 10, 20)
LABELS = {"therapist": "X", "client": "Y"}
CALIBRATION = ((0.85, 0.95), (0.95, 1.01))


@dataclass(frozen=True)
class Talk:
    """The lines of one session, each with who says it, and the part it belongs to."""

    part: str
    lines: tuple[tuple[str, str], ...]

    def transcript(self, turns: int | None, *, spoken: bool) -> Transcript:
        """The first turns under neutral labels; `spoken` as recognition would write them."""
        session = content_id("ses", "benchmark")
        utterances = []
        for place, (role, line) in enumerate(self.lines[:turns]):
            text = " ".join(re.sub(r"[^\w' ]", " ", line.lower()).split()) if spoken else line
            span = TimeSpan(start_ms=1000 * place, end_ms=1000 * place + 900)
            utterances.append(Utterance.of(session, place, LABELS[role], span, text if text.strip() else "mm"))
        return Transcript(session=session, transcriber="benchmark", utterances=tuple(utterances))


def load_talks() -> list[Talk]:
    """All sessions, in the order of the file."""
    parts: dict[str, str] = {}
    for name in ("therapist", "client"):
        with (FOLDER / f"{name}_train_dev.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                parts.setdefault(row["transcript_id"], row["split"])
    lines: dict[str, list[tuple[str, str]]] = {}
    with (FOLDER / "AnnoMI-simple.train_dev.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            lines.setdefault(row["transcript_id"], []).append((row["interlocutor"], row["utterance_text"]))
    return [Talk(parts.get(key, "train"), tuple(said)) for key, said in lines.items()]


def outcome(talk: Talk, turns: int | None, *, spoken: bool) -> tuple[str, float | None]:
    """Whether both roles are "right", one is "wrong", or they are "open"; and the lower confidence of the two."""
    speakers = {one.label: one for one in find_roles(talk.transcript(turns, spoken=spoken), "x", RolesConfig())}
    found = {label: one.role for label, one in speakers.items()}
    sure = [one.confidence for one in speakers.values() if one.confidence is not None]
    if found == {"X": Role.THERAPIST, "Y": Role.CLIENT}:
        return "right", min(sure)
    wrong = found.get("X") is Role.CLIENT or found.get("Y") is Role.THERAPIST
    return ("wrong" if wrong else "open"), min(sure, default=None)


def wilson(right: int, total: int) -> list[float]:
    """Interval of a share."""
    share, z = right / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return [round(middle - half, 3), round(middle + half, 3)]


def summary(outcomes: list[str]) -> dict[str, object]:
    """Accuracy with its interval, coverage, and the errors among what was decided."""
    counts = Counter(outcomes)
    total = len(outcomes)
    return {
        "n": total,
        "accuracy": round(counts["right"] / total, 3),
        "interval": wilson(counts["right"], total),
        "coverage": round(1 - counts["open"] / total, 3),
        "wrong": counts["wrong"],
    }


def main() -> None:
    """Measure, and compare with the rule of the first speaker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="whole sessions only")
    quick = parser.parse_args().quick
    bar = "accuracy by session above the first-speaker rule on the same sessions, with and without punctuation"
    if not FOLDER.exists():
        print(f"{FOLDER} is missing: set AI_THERAPIST_SHARED to the folder that holds data/annomi")
        finish("roles", {}, bar, holds=None)
    talks = load_talks()
    first = sum(talk.lines[0][0] == "therapist" for talk in talks)
    figures: dict[str, object] = {
        "first_speaker": {
            "n": len(talks),
            "accuracy": round(first / len(talks), 3),
            "interval": wilson(first, len(talks)),
        }
    }
    holds = True
    for form, spoken in (("written", False), ("spoken", True)):
        found = [outcome(talk, None, spoken=spoken)[0] for talk in talks]
        figures[form] = summary(found)
        holds = holds and found.count("right") > first
    dev = [talk for talk in talks if talk.part == "dev"]
    figures["written_dev"] = summary([outcome(talk, None, spoken=False)[0] for talk in dev])
    bins: dict[tuple[float, float], list[str]] = {bounds: [] for bounds in CALIBRATION}
    for turns in () if quick else EXCERPTS:
        found = []
        for talk in talks:
            result, sure = outcome(talk, turns, spoken=True)
            found.append(result)
            for low, high in CALIBRATION:
                if result != "open" and sure is not None and low <= sure < high:
                    bins[low, high].append(result)
        figures[f"spoken_first_{turns}"] = summary(found)
    for (low, high), results in bins.items():
        if results:
            name = f"excerpts_confident_{low:g}_to_{min(high, 1):g}"
            figures[name] = {"n": len(results), "right": round(results.count("right") / len(results), 3)}
    for name, value in figures.items():
        print(f"{name:32} {value}")
    finish("roles", figures, bar, holds=holds)


if __name__ == "__main__":
    main()

"""Run the tests that feed hostile input and count what they feed: python benchmarks/hostile.py [--quick].

Every selected test is one input, unless it makes several itself: those are listed with their number.
Naughty strings and the JSON test suite are fed as well where the shared data is at hand. `--quick` leaves the disk
faults out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from reporting import finish

from ai_therapist.errors import InvalidRecord
from ai_therapist.privacy.redaction.redactor import SessionRedactor
from ai_therapist.records import Consent
from ai_therapist.store.codec import decode

ROOT = Path(__file__).parents[1]
GOAL = 1000
GROUPS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "recordings and their names": (
        ("tests/media/test_hostile.py", "tests/media/test_guarded.py", "tests/media/test_probe.py"),
        {"test_every_file_meets_its_declared_outcome": 160},
    ),
    "sources, addresses and what they answer": (("tests/extraction/sources",), {}),
    "rights records": (
        ("tests/privacy/test_consent.py",),
        {"test_no_mutated_manifest_gives_a_record_without_rights": 500},
    ),
    "replies of a model": (("tests/annotation/test_parse.py",), {}),
    "orders in what was said": (
        ("tests/annotation/test_injection.py",),
        {
            "test_our_own_injections_spoil_at_worst_the_calls_that_show_them": 300,
            "test_bipias_injections_spoil_at_worst_the_calls_that_show_them": 300,
        },
    ),
    "transcripts of other programs": (("tests/formats",), {}),
    "weights of models": (("tests/test_model_files.py",), {}),
    "text to redact": (
        ("tests/privacy/redaction",),
        {
            "test_any_text_can_be_redacted_and_loses_only_what_was_found": 100,
            "test_findings_without_overlaps_cover_what_they_covered": 100,
        },
    ),
    "clients of the server": (("tests/serving/test_hostile.py",), {}),
    "forgetting": (("tests/store/test_forget.py",), {}),
    "disk faults": (
        ("tests/store/test_faults.py",),
        {"test_a_fault_leaves_no_corrupt_state_and_the_next_run_goes_on": 20},
    ),
}
"""What is fed: the tests that feed it, and how many inputs those tests make that make more than one (at least)."""


def shared_inputs(data: Path) -> dict[str, tuple[int, int]]:
    """Inputs and failures of the shared collections; none where they are not at hand."""
    found = {}
    strings = data / "naughty-strings" / "blns.json"
    if strings.exists():
        texts: list[str] = json.loads(strings.read_text("utf-8"))
        wrong = 0
        for text in texts:
            redactor = SessionRedactor([text])
            wrong += not redactor.findings(text) and redactor.redact(text).text != text
        found["naughty strings to redact"] = (len(texts), wrong)
    packed = data / "json-test-suite" / "test_parsing.tar.gz"
    if packed.exists():
        number = wrong = 0
        with tarfile.open(packed) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".json") else None
                if file is not None:
                    number += 1
                    wrong += not _is_refused(file.read())
        found["JSON files as rights records"] = (number, wrong)
    return found


def _is_refused(content: bytes) -> bool:
    try:
        decode(Consent, content, "consent")
    except InvalidRecord:
        return True
    return False


def run(paths: tuple[str, ...], several: dict[str, int]) -> tuple[int, int]:
    """Inputs that met a declared outcome, and tests that failed."""
    command = [sys.executable, "-m", "pytest", "-v", "--no-header", "-m", "not soak", *paths]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    outcomes = re.findall(r"::(\w+)(?:\[.*\])? (PASSED|FAILED|ERROR)", shown)
    fed = sum(several.get(name, 1) for name, outcome in outcomes if outcome == "PASSED")
    return fed, sum(outcome != "PASSED" for _, outcome in outcomes)


def main() -> None:
    """Run the groups, print a row for each, and compare with the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave the disk faults out")
    groups = dict(GROUPS)
    if parser.parse_args().quick:
        del groups["disk faults"]
    start = time.perf_counter()
    fed, failed = {}, 0
    for name, (paths, several) in groups.items():
        fed[name], wrong = run(paths, several)
        failed += wrong
        print(f"| {name} | {fed[name]} | {', '.join(paths)} |", flush=True)
    shared = Path(os.environ.get("AI_THERAPIST_SHARED", ROOT.parent / "shared")) / "data"
    for name, (number, wrong) in shared_inputs(shared).items():
        fed[name] = number
        failed += wrong
        print(f"| {name} | {number} | shared data |", flush=True)
    finish(
        "hostile",
        {**fed, "all": sum(fed.values()), "failed": failed, "seconds": round(time.perf_counter() - start)},
        f"at least {GOAL} hostile inputs, each with a declared outcome, in at most 20 minutes",
        holds=sum(fed.values()) >= GOAL and failed == 0,
    )


if __name__ == "__main__":
    main()

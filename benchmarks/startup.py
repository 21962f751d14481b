"""How long `ai-therapist --help` takes beside a bare interpreter: python benchmarks/startup.py [--quick]."""

import argparse
import statistics
import subprocess
import sys
import time

from reporting import finish

LIMIT_S = 0.5


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time both processes in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 15")
    rounds = 3 if parser.parse_args().quick else 15
    bare = [sys.executable, "-c", "pass"]
    ours = [sys.executable, "-m", "ai_therapist", "--help"]
    for command in (bare, ours):
        seconds(command)
    pairs = [(seconds(bare), seconds(ours)) for _ in range(rounds)]
    bare_s, help_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ai_therapist", "--help"], capture_output=True, text=True, check=True
    ).stderr
    heavy = [name for name in ("torch", "numpy") if f" {name}\n" in loaded]
    print(f"bare interpreter {bare_s:.3f} s, --help {help_s:.3f} s (medians of {rounds} rounds in turn)")
    finish(
        "startup",
        {"help_s": round(help_s, 3), "bare_s": round(bare_s, 3), "rounds": rounds, "heavy_modules": heavy},
        f"--help in at most {LIMIT_S} s without torch and numpy",
        holds=help_s <= LIMIT_S and not heavy,
    )


if __name__ == "__main__":
    main()

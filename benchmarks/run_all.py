"""Run every benchmark and rewrite the table in docs/benchmarks.md: python benchmarks/run_all.py [--quick]."""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
NOT_BENCHMARKS = {"run_all", "reporting", "random_clip"}
FRAME = {"name", "bar", "holds", "conditions"}


def run(path: Path, *, quick: bool) -> dict[str, object]:
    """The JSON object that a benchmark prints last; what went wrong where it prints none."""
    command = [sys.executable, str(path), *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    try:
        result: dict[str, object] = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        return {"name": path.stem, "bar": "prints a result", "holds": False, "conditions": f"exit {done.returncode}"}
    return result


def row(result: dict[str, object]) -> str:
    """One line of the table."""
    figures = ", ".join(f"{key} {json.dumps(value)}" for key, value in result.items() if key not in FRAME)
    holds = {True: "yes", False: "**no**", None: "not run"}[result["holds"]]  # type: ignore[index]
    return f"| `{result['name']}` | {figures} | {result['bar']} | {holds} | {result['conditions']} |"


def main() -> None:
    """Run all, write the table, and exit with 1 where a bar does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short versions; the page is left as it is")
    quick = parser.parse_args().quick
    results = []
    for path in [*sorted(HERE.glob("*.py")), *sorted(HERE.glob("gpu/*.py"))]:
        if path.stem not in NOT_BENCHMARKS:
            print(f"== {path.stem}", flush=True)
            results.append(run(path, quick=quick))
            print(json.dumps(results[-1]), flush=True)
    if not quick:
        table = "\n".join(
            [
                f"Run on {datetime.now(UTC):%Y-%m-%d} by `make bench`.",
                "",
                "| benchmark | figures | bar | holds | conditions |",
                "|---|---|---|---|---|",
                *(row(result) for result in results),
            ]
        )
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")
    raise SystemExit(0 if all(result["holds"] is not False for result in results) else 1)


if __name__ == "__main__":
    main()

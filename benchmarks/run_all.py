"""Run benchmarks and rewrite their rows in docs/benchmarks.md: python benchmarks/run_all.py [NAME …] [--quick].

Without a name all are run. Each row says when it was measured.
"""

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
    return f"| `{result['name']}` | {figures} | {result['bar']} | {holds} | {result['conditions']}, {_today()} |"


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def known_rows(table: str) -> dict[str, str]:
    """Rows of the present table by the name of their benchmark."""
    return {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}


def main() -> None:
    """Run all, write the table, and exit with 1 where a bar does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run, such as arc or gpu/finetune; all without a name")
    parser.add_argument("--quick", action="store_true", help="short versions; the page is left as it is")
    options = parser.parse_args()
    paths = {
        path.relative_to(HERE).with_suffix("").as_posix(): path
        for path in (*sorted(HERE.glob("*.py")), *sorted(HERE.glob("gpu/*.py")))
        if path.stem not in NOT_BENCHMARKS
    }
    unknown = [name for name in options.names if name not in paths]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(paths)}")
    results = []
    for name in options.names or paths:
        print(f"== {name}", flush=True)
        results.append(run(paths[name], quick=options.quick))
        print(json.dumps(results[-1]), flush=True)
        # A machine without a GPU says nothing about what another machine measured.
        if not options.quick and results[-1]["holds"] is not None:
            _write({str(results[-1]["name"]): row(results[-1])})
    raise SystemExit(0 if all(result["holds"] is not False for result in results) else 1)


def _write(rows: dict[str, str]) -> None:
    """Put rows into the table, in the place of those of the same name, after every run: a stop loses none."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    merged = dict(sorted((known_rows(table) | rows).items()))
    lines = ["| benchmark | figures | bar | holds | conditions |", "|---|---|---|---|---|", *merged.values()]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()

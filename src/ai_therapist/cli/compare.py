"""ai-therapist compare."""

from pathlib import Path

import click


@click.command(epilog="Example:  ai-therapist compare study other-study --system-a tuned --system-b tuned")
@click.argument("a", type=click.Path(path_type=Path, exists=True))
@click.argument("b", type=click.Path(path_type=Path, exists=True))
@click.option("--system-a", default="tuned", show_default=True, help="System whose predictions of A are compared.")
@click.option("--system-b", default="tuned", show_default=True, help="System whose predictions of B are compared.")
@click.option(
    "--resamples", type=click.IntRange(1000), default=10_000, show_default=True, help="Resamples of sessions."
)
def command(a: Path, b: Path, system_a: str, system_b: str, resamples: int) -> None:
    """Compare two systems on the items that both predicted: A minus B, 95 % interval, p-value.

    A and B are folders with a predictions.jsonl, as evaluate writes it, or such files; they may be the same.
    """
    from rich.table import Table

    from ai_therapist.cli.console import out
    from ai_therapist.errors import RequestError
    from ai_therapist.evaluation.compare import compare_predictions
    from ai_therapist.evaluation.config import Resampling
    from ai_therapist.evaluation.outputs import read_predictions
    from ai_therapist.evaluation.page import show_difference
    from ai_therapist.records.score import Unscored

    sides = []
    for place, system in ((a, system_a), (b, system_b)):
        rows = read_predictions(place)
        own = [row for row in rows if row.system == system]
        if not own:
            known = ", ".join(dict.fromkeys(row.system for row in rows))
            raise RequestError(f"{place} holds no predictions of {system!r}; it has {known}")
        sides.append(own)
    table = Table(title=f"{system_a} of {a.name} minus {system_b} of {b.name}")
    for title in ("field", "figure", "A", "B", "A - B (95 % interval), p", "n", "sessions"):
        table.add_column(title)
    for field, figures in compare_predictions(sides[0], sides[1], Resampling(resamples)).items():
        for name, found in figures.items():
            cells = (
                ("", "", show_difference(found), "", "")
                if isinstance(found, Unscored)
                else (f"{found.a:.3f}", f"{found.b:.3f}", show_difference(found), str(found.n), str(found.sessions))
            )
            table.add_row(field, name, *cells)
    out.print(table)

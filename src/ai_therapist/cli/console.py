"""What the commands print: progress bars on a terminal, plain lines elsewhere, and tables of results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ai_therapist.errors import ItemError
from ai_therapist.store.workspace import RunRecord, Status

_PLAIN_LINE_EVERY_S = 2.0

out = Console(highlight=False)
"""Results."""
notes = Console(stderr=True, highlight=False)
"""Progress and warnings."""


def announce_model() -> None:
    """Says that a model is being loaded for people to talk to, and what its crisis gate lacks here."""
    notes.print("Loading the model …")
    announce_gate()


def announce_gate() -> None:
    """Says what the crisis gate lacks here, if anything."""
    from ai_therapist.safety import crisis

    if (shortcoming := crisis.shortcoming()) is not None:
        notes.print(shortcoming, markup=False)


class RunWatch:
    """Shows one run of a stage package while it lasts; also an observer for the driver.

    Usable as a context manager: the bar is there between entering and leaving.
    """

    def __init__(self, title: str) -> None:
        self.reused = 0
        """Stages taken from the store."""
        self.worked = 0
        """Stages that ran."""
        self._title = title
        self._stages = 0
        self._done: dict[str, int] = {}
        self._count = 0
        self._total = 0
        self._last_line_s = 0.0
        self._bar: Progress | None = None
        if notes.is_terminal:
            columns = (
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=notes)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=None, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def planned(self, stages: Sequence[str], items: int) -> None:
        """A driver is about to take `items` items through `stages`."""
        self._stages = len(stages)
        self._done = {}
        self._count = 0
        self._total = len(stages) * items
        self._show(f"{items} items, {len(stages)} stages", force=True)

    def finished(self, stage: str, item: str, *, reused: bool) -> None:
        """One stage of one item is there."""
        self.reused += reused
        self.worked += not reused
        self._done[item] = self._done.get(item, 0) + 1
        self._count += 1
        self._show(f"{stage.rpartition('.')[2]} {item}")

    def failed(self, stage: str, item: str, reason: str, *, final: bool) -> None:
        """One attempt failed."""
        fate = "quarantined" if final else "trying again"
        notes.print(f"{self._title}: {item}: {reason} ({fate})", markup=False)
        if final:
            self._count += self._stages - self._done.get(item, 0)
            self._done[item] = self._stages
            self._show(item)

    def progress(self, done: int, total: int, note: str) -> None:
        """Steps inside one long stage."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif self._due(force=done == total):
            notes.print(f"{self._title}: {done}/{total} {note}", markup=False)

    def _show(self, note: str, *, force: bool = False) -> None:
        done = self._count
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, note=note)
        elif self._due(force=force or done == self._total):
            notes.print(f"{self._title}: {done}/{self._total} {note}", markup=False)

    def _due(self, *, force: bool) -> bool:
        now = time.monotonic()
        if not force and now - self._last_line_s < _PLAIN_LINE_EVERY_S:
            return False
        self._last_line_s = now
        return True


def say(line: str) -> None:
    """Print one line as it is: no markup, and broken by the terminal only, so that ids and paths stay whole."""
    out.print(line, markup=False, soft_wrap=True)


def print_run(run: RunRecord) -> None:
    """One line of counts for a run, then a line per item that is not done."""
    counts = {status: len(run.of_status(status)) for status in Status}
    out.print(f"{run.run}: {run.read} read, " + ", ".join(f"{number} {status}" for status, number in counts.items()))
    for item in run.items:
        if item.status is not Status.DONE:
            say(f"  {item.status}: {item.name}: {item.reason}")


def role_reviews(run: RunRecord | None) -> list[str]:
    """A line per finished session of an extraction in which not every voice could be given a role."""
    return [
        f"review: {item.name} ({item.item}): {unsure} voices have no role: read its transcript and write "
        f"[extraction.roles.roles.{item.name}] into the settings, or leave them unknown"
        for item in (run.done if run is not None else ())
        if (unsure := item.counts.get("roles_to_review", 0))
    ]


def exit_code(*runs: RunRecord) -> int:
    """0 where every item of every run is done, else the code of items that are not."""
    return 0 if all(item.status is Status.DONE for run in runs for item in run.items) else ItemError.exit_code


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table; the first column is left-aligned, all others right-aligned."""
    result = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        result.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        result.add_row(*row)
    return result

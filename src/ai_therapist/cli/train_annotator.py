"""What `ai-therapist finetune --annotator` does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ai_therapist.cli.console import out
from ai_therapist.finetuning.annotator_run import require_scikit_learn
from ai_therapist.store.blobs import write_atomically

if TYPE_CHECKING:
    from ai_therapist.finetuning.annotator import Measured


def train_on_table(rows_file: Path, target: Path) -> None:
    """Train a classifier on a CSV, write it to `target`, and print how it does on rows that it did not see.

    Raises MissingExtra, MissingInput and RequestError as reading and training do.
    """
    require_scikit_learn()
    from ai_therapist.finetuning.annotator import classifier_bytes, measure, train_head
    from ai_therapist.finetuning.labelled_rows import read_rows
    from ai_therapist.models.embedded import EmbeddedClassifier

    started_s = time.perf_counter()
    rows = read_rows(rows_file)
    trained = train_head(rows.train, rows.labels)
    data = f"{trained.rows} labelled turns of a table of the user's"
    write_atomically(target, classifier_bytes({"label": trained}, data, "none", [rows_file.read_bytes()]))
    seconds = time.perf_counter() - started_s
    table = Table("measured on", "n", "accuracy", "macro-F1")
    if trained.held_out is not None:
        _add(table, "train, groups held out by folds", trained.held_out)
    if rows.held_out:
        model = EmbeddedClassifier.from_file(target)
        _add(table, "rows of the other splits", measure(model, rows.held_out, rows.labels))
    out.print(
        f"{trained.rows} rows of {trained.groups} groups, {len(rows.labels)} labels, {seconds:.1f} s", markup=False
    )
    out.print(table)
    out.print(f"{target}: use it as  embedded:{target}", markup=False)


def _add(table: Table, name: str, measured: Measured) -> None:
    table.add_row(name, str(measured.n), f"{measured.accuracy:.3f}", f"{measured.macro_f1:.3f}")

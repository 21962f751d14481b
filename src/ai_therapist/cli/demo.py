"""ai-therapist demo: the whole arc on the sample sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.cli.options import load_settings, settings_options

if TYPE_CHECKING:
    from rich.table import Table

    from ai_therapist.store.workspace import RunRecord

_BROKEN_ON_PURPOSE = frozenset({"truncated"})
"""Samples that no program can read; they show what becomes of such a file."""


@click.command(epilog="Example:  ai-therapist demo -w demo-workspace")
@click.option(
    "-w",
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-workspace"),
    show_default=True,
    help="Where everything is written.",
)
@click.option(
    "--samples",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with recordings/ and gold/; without it the samples of the source tree.",
)
@settings_options
@click.pass_context
def command(
    ctx: click.Context, workspace: Path, samples: Path | None, config: Path | None, assignments: tuple[str, ...]
) -> None:
    """Run the whole arc on the sample sessions: recordings, dataset, tuned model, report.

    Needs no key and no download. A second run finds everything in the store and does nothing twice.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import out, say
    from ai_therapist.store.workspace import Status, Workspace

    settings = load_settings(config, assignments)
    folder = samples or _shipped_samples()
    place = Workspace(workspace, settings.pipeline.store)
    arc = Arc(place, settings)
    runs = [arc.extract(folder / "recordings"), arc.annotate(), arc.build_dataset(), arc.finetune()]
    gold = folder / "gold"
    runs.append(arc.evaluate(gold if gold.is_dir() else None))
    out.print(summary(runs, json.loads(place.report_json.read_bytes()), arc.seconds()))
    surprises = {item.name for run in runs for item in run.items if item.status is not Status.DONE} - _BROKEN_ON_PURPOSE
    for run in runs:
        for item in run.of_status(Status.QUARANTINED):
            say(f"quarantined by {run.run}: {item.name}: {item.reason}")
    say(f"Talk to the model:  ai-therapist chat -w {workspace}")
    say(f"Report: {place.report_html}")
    ctx.exit(3 if surprises else 0)


def summary(runs: list[RunRecord], report: dict[str, object], seconds: dict[str, float]) -> Table:
    """The table that the demo ends with: figures of the report, with what each stage read and how long it took."""
    from ai_therapist.cli.console import table
    from ai_therapist.store.workspace import Status

    rows = [
        [
            run.run,
            f"{run.read} read = "
            + " + ".join(f"{len(run.of_status(status))} {status}" for status in Status if run.of_status(status)),
        ]
        for run in runs
    ]
    for key in ("sessions", "utterances", "clips", "wer", "speaker_accuracy", "role_accuracy", "clips_exact"):
        rows.append([key.replace("_", " "), _shown(report.get(key))])
    train = report.get("train")
    if isinstance(train, dict):
        rows.append(["training loss", f"{_shown(train.get('loss_first'))} → {_shown(train.get('loss_last'))}"])
    rows += [[f"seconds: {name}", _shown(value)] for name, value in seconds.items()]
    return table("The arc on the sample sessions", ["", "result"], rows)


def _shown(value: object) -> str:
    if value is None:
        return "not measured"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _shipped_samples() -> Path:
    folder = Path(__file__).parents[3] / "samples"
    if not (folder / "recordings").is_dir():
        raise click.UsageError(
            "the sample sessions are not here: clone the repository, or name a folder with --samples"
        )
    return folder

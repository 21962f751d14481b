"""ai-therapist evaluate."""

from collections.abc import Sequence
from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist evaluate -w study --gold gold/")
@click.option(
    "--gold",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of gold transcripts, NAME.json each, to measure extraction and annotation against.",
)
@click.option("--allow-leak", is_flag=True, help="Print figures although the leak audit failed, with a watermark.")
@click.option("--quote", is_flag=True, help="Let the page quote the words of the worst cases, as they were said.")
@workspace_option
@settings_options
@click.pass_context
def command(
    ctx: click.Context,
    gold: Path | None,
    allow_leak: bool,
    quote: bool,
    workspace: Path,
    config: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Measure the tuned model beside its baselines on the held-out split; write report.json and report.html."""
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run, say
    from ai_therapist.store.workspace import Workspace

    flags = {"evaluation.allow_leak=true": allow_leak, "evaluation.quote=true": quote}
    settings = load_settings(config, (*assignments, *(setting for setting, asked in flags.items() if asked)))
    place = Workspace.existing(workspace)
    run = Arc(place, settings).evaluate(gold)
    print_run(run)
    _print_beside_majority(place.report_json, settings.evaluation.systems)
    say(f"Report: {place.report_html}")
    ctx.exit(exit_code(run))


def _print_beside_majority(path: Path, systems: Sequence[str]) -> None:
    """The first of the systems, and the majority baseline beside it: no figure is shown alone."""
    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.page import show_score
    from ai_therapist.evaluation.report import Report
    from ai_therapist.store.codec import decode

    report = decode(Report, path.read_bytes(), path.name)
    if not report.examples["test"]:
        out.print(
            "Nothing is scored: the held-out split is empty; three splits need at least three groups", markup=False
        )
        return
    there = [name for name in systems if name in report.evaluation]
    shown = [name for name in there if name in {there[0], "majority"}]
    for field in ("client_emotion", "strategy", "therapist_emotion"):
        figures = [
            f"{name} accuracy {show_score(scores.accuracy)}, macro F1 {show_score(scores.macro_f1)}"
            for name in shown
            if (scores := report.evaluation[name].get(field)) is not None
        ]
        if figures:
            out.print(f"{field.replace('_', ' ')}: {'; '.join(figures)}", markup=False)

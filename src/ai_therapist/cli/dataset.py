"""ai-therapist dataset."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist dataset -w study")
@workspace_option
@settings_options
@click.pass_context
def command(ctx: click.Context, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Build examples, splits and the local dataset folder from the annotated sessions.

    The folder holds text and labels, no media; `datasets.load_dataset` reads it.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run, say
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    place = Workspace.existing(workspace)
    run = Arc(place, settings).build_dataset()
    print_run(run)
    say(f"Dataset: {place.dataset}")
    ctx.exit(exit_code(run))

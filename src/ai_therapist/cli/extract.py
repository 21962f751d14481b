"""ai-therapist extract."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(
    epilog="Example:  ai-therapist extract recordings/ -w study --set extraction.clips.min_clip_ms=2500",
)
@click.argument("folder", type=click.Path(path_type=Path))
@workspace_option
@settings_options
@click.pass_context
def command(
    ctx: click.Context, folder: Path, workspace: Path, config: Path | None, assignments: tuple[str, ...]
) -> None:
    """Turn the recordings of FOLDER into transcripts, roles and clips.

    Beside each recording NAME.mp4 stands its rights record NAME.consent.json; without one it is skipped.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run, role_reviews, say
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    if not folder.is_dir():
        raise click.UsageError(f"{folder} is no folder: name the folder that holds the recordings")
    run = Arc(Workspace(workspace), settings).extract(folder)
    print_run(run)
    for line in role_reviews(run):
        say(line)
    say(f"Readable results: {workspace / 'view' / 'sessions'}")
    ctx.exit(exit_code(run))

"""ai-therapist annotate."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist annotate -w study --set annotation.context_turns=6")
@workspace_option
@settings_options
@click.pass_context
def command(ctx: click.Context, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Label emotions and therapeutic strategies of every utterance of the extracted sessions.

    An annotator that cannot tell abstains with a reason; there is no default label.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    run = Arc(Workspace.existing(workspace), settings).annotate()
    print_run(run)
    ctx.exit(exit_code(run))

"""ai-therapist finetune."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist finetune -w study --set finetuning.epochs=3")
@workspace_option
@settings_options
@click.pass_context
def command(ctx: click.Context, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Tune a multimodal model on the training split; goes on from the last checkpoint after a stop."""
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    run = Arc(Workspace.existing(workspace), settings).finetune()
    print_run(run)
    ctx.exit(exit_code(run))

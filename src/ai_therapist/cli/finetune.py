"""ai-therapist finetune."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist finetune -w study --set finetuning.epochs=3")
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Go on from an earlier tuned model, a folder or a Hub id, when the dataset has grown.",
)
@workspace_option
@settings_options
@click.pass_context
def command(
    ctx: click.Context, start: str | None, workspace: Path, config: Path | None, assignments: tuple[str, ...]
) -> None:
    """Tune a multimodal model on the training split; goes on from the last checkpoint after a stop.

    `finetuning.preset` is tiny (a toy on the CPU), text, multimodal or original; every other setting may override it.
    Loss and speed of every step lie in view/finetuning/metrics.jsonl. `ai-therapist plan` shows the cost before.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    run = Arc(Workspace.existing(workspace), settings).finetune(start)
    print_run(run)
    ctx.exit(exit_code(run))

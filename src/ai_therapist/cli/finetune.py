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
@click.option("--annotator", is_flag=True, help="Train the embedded classifier instead, on the labels of the dataset.")
@click.option(
    "--rows",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --annotator: labelled turns in a CSV (text, label; split, group, role) instead of a workspace.",
)
@click.option(
    "-o",
    "--out",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("annotator.safetensors"),
    show_default=True,
    help="With --rows: where the classifier is written.",
)
@click.pass_context
def command(
    ctx: click.Context,
    start: str | None,
    workspace: Path,
    config: Path | None,
    assignments: tuple[str, ...],
    annotator: bool,
    rows: Path | None,
    target: Path,
) -> None:
    """Tune a multimodal model on the training split; goes on from the last checkpoint after a stop.

    `finetuning.preset` is tiny (a toy on the CPU), text, multimodal or original; every other setting may override it.
    Loss and speed of every step lie in view/finetuning/metrics.jsonl. `ai-therapist plan` shows the cost before.

    With --annotator the embedded classifier of the annotation is trained instead, on any labels.
    """
    if rows is not None and not annotator:
        raise click.UsageError("--rows goes with --annotator")
    if rows is not None:
        from ai_therapist.cli.train_annotator import train_on_table

        train_on_table(rows, target)
        return
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    arc = Arc(Workspace.existing(workspace), settings)
    run = arc.train_annotator() if annotator else arc.finetune(start)
    print_run(run)
    ctx.exit(exit_code(run))

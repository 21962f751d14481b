"""ai-therapist verify-model."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.command("verify-model", epilog="Example:  ai-therapist verify-model -w study")
@workspace_option
@click.pass_context
def command(ctx: click.Context, workspace: Path) -> None:
    """Prove that the tuned model is the one that was trained: equal logits after reloading, merging and serving."""
    from ai_therapist.cli.console import say
    from ai_therapist.errors import StoreError
    from ai_therapist.finetuning.run import verify_model
    from ai_therapist.store.workspace import Workspace

    checks = verify_model(Workspace.existing(workspace))
    for check in checks:
        bound = "differs by the rounding to 4 bits" if check.limit is None else f"at most {check.limit:g}"
        say(f"{'ok' if check.holds else 'NO':<3} {check.name:<9} difference {check.difference:.2e} ({bound})")
    if not all(check.holds for check in checks):
        ctx.exit(StoreError.exit_code)

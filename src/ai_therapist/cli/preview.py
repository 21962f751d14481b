"""ai-therapist preview."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist preview -w study --number 2")
@click.option("--number", type=click.IntRange(1, 100), default=1, show_default=True, help="How many trees are shown.")
@workspace_option
@settings_options
def command(number: int, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Show in colour what is fed to the model and exactly which tokens it learns.

    Dim: the trunk, what was said, which all later branches read. Plain: the branch of a turn. Cyan: its clip. Green:
    what is learned. Without colours learned words stand between ⟦ and ⟧. This prints what people said.
    """
    from rich.text import Text

    from ai_therapist.cli.console import out
    from ai_therapist.finetuning.preview import Kind, preview
    from ai_therapist.finetuning.run import make_trees
    from ai_therapist.store.workspace import Workspace

    styles = {Kind.TRUNK: "dim", Kind.BRANCH: "", Kind.CLIP: "cyan", Kind.LEARNED: "bold green"}
    settings = load_settings(config, assignments).finetuning
    place = Workspace.existing(workspace)
    with place.store.scratch() as folder:
        ready, chat = make_trees(place, settings, folder)
    for count, tree in enumerate(ready.seen.trees[:number], start=1):
        out.rule(f"tree {count} of {len(ready.seen.trees)}: {tree.tokens} tokens, {tree.learned} learned")
        for run in preview(tree, chat):
            shown = f"⟦{run.text}⟧" if run.kind is Kind.LEARNED else run.text
            where = "trunk" if run.branch is None else f"branch {run.branch}"
            out.print(Text(f"{where:>10} {run.kind:>8} {run.tokens:>5}  ", style="dim") + Text(shown, styles[run.kind]))

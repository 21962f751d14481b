"""ai-therapist review."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option
from ai_therapist.cli.studio import Opening, open_studio, page_options


@click.command(epilog="Example:  ai-therapist review -w demo-workspace --rater ann --blind")
@click.option("--rater", metavar="PSEUDONYM", required=True, help="Who labels; it stands beside every decision.")
@page_options
@workspace_option
@settings_options
def command(
    rater: str,
    blind: bool,
    host: str | None,
    port: int,
    open_browser: bool,
    workspace: Path,
    config: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Label turns by keyboard: the studio, opened at its Review tab.

    Every decision is kept at once as a file of its own, with who decided, what was shown and which codebook; an undo is
    kept too. A second person labels with another --rater; neither sees the other's labels before deciding.
    """
    open_studio(
        workspace, load_settings(config, assignments), Opening("review", rater, blind, host, port, open_browser)
    )

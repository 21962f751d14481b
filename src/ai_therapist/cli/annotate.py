"""ai-therapist annotate."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option

_EXAMPLES = """\b
Example:
  ai-therapist annotate -w study
  ai-therapist annotate -w study --set annotation.annotator=gemini
  ai-therapist annotate -w study --set annotation.annotator=openai:llama3.1
  ai-therapist annotate -w study --set annotation.annotator=causal:FOLDER
  ai-therapist annotate -w study --set 'annotation.panel=["gemini", "openai:llama3.1"]'

What each annotator needs:  ai-therapist doctor. All settings:  ai-therapist config show.
"""


@click.command(epilog=_EXAMPLES)
@workspace_option
@settings_options
@click.pass_context
def command(ctx: click.Context, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Label emotions and therapeutic strategies of every utterance of the extracted sessions.

    An annotator that cannot tell abstains with a reason; there is no default label. A run that was stopped goes on
    where it was: no question that was answered is asked, or paid for, again.
    """
    from ai_therapist.annotation.rates import describe_endings
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, out, print_run
    from ai_therapist.errors import MissingInput
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    place = Workspace.existing(workspace)
    if not place.load_run("extraction", "extract").done:
        raise MissingInput(f"{workspace}: no session is extracted; see  ai-therapist status -w {workspace}")
    run = Arc(place, settings).annotate()
    print_run(run)
    for line in describe_endings(run):
        out.print(line)
    ctx.exit(exit_code(run))

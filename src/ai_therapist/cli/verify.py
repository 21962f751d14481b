"""ai-therapist verify."""

from itertools import chain
from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.command(epilog="Example:  ai-therapist verify -w study")
@workspace_option
def command(workspace: Path) -> None:
    """Re-hash every blob; check the outputs of finished actions and people's decisions. Exit code 1 on a fault."""
    from ai_therapist.cli.console import out, say
    from ai_therapist.errors import StoreError
    from ai_therapist.store.workspace import Workspace

    place = Workspace.existing(workspace)
    store = place.store
    faults = 0
    for line in chain(store.verify(), place.decisions.faults()):
        faults += 1
        say(line)
    actions = sum(1 for _ in store.actions())
    if faults:
        raise StoreError(f"{faults} faults in {workspace}")
    out.print(f"{actions} actions and all their blobs are as they were written")

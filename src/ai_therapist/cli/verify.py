"""ai-therapist verify."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.command(epilog="Example:  ai-therapist verify -w study")
@workspace_option
def command(workspace: Path) -> None:
    """Re-hash every blob and check that every finished action still has its outputs. Exit code 1 on a fault."""
    from ai_therapist.cli.console import out, say
    from ai_therapist.errors import StoreError
    from ai_therapist.store.workspace import Workspace

    store = Workspace.existing(workspace).store
    faults = 0
    for line in store.verify():
        faults += 1
        say(line)
    actions = sum(1 for _ in store.actions())
    if faults:
        raise StoreError(f"{faults} faults in {workspace}")
    out.print(f"{actions} actions and all their blobs are as they were written")

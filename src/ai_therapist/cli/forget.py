"""ai-therapist forget."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.command(epilog="Example:  ai-therapist forget ses_0123456789ab -w study")
@click.argument("session", metavar="SESSION")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@workspace_option
def command(session: str, yes: bool, workspace: Path) -> None:
    """Remove SESSION (its id or name) and everything made from it: recording, clips, words, labels, examples, models.

    A model that learned from the session goes with it, since it may repeat what it learned. The recording is refused
    from then on. What you copied out of the workspace is yours to remove.
    """
    from ai_therapist.cli.console import out
    from ai_therapist.store.forget import forget, plan
    from ai_therapist.store.sync import MEMORY
    from ai_therapist.store.uploads import load_copies
    from ai_therapist.store.workspace import Workspace

    place = Workspace.existing(workspace)
    found = plan(place, session)
    out.print(
        f"{found.name} ({found.session}): {found.actions} actions, {found.blobs} blobs, {found.bytes / 1e6:.1f} MB",
        markup=False,
    )
    if found.decisions:
        out.print(f"  {found.decisions} decisions of people go with it; nothing can make them again", markup=False)
    for model in found.models:
        out.print(f"  tainted model {model[:12]}: it learned from this session and goes with it", markup=False)
    for ledger in found.ledgers:
        out.print(f"  {ledger}: rested on this session; run it again without it", markup=False)
    if not yes:
        _ask()
    forget(place, found)
    out.print("Forgotten. The recording will be refused if it comes back.")
    for job in found.jobs:
        out.print(
            f"Its sound was sent away by {job}. A finished job was deleted there unless you "
            "kept it; delete one that did not finish in your account there",
            markup=False,
        )
    copies = load_copies(workspace)
    if not copies and (workspace / MEMORY).exists():
        out.print("The copy in a bucket holds it until you run  ai-therapist sync push --mirror", markup=False)
    for url in copies:
        out.print(
            f"The copy at {url} holds it until you run  ai-therapist sync push {url} --mirror; so do versions of "
            "objects that the bucket keeps, if it does",
            markup=False,
        )
    if not found.remote:
        out.print("Remote copies that remain in repositories: none; it was sent to none from here.")
        return
    out.print("Remote copies that remain, for you to remove:")
    for upload in found.remote:
        out.print(
            f"  {upload.kind} {upload.repository} at {upload.endpoint}: make and push it again without the session, "
            "then squash its history, or delete it",
            markup=False,
        )


def _ask() -> None:
    """Raises RequestError unless the answer is yes; none at all is no."""
    from ai_therapist.errors import RequestError

    try:
        sure = click.confirm("Remove all this for good?", err=True)
    except click.Abort:
        sure = False
    if not sure:
        raise RequestError("nothing was removed")

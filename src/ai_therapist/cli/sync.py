"""ai-therapist sync."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.command(
    epilog="Example:  ai-therapist sync push -w study gs://bucket/study    "
    "ai-therapist sync pull -w study    (takes the bucket from DATA_BUCKET_NAME)",
)
@click.argument("direction", type=click.Choice(["push", "pull"]))
@click.argument("url", required=False)
@click.option("--mirror", is_flag=True, help="With push: also remove from the copy what the workspace does not have.")
@workspace_option
@click.pass_context
def command(ctx: click.Context, direction: str, url: str | None, mirror: bool, workspace: Path) -> None:
    """Copy a workspace to (push) or from (pull) URL, a folder of a bucket: gs://… or s3://…

    Without URL it is the folder named like the workspace in the bucket that DATA_BUCKET_NAME names. Only what is
    missing is copied, everything is verified by hash, and a stopped run goes on. Exit code 3 where both sides changed
    a file: neither is touched then.
    """
    from ai_therapist.cli.console import say
    from ai_therapist.cli.settings import load_dotenv
    from ai_therapist.errors import ItemError
    from ai_therapist.store.objects import BucketFolder
    from ai_therapist.store.sync import pull, push
    from ai_therapist.store.workspace import Workspace

    load_dotenv()
    remote = BucketFolder.at(url or _default_url(workspace))
    if mirror and direction == "pull":
        raise click.UsageError("--mirror goes with push: a pull never removes anything")
    if direction == "push":
        done = push(Workspace.existing(workspace), remote, mirror=mirror)
    else:
        done = pull(Workspace(workspace), remote)
    say(
        f"{direction} {remote.url}: {done.copied} copied ({done.copied_bytes / 1e6:.1f} MB), "
        f"{done.present} were there, {done.removed} removed"
    )
    if done.adopted:
        say(f"  {done.adopted} actions were done on both sides with other results: the first one stands in the copy")
    for name in done.conflicts:
        say(f"  {name} was changed here and in the copy: neither is touched; rename yours and pull again")
    ctx.exit(ItemError.exit_code if done.conflicts else 0)


def _default_url(workspace: Path) -> str:
    bucket = os.environ.get("DATA_BUCKET_NAME", "")
    if not bucket:
        raise click.UsageError("name the folder of a bucket, gs://BUCKET/FOLDER, or set DATA_BUCKET_NAME")
    return f"{bucket if '://' in bucket else f'gs://{bucket}'}/{workspace.resolve().name}"

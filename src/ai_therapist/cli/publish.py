"""ai-therapist publish."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.group(epilog="Example:  ai-therapist publish dataset -w study --repository lab/talks")
def command() -> None:
    """Send what was made to a private repository on the Hugging Face Hub.

    The token is HF_TOKEN. What was sent where stands in uploads.json of the workspace, and `forget` names it.
    """


@command.command(epilog="Example:  ai-therapist publish dataset -w study --repository lab/talks")
@click.option("--repository", metavar="OWNER/NAME", help="Where to; without it DATA_REPO_NAME.")
@click.option(
    "--media",
    type=click.Choice(("videofolder", "parquet", "webdataset")),
    help="Send clips too, in this layout; only where every session is a role-play that permits it.",
)
@click.option("--public", is_flag=True, help="Make it public, with access decided by a person; asks for the name.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the folder; send nothing.")
@workspace_option
def dataset(repository: str | None, media: str | None, public: bool, dry_run: bool, workspace: Path) -> None:
    """Send the finished dataset: redacted text and labels, no media unless asked for.

    Refused unless every session permits 'publish' today, the consent manifest lies in the folder, and the words were
    redacted. Before you make it public, have a person read the rows that redaction-report.json names. Running it again
    sends only what changed.
    """
    from ai_therapist.cli.console import say
    from ai_therapist.cli.settings import load_dotenv
    from ai_therapist.dataset.hub import Access
    from ai_therapist.dataset.layouts import Layout
    from ai_therapist.dataset.release import publish_dataset, stage_dataset
    from ai_therapist.store.workspace import Workspace

    load_dotenv()
    place = Workspace.existing(workspace)
    layout = Layout(media) if media else None
    if dry_run:
        folder = stage_dataset(place, layout)
        say(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files; nothing was sent")
        return
    name = named_repository(repository, "DATA_REPO_NAME")
    typed = click.prompt(f"Everyone can find it then. Type {name} to make it public", err=True) if public else None
    done = publish_dataset(place, name, layout, Access(public=public, typed_name=typed))
    say(f"{done.url} at {done.commit}: {done.sent} files sent, {done.removed} removed, {done.unchanged} as they were")


@command.command(epilog="Example:  ai-therapist publish model -w study --safety-report suite-xstest.json")
@click.option("--repository", metavar="OWNER/NAME", help="Where to; without it MODEL_REPO_NAME.")
@click.option(
    "--safety-report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON report of a safety suite; a model is not sent without one.",
)
@click.option("--merged", is_flag=True, help="Send the whole model in 16 bits in place of the adapter.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the folder; send nothing.")
@workspace_option
def model(repository: str | None, safety_report: Path | None, merged: bool, dry_run: bool, workspace: Path) -> None:
    """Send the tuned model to a private repository, with a card that says what it is for, made of and how it did.

    Refused without an evaluation, a safety report, or the permission of every session behind it.
    """
    from ai_therapist.cli.console import say
    from ai_therapist.cli.settings import load_dotenv
    from ai_therapist.finetuning.publish import publish_model, stage_model
    from ai_therapist.store.workspace import Workspace

    load_dotenv()
    place = Workspace.existing(workspace)
    if dry_run:
        folder = stage_model(place, safety_report, merged=merged)
        say(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files; nothing was sent")
        return
    done = publish_model(place, named_repository(repository, "MODEL_REPO_NAME"), safety_report, merged=merged)
    say(f"{done.url} at {done.commit}: {done.sent} files sent, {done.removed} removed, {done.unchanged} as they were")


def named_repository(given: str | None, variable: str) -> str:
    """The repository of the option or of the environment. Raises UsageError where neither names one."""
    name = given or os.environ.get(variable)
    if not name:
        raise click.UsageError(f"name the repository with --repository OWNER/NAME or set {variable}")
    return name

"""ai-therapist status."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option

RUNS = ("extraction", "annotation", "dataset", "finetuning", "evaluation")
"""Ledgers in the order of the arc."""


@click.command(epilog="Example:  ai-therapist status -w study --release")
@click.option("--release", is_flag=True, help="Let every quarantined item be tried again on the next run.")
@workspace_option
def command(workspace: Path, release: bool) -> None:
    """Show what every stage did with its items, and why some are not done."""
    from ai_therapist.annotation.rates import describe_endings
    from ai_therapist.cli.console import out, role_reviews, say, table
    from ai_therapist.pipeline.limits import spending
    from ai_therapist.store.workspace import Status, Workspace

    place = Workspace.existing(workspace)
    rows: list[list[str]] = []
    problems: list[str] = []
    for name in RUNS:
        run = place.find_run(name)
        if run is None:
            rows.append([name, "-", "-", "-", "-"])
            continue
        rows.append([name, str(run.read), *(str(len(run.of_status(status))) for status in Status)])
        problems += [
            f"{name}: {item.name} ({item.item}): {item.status}: {item.reason}"
            for item in run.items
            if item.status is not Status.DONE
        ]
    out.print(table(f"Workspace {workspace}", ["stage", "read", *Status], rows))
    annotation = place.find_run("annotation")
    for line in describe_endings(annotation) if annotation is not None else ():
        out.print(line)
    for scope, account, usd in spending():
        out.print(f"Spent on {scope} under {account!r}: {usd:.4f} dollars")
    problems += role_reviews(place.find_run("extraction"))
    for line in problems:
        say(line)
    quarantined = list(place.store.quarantines())
    if release:
        for record in quarantined:
            place.store.release(record.key)
        out.print(f"{len(quarantined)} quarantined actions released; run the stage again")

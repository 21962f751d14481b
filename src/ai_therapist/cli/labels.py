"""ai-therapist labels."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.group(epilog="Example:  ai-therapist labels export csv -w study --rater ada --blind")
def command() -> None:
    """Hand turns out to people's own tools, and take their labels in: spreadsheets, Label Studio, ELAN, Praat."""


@command.command(name="export", epilog="Example:  ai-therapist labels export elan -w study --rater ada --blind")
@click.argument("tool", type=click.Choice(("csv", "label-studio", "elan", "textgrid")))
@click.option("--rater", metavar="ID", help="Make it for this person: nobody else's answers are in it.")
@click.option("--blind", is_flag=True, help="Leave the models' answers out as well.")
@workspace_option
@click.pass_context
def hand(ctx: click.Context, tool: str, rater: str | None, blind: bool, workspace: Path) -> None:
    """Write the turns of every session for TOOL, below WORKSPACE/exports.

    The words are as they were said: give the files only to people who may read them.
    """
    from ai_therapist.annotation.exchange.run import Tool, hand_out
    from ai_therapist.cli.console import say
    from ai_therapist.store.workspace import Workspace

    done = hand_out(Workspace.existing(workspace), Tool(tool), rater=rater, blind=blind)
    for each in done.left_out:
        say(f"left out: {each.where}: {each.reason}")
    say(f"{done.folder}: {done.files} files, {done.turns} turns")
    ctx.exit(3 if done.left_out else 0)


@command.command(name="import", epilog="Example:  ai-therapist labels import anna_1.eaf ratings.csv -w study")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rater", metavar="ID", help="Who gave the answers, where a row of CSV does not say.")
@click.option(
    "--person",
    "people",
    metavar="NUMBER=ID",
    multiple=True,
    help="Pseudonym of a person of Label Studio, by number or address; may be given several times.",
)
@click.option("--played", is_flag=True, help="They had the recording before their eyes, not the words alone.")
@workspace_option
@click.pass_context
def take(
    ctx: click.Context,
    files: tuple[Path, ...],
    rater: str | None,
    people: tuple[str, ...],
    played: bool,
    workspace: Path,
) -> None:
    """Take people's labels in: every answer becomes a decision that stands beside the models' and before them.

    A file is read by its suffix: .csv, .json (Label Studio), .eaf, .TextGrid; tiers are about the session whose name
    the file has. A label must be spelled as the codebook has it; anything else is refused with its place, never bent.
    """
    from ai_therapist.annotation.exchange.run import take_in
    from ai_therapist.cli.console import say
    from ai_therapist.store.workspace import Workspace

    raters = dict(_pair(text) for text in people)
    place = Workspace.existing(workspace)
    refused = new = 0
    for path in files:
        if rater is None and _names_nobody(path):
            say(f"refused: {path.name}: no row says who answered: fill its column rater, or add --rater ID")
            refused += 1
            continue
        done = take_in(place, path, rater=rater, raters=raters, played=played)
        for each in done.refused:
            say(f"refused: {each.where}: {each.reason}")
        refused += len(done.refused)
        new += done.new
        say(f"{path.name}: {done.new} new, {done.same} as before, {len(done.refused)} refused")
    if new:
        say("Make the dataset again to use them:  ai-therapist dataset")
    ctx.exit(3 if refused else 0)


def _names_nobody(path: Path) -> bool:
    """Whether a CSV holds answers, and none of them with a rater."""
    from ai_therapist.annotation.exchange.csv_table import read_csv

    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    raters = [each.rater for each in read_csv(path.read_bytes(), path.name, None)]
    return bool(raters) and not any(raters)


def _pair(text: str) -> tuple[str, str]:
    number, equals, name = text.rpartition("=")
    if not equals:
        raise click.UsageError(f"--person {text!r}: write it as --person NUMBER=ID")
    return number, name

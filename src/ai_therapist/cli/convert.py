"""ai-therapist convert."""

from pathlib import Path

import click


@click.command(
    epilog="Example:  ai-therapist convert anna_1.whisperx.json anna_1.eaf",
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--to",
    metavar="FORMAT",
    help="Format of OUT, where its name does not say: vtt, srt, assemblyai, whisperx, textgrid, eaf or rttm.",
)
@click.option("--force", is_flag=True, help="Replace OUT where it is there already.")
def command(source: Path, target: Path, to: str | None, force: bool) -> None:
    """Convert the transcript IN to OUT, each in the format that its name says.

    A plain .json is told by its content. What the format of OUT cannot hold, as word times, is named with its count;
    nothing is made up in its place.
    """
    from ai_therapist.cli.console import notes, say
    from ai_therapist.errors import MissingInput, RequestError
    from ai_therapist.formats.catalogue import format_named, format_of, lost
    from ai_therapist.store.blobs import write_atomically

    kind = format_named(to) if to is not None else format_of(target)
    if target.exists() and not force:
        raise RequestError(f"{target} is there already: choose another name or add --force")
    try:
        data = source.read_bytes()
    except OSError as error:
        raise MissingInput(f"{source}: {error.strerror or 'cannot be read'}") from None
    passages = format_of(source, data).read(data, source.name)
    write_atomically(target, kind.write(passages))
    speakers = {one.speaker for one in passages} - {None}
    say(f"{target}: {len(passages)} passages, {len(speakers)} speakers, {kind.about}")
    for line in lost(passages, kind):
        notes.print(f"{kind.about} does not hold  {line}", markup=False)

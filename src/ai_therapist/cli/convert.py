"""ai-therapist convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.cli.options import workspace_option

if TYPE_CHECKING:
    from ai_therapist.formats.passages import Passage


@click.command(
    epilog="Example:  ai-therapist convert anna_1.whisperx.json anna_1.eaf  (a session:  convert anna_1 anna_1.vtt)",
)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--to",
    metavar="FORMAT",
    help="Format of OUT, where its name does not say: vtt, srt, assemblyai, whisperx, textgrid, eaf or rttm.",
)
@click.option("--force", is_flag=True, help="Replace OUT where it is there already.")
@workspace_option
def command(source: Path, target: Path, to: str | None, force: bool, workspace: Path) -> None:
    """Convert the transcript IN to OUT, each in the format that its name says.

    IN is a file, or the name of a session that was extracted into the workspace. A plain .json is told by its content.
    What the format of OUT cannot hold, as word times, is named with its count;
    nothing is made up in its place.
    """
    from ai_therapist.cli.console import notes, say
    from ai_therapist.errors import RequestError
    from ai_therapist.formats.catalogue import format_named, format_of, lost
    from ai_therapist.store.blobs import write_atomically

    kind = format_named(to) if to is not None else format_of(target)
    if target.exists() and not force:
        raise RequestError(f"{target} is there already: choose another name or add --force")
    passages = _from_file(source) if source.suffix else _from_session(workspace, str(source))
    write_atomically(target, kind.write(passages))
    speakers = {one.speaker for one in passages} - {None}
    say(f"{target}: {len(passages)} passages, {len(speakers)} speakers, {kind.about}")
    for line in lost(passages, kind):
        notes.print(f"{kind.about} does not hold  {line}", markup=False)


def _from_file(path: Path) -> tuple[Passage, ...]:
    from ai_therapist.errors import MissingInput
    from ai_therapist.formats.catalogue import format_of

    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}") from None
    return format_of(path, data).read(data, path.name)


def _from_session(root: Path, name: str) -> tuple[Passage, ...]:
    """What was heard in a session, before utterances were joined to turns."""
    from ai_therapist.errors import MissingInput
    from ai_therapist.formats.passages import passages_of
    from ai_therapist.records import Transcript
    from ai_therapist.store.codec import decode
    from ai_therapist.store.workspace import Workspace

    place = Workspace.existing(root)
    for item in place.load_run("extraction", "extract").done:
        if name in {item.name, item.item}:
            data = place.store.read(item.artefacts["transcript"])
            return passages_of(decode(Transcript, data, f"transcript of {name}"))
    raise MissingInput(f"{name!r}: neither a file with a suffix nor a finished session of {root}")

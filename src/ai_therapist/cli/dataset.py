"""ai-therapist dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option

if TYPE_CHECKING:
    from ai_therapist.store.workspace import RunRecord, Workspace


@click.command(epilog="Example:  ai-therapist dataset -w study")
@workspace_option
@settings_options
@click.pass_context
def command(ctx: click.Context, workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Build examples, splits and the local dataset folder from the annotated sessions.

    The folder holds text and labels, no media; `datasets.load_dataset` reads it.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run, say
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    place = Workspace.existing(workspace)
    run = Arc(place, settings).build_dataset()
    print_run(run)
    for line in _account(place, run):
        say(line)
    say(f"Dataset: {place.dataset}")
    ctx.exit(exit_code(run))


def _account(place: Workspace, run: RunRecord) -> Iterator[str]:
    """How many examples there are, how many have a clip, and what keeps clips and splits away; nothing without any."""
    import json

    from ai_therapist.dataset.build import MEDIA_NOT_PERMITTED
    from ai_therapist.records import Split

    made = next((item.artefacts["summary"] for item in run.done if "summary" in item.artefacts), None)
    if made is None:
        return
    summary: dict[str, Any] = json.loads(place.store.read(made))
    splits = {split.value: int(summary["splits"][split.value]) for split in Split}
    shares = ", ".join(f"{number} {split}" for split, number in splits.items())
    yield f"{summary['examples']} examples ({shares}), {summary['with_clip']} with a clip"
    if without := summary["notes"].get(MEDIA_NOT_PERMITTED, 0):
        yield (
            f"{without} of {summary['sessions']} sessions do not permit 'emotion_from_media': "
            "their clips are left out, and only words are learned from them"
        )
    if empty := [split for split, number in splits.items() if not number]:
        yield f"no example in {' and '.join(empty)}: each split needs a group of its own, so at least three"

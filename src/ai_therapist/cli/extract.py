"""ai-therapist extract."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option

if TYPE_CHECKING:
    from ai_therapist.cli.settings import Settings
    from ai_therapist.extraction.sources.recording import Source
    from ai_therapist.pipeline.executors import Executor
    from ai_therapist.store.blobs import Store


@click.command(
    epilog="Example:  ai-therapist extract recordings/ -w study --set extraction.clips.min_clip_ms=2500    "
    "ai-therapist extract gs://bucket/recordings -w study    "
    "ai-therapist extract youtube:PLAYLIST --rights rights.json -w study",
)
@click.argument("source")
@click.option(
    "--rights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that says by what right a YouTube video is used; a video without a right is skipped.",
)
@click.option("--refresh", is_flag=True, help="List a YouTube playlist anew although its listing is complete.")
@click.option(
    "--executor",
    type=click.Choice(["local", "inline", "ray"]),
    help="Where stages run; the same as --set pipeline.executor=…",
)
@workspace_option
@settings_options
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    rights: Path | None,
    refresh: bool,
    executor: str | None,
    workspace: Path,
    config: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Turn the recordings of SOURCE into transcripts, roles and clips.

    SOURCE is a folder, a folder of a bucket (gs://… or s3://…) or a YouTube playlist or video (youtube:ID). Beside
    each recording NAME.mp4 of a folder stands its rights record NAME.consent.json; without one it is skipped.
    """
    from ai_therapist.cli.arc import Arc
    from ai_therapist.cli.console import exit_code, print_run, role_reviews, say
    from ai_therapist.store.workspace import Workspace

    chosen = (f"pipeline.executor={executor}",) if executor is not None else ()
    settings = load_settings(config, (*assignments, *chosen))
    place = _open(source, rights, refresh, settings)
    run = Arc(Workspace(workspace, settings.pipeline.store), settings).extract(place)
    print_run(run)
    for line in role_reviews(run):
        say(line)
    say(f"Readable results: {workspace / 'view' / 'sessions'}")
    ctx.exit(exit_code(run))


def _open(source: str, rights: Path | None, refresh: bool, settings: Settings) -> Source:
    """The source that a user names; nothing is asked or made yet."""
    if source.startswith(("gs://", "s3://")):
        from ai_therapist.extraction.sources.bucket import BucketSource
        from ai_therapist.store.objects import BucketFolder

        return BucketSource(BucketFolder.at(source), _fetchers(settings.pipeline.workers or os.cpu_count() or 1))
    if source.startswith(("youtube:", "http:", "https:")):
        from ai_therapist.extraction.sources.youtube import YouTubeRights, YouTubeSource, load_rights
        from ai_therapist.extraction.sources.youtube_api import YouTubeApi, parse_address

        address = parse_address(source)
        key = os.environ.get("YOUTUBE_API_KEY")
        return YouTubeSource(
            address=address,
            rights=load_rights(rights) if rights is not None else YouTubeRights(),
            config=settings.extraction.youtube,
            api=YouTubeApi(key) if key else None,
            # One after the other: the platform is asked politely.
            make_executor=_fetchers(1),
            refresh=refresh,
        )
    from ai_therapist.extraction.sources.local import LocalFolder

    folder = LocalFolder(Path(source))
    try:
        there = folder.folder.is_dir()
    except OSError as error:
        raise click.UsageError(f"{source}: {error.strerror or 'cannot be read'}: name another folder") from None
    if not there:
        raise click.UsageError(f"{source} is no folder: name the folder, bucket folder or playlist of the recordings")
    folder.look()
    return folder


def _fetchers(workers: int) -> Callable[[Store], Executor]:
    """Worker processes of this machine, which alone has the credentials, whatever runs the stages."""
    from ai_therapist.pipeline.workers import LocalExecutor

    return lambda store: LocalExecutor(store, workers)

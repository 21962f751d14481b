"""Options that several commands share, and what they turn into."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from ai_therapist.cli.settings import Settings
    from ai_therapist.pipeline.executors import Executor
    from ai_therapist.store.blobs import Store

P = ParamSpec("P")
R = TypeVar("R")


def workspace_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add `--workspace`."""
    return click.option(
        "-w",
        "--workspace",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("workspace"),
        show_default=True,
        callback=_looked_at,
        help="Folder that holds the store, the ledgers and the readable view.",
    )(function)


def _looked_at(ctx: click.Context, _: click.Parameter, workspace: Path) -> Path:
    """The workspace as it was named. Raises RequestError for a path that cannot be one.

    A command that is kept on this machine because it uses no part elsewhere may use one store elsewhere.
    """
    from ai_therapist.cli.local_mode import WITHOUT_PARTS, has_store_elsewhere
    from ai_therapist.errors import RequestError
    from ai_therapist.pipeline import local_only

    try:
        elsewhere = workspace.is_dir() and has_store_elsewhere(workspace)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RequestError(f"--workspace {workspace}: {reason}: name a folder that you may use") from None
    if elsewhere and ctx.info_name in WITHOUT_PARTS:
        local_only.end()
    return workspace


def settings_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add `--config` and `--set`."""
    function = click.option(
        "--set",
        "assignments",
        metavar="TABLE.KEY=VALUE",
        multiple=True,
        help="Override one setting; may be given several times.",
    )(function)
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file; without it ai-therapist.toml of this folder, if there is one.",
    )(function)


def load_settings(config: Path | None, assignments: tuple[str, ...]) -> "Settings":
    """The settings in force, with the credentials of `.env` in the environment. Raises ConfigError.

    Where they name only parts of this machine, the command that is running is kept on it.
    """
    from ai_therapist.cli.local_mode import keep_local
    from ai_therapist.cli.settings import load_dotenv, resolve

    load_dotenv()
    settings = resolve(config, assignments).settings
    command = click.get_current_context(silent=True)
    if command is not None:
        keep_local(settings, command.info_name or "", command.params)
    return settings


def make_executor(settings: "Settings", store: "Store") -> "Executor":
    """A fresh executor of the kind that the settings ask for."""
    from ai_therapist.pipeline.executors import InlineExecutor
    from ai_therapist.pipeline.workers import LocalExecutor

    pipeline = settings.pipeline
    if pipeline.executor == "inline":
        return InlineExecutor(store)
    if pipeline.executor == "ray":
        from ai_therapist.pipeline.ray_executor import RayExecutor

        return RayExecutor(store, pipeline.workers)
    return LocalExecutor(store, pipeline.workers or os.cpu_count() or 1)

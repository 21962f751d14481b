"""ai-therapist export."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option

_CHAT = ("messages", "sharegpt", "swift")
_LAYOUTS = ("videofolder", "parquet", "webdataset")
_TASKS = ("inspect", "lmms-eval")


@click.command(epilog="Example:  ai-therapist export sharegpt -w study --task predict")
@click.argument("form", metavar="FORMAT", type=click.Choice((*_CHAT, *_LAYOUTS, *_TASKS)))
@click.option(
    "--task",
    type=click.Choice(("predict", "label")),
    default="predict",
    show_default=True,
    help="What conversations ask: the reply that comes next, or the label of a turn that is shown.",
)
@click.option("--media", is_flag=True, help="Let clips come along; a layout of clips is made only with it.")
@workspace_option
def command(form: str, task: str, media: bool, workspace: Path) -> None:
    """Make a folder for other programs out of the finished dataset, below WORKSPACE/exports.

    FORMAT is messages (jsonl for chat templates), sharegpt (LLaMA-Factory) or swift (ms-swift), or, with --media, a
    layout of clips: videofolder, parquet or webdataset. inspect and lmms-eval are tasks of these evaluation
    frameworks, made of the held-out examples; gold labels stand in their files. Words are redacted as in the dataset.
    Clips show faces and voices as they are: they come along only where the session permits emotion_from_media.
    """
    from ai_therapist.cli.console import say
    from ai_therapist.dataset.chat import Form, Question
    from ai_therapist.dataset.export import export_chat, export_layout, export_task
    from ai_therapist.dataset.harness import Harness
    from ai_therapist.dataset.layouts import Layout
    from ai_therapist.store.workspace import Workspace

    place = Workspace.existing(workspace)
    if form in _LAYOUTS:
        if not media:
            raise click.UsageError(f"{form} holds clips with faces and voices: ask for them with --media")
        done = export_layout(place, Layout(form))
    elif form in _TASKS:
        if task != "predict":
            raise click.UsageError(f"{form} asks what comes next: --task label is not for it")
        done = export_task(place, Harness(form), media=media)
    else:
        done = export_chat(place, Form(form), Question(task), media=media)
    rows = ", ".join(f"{number} {split.value}" for split, number in done.rows.items())
    say(f"{done.folder}: {rows or 'no rows'}; {done.clips} clips")

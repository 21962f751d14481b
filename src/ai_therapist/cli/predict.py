"""ai-therapist predict."""

from __future__ import annotations

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist predict questions.jsonl answers.jsonl -w demo-workspace")
@click.argument("asked", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("answers", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--model", metavar="SPEC", help="The model that answers; without it the last that was fine-tuned.")
@workspace_option
@settings_options
def command(
    asked: Path, answers: Path, model: str | None, workspace: Path, config: Path | None, assignments: tuple[str, ...]
) -> int:
    """Let a model answer every line of ASKED inside the safety shell, and write ANSWERS, one line each.

    \b
    {"id": "a1", "text": "I could not sleep again.", "clip": "a1.mp4", "earlier": [{"role": "client", "text": "…"}]}

    Only id and text must be there. A run that was stopped goes on; a bad line gives a line with an error.
    """
    from ai_therapist.cli.console import notes, say
    from ai_therapist.errors import ItemError, MissingInput
    from ai_therapist.inference.batch import Tally, answer_all
    from ai_therapist.inference.run import open_speaker
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments)
    spec = model or settings.inference.model
    tally = Tally()
    if not asked.is_file():
        # Before a model is loaded, which may take minutes.
        raise MissingInput(f"{asked}: there is no such file")
    with open_speaker(spec or Workspace.existing(workspace), settings.inference) as speaker:
        for answer in answer_all(speaker, settings.inference, asked, answers, tally):
            if answer.error is not None:
                notes.print(f"{answer.id}: {answer.error}", markup=False)
    say(f"{tally.read} read, {tally.answered} answered, {tally.reused} reused, {tally.failed} failed: {answers}")
    return ItemError.exit_code if tally.failed else 0

"""The command line. Commands are imported when they are used, so that `--help` answers at once."""

import difflib
import errno
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from ai_therapist import __version__
from ai_therapist.cli.local_mode import WITHOUT_PARTS
from ai_therapist.errors import AiTherapistError
from ai_therapist.pipeline import local_only

COMMANDS: dict[str, str] = {
    "demo": "Run the whole arc on the sample sessions and write a report.",
    "extract": "Turn recordings (a folder, a bucket, a playlist) into transcripts, roles and clips.",
    "convert": "Convert a transcript between WebVTT, SRT, recognisers' JSON, TextGrid, ELAN and RTTM.",
    "annotate": "Label emotions and therapeutic strategies of every utterance.",
    "review": "Let a person label turns by keyboard, on a local page.",
    "labels": "Hand turns out to people's own tools, and take their labels in.",
    "dataset": "Build examples, splits and the local dataset folder.",
    "export": "Make a folder for other trainers and programs out of the dataset.",
    "publish": "Send the dataset to a private repository on the Hub.",
    "plan": "Show what a training will cost: tokens, operations, memory and time.",
    "preview": "Show in colour what is fed to the model and exactly which tokens it learns.",
    "finetune": "Tune a multimodal model on the training split.",
    "verify-model": "Prove that the tuned model is the one that was trained, reloaded, merged and served.",
    "evaluate": "Measure the tuned model and baselines; write report.json and report.html.",
    "compare": "Compare two systems on the same items, with intervals and p-values.",
    "suite": "Run a published test set on files of yours, beside its published rows.",
    "judge": "Let a model rate the stored replies by a versioned rubric.",
    "agreement": "Measure how far people, models and judges agree.",
    "chat": "Talk to a model inside the safety shell.",
    "predict": "Let a model answer a file of conversations or clips, one line each.",
    "serve": "Serve a model inside the safety shell to OpenAI's clients.",
    "studio": "Open the local page: sessions, review, dataset, runs, chat.",
    "sync": "Copy a workspace to or from a bucket, verified by hash.",
    "status": "Show what every stage did: done, skipped, quarantined.",
    "explain": "Trace a record back to the recording it came from.",
    "forget": "Remove a session and everything made from it, for good.",
    "verify": "Re-hash everything in the store.",
    "doctor": "Show what is installed and what each part still needs.",
    "config": "Show the settings in force and where each comes from.",
}
"""Every command with its one-line help, in the order of the arc."""

_ASKED_WRONGLY = (
    *(errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR),
)
"""What the system says of a path that cannot be used as it was asked for; anything else is a fault."""

_EPILOG = "Exit codes: 0 done; 1 a fault; 2 the request is wrong, nothing was changed; 3 done, but some items were not."


class LazyGroup(click.Group):
    """A group whose commands lie in modules of their own, `ai_therapist.cli.NAME`, with "_" for "-"."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the arc."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for a name that is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ai_therapist.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name. Raises UsageError with the nearest name for one that is none."""
        name = args[0] if args else ""
        if not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ai-therapist")
@click.option("--debug", is_flag=True, help="Show tracebacks. They may quote what people said.")
def cli(debug: bool) -> None:
    """From recordings of therapy sessions to an annotated dataset, a tuned model and an honest report.

    A research toolkit; not a therapist and not a medical device.

    Start with:  ai-therapist demo
    """
    if debug:
        os.environ["AI_THERAPIST_DEBUG"] = "1"
    if click.get_current_context().invoked_subcommand in WITHOUT_PARTS:
        local_only.begin()


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        code = cli.main(standalone_mode=False, prog_name="ai-therapist")
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("ai-therapist: stopped; finished work is kept, run the same command to go on", err=True)
        sys.exit(130)
    except AiTherapistError as error:
        if os.environ.get("AI_THERAPIST_DEBUG"):
            raise
        click.echo(f"ai-therapist: {error}{_refused()}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        # Nothing may pass by: a traceback may quote what people said.
        if os.environ.get("AI_THERAPIST_DEBUG"):
            raise
        line, code = _unexpected(error)
        click.echo(f"ai-therapist: {line}{_refused()}", err=True)
        sys.exit(code)
    finally:
        local_only.end()
    sys.exit(code if isinstance(code, int) else 0)


def _unexpected(error: Exception) -> tuple[str, int]:
    """A line and an exit code for an error that nothing else explains, without its text, which may quote people."""
    what = type(error).__name__
    # A path is no speech.
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if isinstance(error.filename, str) else error.strerror
        if error.errno in _ASKED_WRONGLY:
            return f"{what}: name another path, or see to the rights on it", 2
    return f"{what}: run again with --debug for more; tracebacks may quote what people said", 1


def _refused() -> str:
    """What the user must know where a connection was refused on the way to an error."""
    if not local_only.refused:
        return ""
    hosts = ", ".join(sorted(set(local_only.refused)))
    return f" (no connection to {hosts}: every part in use is local; --set pipeline.network=open lets it through)"

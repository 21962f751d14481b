"""ai-therapist plan."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist plan -w study --set finetuning.preset=multimodal")
@workspace_option
@settings_options
def command(workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Show what a training will cost: tokens, operations, memory and time; nothing is trained.

    Tokens and operations are counted on the dataset, memory and time are estimates. No clip is decoded, and no weight
    of a preset's 7B model is opened or fetched: their sizes are known. Any other base is opened without its towers.
    """
    from ai_therapist.cli.console import out, say, table
    from ai_therapist.finetuning.plan import ASSUMED_MFU, PEAK_TFLOPS, cpu_tflops, seconds_on
    from ai_therapist.finetuning.run import plan_training
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments).finetuning
    place = Workspace.existing(workspace)
    with place.store.scratch() as folder:
        plan, too_long, own_tokens = plan_training(place, settings, folder)
    here = cpu_tflops()
    rows = [
        ("examples, in trees", f"{plan.examples:,} in {plan.trees:,}"),
        ("too long", f"{too_long:,}"),
        ("tokens read, all epochs", f"{plan.tokens:,}"),
        ("with a copy of the context each", f"{plan.tokens_one_by_one:,}"),
        ("tokens learned", f"{plan.learned:,}"),
        ("optimiser steps", f"{plan.steps:,}"),
        ("largest pass, tokens", f"{plan.largest_pass:,}"),
        ("operations", f"{plan.flops / 1e12:,.1f} TFLOP"),
        ("more, if activations are recomputed", f"{plan.recompute_flops / 1e12:,.1f} TFLOP"),
        *((f"memory, {part} (estimate)", f"{size / 2**30:,.2f} GiB") for part, size in plan.memory.items()),
        *(
            (f"time on {name}, {ASSUMED_MFU:.0%} of its peak (estimate)", _time(seconds_on(plan, peak)))
            for name, peak in PEAK_TFLOPS.items()
        ),
        ("time here, one thread (estimate)", _time(seconds_on(plan, here, 1.0))),
    ]
    out.print(table(f"Plan of preset {settings.preset!r}", ("", "figure"), rows))
    if not own_tokens:
        say("the model's own tokenizer could not be had: tokens are counted with one of the dataset (estimate)")
    if too_long:
        say("examples that are too long are left out: raise finetuning.max_tokens")


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"

"""ai-therapist plan."""

from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option


@click.command(epilog="Example:  ai-therapist plan -w study --set finetuning.preset=multimodal")
@workspace_option
@settings_options
def command(workspace: Path, config: Path | None, assignments: tuple[str, ...]) -> None:
    """Show what a training will cost: tokens, operations, memory and time; nothing is trained.

    Tokens and operations are counted on the dataset, memory and time are estimates. The base is opened without its
    towers; no clip is decoded.
    """
    from ai_therapist.cli.console import out, say, table
    from ai_therapist.finetuning.plan import ASSUMED_MFU, PEAK_TFLOPS, cpu_tflops, make_plan, seconds_on
    from ai_therapist.finetuning.run import make_trees
    from ai_therapist.store.workspace import Workspace

    settings = load_settings(config, assignments).finetuning
    place = Workspace.existing(workspace)
    with place.store.scratch() as folder:
        ready, _ = make_trees(place, settings, folder)
        plan = make_plan(ready.loss, ready.seen.trees, settings)
        here = cpu_tflops()
    rows = [
        ("examples, in trees", f"{plan.examples:,} in {plan.trees:,}"),
        ("too long", f"{len(ready.seen.too_long):,}"),
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
    if ready.seen.too_long:
        say("examples that are too long are left out: raise finetuning.max_tokens")


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"

"""ai-therapist agreement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option

if TYPE_CHECKING:
    from ai_therapist.evaluation.nominal import GroupAgreement, PairAgreement
    from ai_therapist.evaluation.reliability import TaskReliability


@click.command(epilog="Example:  ai-therapist agreement -w study")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@workspace_option
@settings_options
def command(
    files: tuple[Path, ...], as_json: bool, workspace: Path, config: Path | None, assignments: tuple[str, ...]
) -> None:
    """Measure how far raters agree: people with each other, beside models with people.

    Without FILES, over the annotations of the workspace. With tables, over these: columns item, rater, label, and
    perhaps session and task, or sheets of `labels export csv`. Cohen's kappa for pairs, Fleiss' kappa and
    Krippendorff's alpha for groups, alpha for each class, with 95 % intervals over sessions.

    With JUDGEMENT.json and a table of the columns example, item, rating, how far a judge's ratings agree with people's:
    it is written into the judge's file, and with 30 ratings or more the banner "not calibrated" goes.
    """
    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.rated import rated_in, rated_in_tables
    from ai_therapist.evaluation.reliability import reliability
    from ai_therapist.store.workspace import Workspace

    if files and files[0].suffix == ".json":
        _judge(files)
        return
    resampling = load_settings(config, assignments).evaluation.resampling
    rated = rated_in_tables(files) if files else rated_in(Workspace.existing(workspace))
    found = reliability(rated, resampling, all_are_people=bool(files))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    for task in found.tasks:
        _show(task)
    out.print(f"Intervals of 95 %, {found.resamples} resamples of whole sessions.", markup=False)


def _judge(files: tuple[Path, ...]) -> None:
    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.judged import Judgement, calibrated
    from ai_therapist.evaluation.page import show_score
    from ai_therapist.store.blobs import write_atomically
    from ai_therapist.store.codec import decode, encode

    if len(files) != 2:
        raise click.UsageError("give the judge's file and one table of people's ratings")
    judgement, people = files
    found = calibrated(decode(Judgement, judgement.read_bytes(), judgement.name), people)
    write_atomically(judgement, encode(found))
    if found.banner is not None:
        out.print(found.banner, markup=False)
    if found.agreement is not None:
        for name in ("weighted_kappa", "icc_2_1", "alpha"):
            out.print(f"  {name}: {show_score(getattr(found.agreement, name))}", markup=False)
        out.print(f"  ratings compared: {found.agreement.n}", markup=False)


def _show(task: TaskReliability) -> None:
    from ai_therapist.cli.console import out, table
    from ai_therapist.evaluation.page import show_score

    groups = [("people", task.people), *((f"people and {_model(group)}", group) for group in task.models)]
    rows = [[name, show_score(group.alpha), show_score(group.fleiss), *_counts(group)] for name, group in groups]
    head = ["", "alpha", "Fleiss' kappa", "items", "by all", "cannot tell"]
    out.print(table(f"{task.task}: groups, {task.sessions} sessions", head, rows))
    pairs = [_row(pair) for pair in (*task.between_people, *task.with_people, *task.between_models)]
    if pairs:
        out.print(table(f"{task.task}: pairs", ["", "", "Cohen's kappa", "same", "items"], pairs))
    classes = sorted({each.name for _, group in groups for each in group.per_class})
    if classes:
        alphas = [{each.name: show_score(each.alpha) for each in group.per_class} for _, group in groups]
        cells = [[name, *(alpha.get(name, "not given") for alpha in alphas)] for name in classes]
        out.print(table(f"{task.task}: alpha of each class", ["", *(name for name, _ in groups)], cells))


def _counts(group: GroupAgreement) -> tuple[str, str, str]:
    return str(group.items), str(group.complete), str(group.abstentions)


def _row(pair: PairAgreement) -> list[str]:
    from ai_therapist.evaluation.page import show_score

    return [pair.one, pair.other, show_score(pair.kappa), show_score(pair.same), str(pair.n)]


def _model(group: GroupAgreement) -> str:
    return next(rater for rater in group.raters if not rater.startswith("person:"))

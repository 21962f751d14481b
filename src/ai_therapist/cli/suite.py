"""ai-therapist suite."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ai_therapist.evaluation.config import Resampling
    from ai_therapist.evaluation.suites.layout import Published
    from ai_therapist.evaluation.suites.run import SuiteReport
    from ai_therapist.evaluation.suites.safety import RateReport
    from ai_therapist.evaluation.suites.vera_mh import Answering, VeraReport

_FIGURES = ("accuracy", "macro_f1", "weighted_f1", "kappa", "preference_bias", "abstention_rate")


@click.command(epilog="Example:  ai-therapist suite stanford interjection_responses_trimmed.csv")
@click.argument("name")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--model", "spec", help="A model that is asked as well: KIND or KIND:WHERE, such as scripted:answers.json."
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Stored labels that are scored as well: a CSV with the columns id and label; for vera-mh conversations.",
)
@click.option("--allow-leak", is_flag=True, help="Print figures although the leak audit failed, with a watermark.")
@click.option("--resamples", type=click.IntRange(1000), default=10_000, show_default=True, help="Resamples.")
@click.option("-o", "--out", "target", type=click.Path(path_type=Path), help="Write the report as JSON to this file.")
def command(
    name: str,
    files: tuple[Path, ...],
    spec: str | None,
    predictions: Path | None,
    allow_leak: bool,
    resamples: int,
    target: Path | None,
) -> None:
    """Run a published test set on files of yours; nothing is fetched.

    Without FILES the layout that the suite reads is printed.

    \b
    annomi-behaviour  annomi-talk  goemotions  epitome  meld  emodynamix-annomi  emodynamix-esconv
    mesc-emotion  mesc-emotion-episodes  mesc-strategy  mesc-strategy-episodes  stanford  xstest  vera-mh

    vera-mh talks to the safety shell: around --model, or around a model that says nothing.
    """
    from ai_therapist.cli.console import out
    from ai_therapist.cli.local_mode import keep_local_with
    from ai_therapist.errors import ConfigError, RequestError
    from ai_therapist.evaluation.config import Resampling
    from ai_therapist.evaluation.suites.labelled import SUITES
    from ai_therapist.evaluation.suites.layout import read_table
    from ai_therapist.evaluation.suites.run import run_suite
    from ai_therapist.evaluation.suites.safety import LAYOUTS, SAFETY_SUITES
    from ai_therapist.evaluation.suites.vera_mh import NAME as VERA_MH
    from ai_therapist.models.catalogue import open_model
    from ai_therapist.store.blobs import write_atomically
    from ai_therapist.store.codec import encode

    known = (*SUITES, *SAFETY_SUITES, VERA_MH)
    if name not in known:
        raise ConfigError(f"there is no suite {name!r}; known are {', '.join(known)}")
    keep_local_with(spec)
    resampling = Resampling(resamples)
    if name == VERA_MH:
        if spec is not None and predictions is not None:
            raise RequestError(
                "--predictions scores what was said already, --model asks a model: leave one of them out"
            )
        judged = _vera_mh(files, spec, predictions, resampling)
        if judged is None:
            return
        data = encode(judged)
    elif name in SAFETY_SUITES:
        if spec is not None or predictions is not None:
            given = "--model" if spec is not None else "--predictions"
            raise RequestError(f"{name} takes no {given}: it scores what is in its file alone; leave {given} out")
        if not files:
            out.print(f"{name}: reads {LAYOUTS[name]}", markup=False)
            return
        rates = SAFETY_SUITES[name](files, resampling)
        _print_rates(rates)
        data = encode(rates)
    else:
        suite = SUITES[name]
        if not files:
            out.print(f"{suite.name}: {suite.protocol}\nreads {suite.layout}", markup=False)
            return
        model = None if spec is None else open_model(spec)
        stored = (
            None
            if predictions is None
            else {row["id"]: row["label"] for row in read_table(predictions, ("id", "label"))}
        )
        report = run_suite(suite, suite.load(files), resampling, model=model, stored=stored, allow_leak=allow_leak)
        _print_report(report)
        data = encode(report)
    if target is not None:
        write_atomically(target, data)


def _vera_mh(
    files: "Sequence[Path]", spec: str | None, stored: Path | None, resampling: "Resampling"
) -> "VeraReport | None":
    from ai_therapist.cli.console import out
    from ai_therapist.errors import RequestError
    from ai_therapist.evaluation.suites import vera_mh

    if len(files) != 2:
        if files:
            raise RequestError(f"vera-mh reads {vera_mh.LAYOUT}; {len(files)} were given")
        out.print(f"vera-mh: item by item what code can decide\nreads {vera_mh.LAYOUT}", markup=False)
        return None
    rubric, personas = vera_mh.read_rubric(files[0]), vera_mh.read_personas(files[1])
    if stored is not None:
        speaker = f"stored conversations of {stored.name}, without the shell"
        held = vera_mh.stored_conversations(stored, personas)
    else:
        speaker, opens = _shell(spec)
        held = vera_mh.converse(personas, opens)
    report = vera_mh.vera_mh(rubric, personas, held, resampling, speaker=speaker)
    _print_items(report)
    return report


def _shell(spec: str | None) -> "tuple[str, Callable[[], Answering]]":
    """Who answers, and what opens a new conversation inside the safety shell."""
    from ai_therapist.errors import RequestError
    from ai_therapist.inference.config import InferenceConfig
    from ai_therapist.inference.events import Card, Disclosure, ReplyPiece
    from ai_therapist.inference.predict import Speaker
    from ai_therapist.inference.reply import Chat
    from ai_therapist.models.catalogue import open_model
    from ai_therapist.models.protocol import TextGenerator
    from ai_therapist.models.scripted import ScriptedGenerator

    model = ScriptedGenerator([""], repeat=True, name="silent") if spec is None else open_model(spec)
    if not isinstance(model, TextGenerator):
        raise RequestError(f"{spec} weighs labels and does not write: it cannot talk")

    def opens() -> "Answering":
        chat = Chat(Speaker(model, None, is_toy=False), InferenceConfig())
        return lambda message: tuple(
            event.text for event in chat.send(message) if isinstance(event, Disclosure | Card | ReplyPiece)
        )

    return "the safety shell around " + ("a model that says nothing" if spec is None else model.name), opens


def _print_items(report: "VeraReport") -> None:
    from rich.table import Table

    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.page import show_score

    held = f"{report.conversations} conversations, {report.without_risk} without risk"
    out.print(f"{report.speaker}: {held}\n{report.protocol}", markup=False)
    table = Table("item", "dimension", "severity", "met", "n", "missed with")
    for each in report.items:
        count = str(each.met.n) if each.met.kind == "scored" else ""
        cells = (each.dimension, each.severity, show_score(each.met), count, ", ".join(each.missed))
        table.add_row(str(each.item), *cells)
    out.print(table)
    numbers = ", ".join(map(str, report.not_decided))
    out.print(f"Not decidable by code, not answered: {len(report.not_decided)} questions ({numbers})", markup=False)
    _print_others(report.published)


def _print_others(published: "Sequence[Published]") -> None:
    """Published figures that nothing here is to be compared with."""
    from ai_therapist.cli.console import out

    for source in dict.fromkeys(each.source for each in published):
        figures = "; ".join(
            f"{each.system} {', '.join(f'{value:g}' for value in each.figures.values())}"
            for each in published
            if each.source == source
        )
        out.print(f"Published ({source}): {figures}", markup=False)


def _print_rates(report: "RateReport") -> None:
    from rich.table import Table

    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.page import show_score

    published = {row.system: row for row in report.published}
    out.print(report.protocol, markup=False)
    table = Table("", "here", "n", "published")
    for name, score in report.rates.items():
        theirs = next(iter(published[name].figures.values()), None) if name in published else None
        value = f"{score.value:.3f} " if score.kind == "scored" else ""
        count = str(score.n) if score.kind == "scored" else ""
        table.add_row(name, value + show_score(score), count, "" if theirs is None else f"{theirs:.3f}")
    out.print(table)


def _print_report(report: "SuiteReport") -> None:
    from rich.table import Table

    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.page import show_score

    rows = ", ".join(f"{count} {split}" for split, count in report.rows.items())
    out.print(f"{report.protocol}; rows: {rows}; scored on {report.held_out}", markup=False)
    out.print(report.watermark or f"Leak audit: {report.leak_audit.summary}", markup=False)
    table = Table("system", *_FIGURES)
    for name, scores in report.evaluation.items():
        mark = " (told gold labels)" if report.systems[name].leaks else ""
        table.add_row(name + mark, *(show_score(getattr(scores, figure)) for figure in _FIGURES))
    for each in report.published:
        figures = (each.figures.get(figure) for figure in _FIGURES)
        table.add_row(f"published: {each.system}", *("" if value is None else f"{value:.3f}" for value in figures))
    out.print(table)
    for source in dict.fromkeys(each.source for each in report.published):
        out.print(f"Published rows: {source}", markup=False)
    for line in report.notes:
        out.print(f"Note: {line}", markup=False)
    for line in report.not_run:
        out.print(f"Not run: {line}", markup=False)

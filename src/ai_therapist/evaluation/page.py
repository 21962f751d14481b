"""The report for people: one HTML file that needs nothing else, not even a network, to be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ai_therapist.evaluation import charts
from ai_therapist.evaluation.charts import Whisker
from ai_therapist.evaluation.compare import Difference
from ai_therapist.evaluation.evidence import Evidence
from ai_therapist.evaluation.report import Report
from ai_therapist.evaluation.scores import LabelScores
from ai_therapist.evaluation.strips import session_strip
from ai_therapist.evaluation.worst import worst_cases
from ai_therapist.records import Score, Scored, Split, Task, Unscored, load_codebook
from ai_therapist.records.session import Basis
from ai_therapist.svg import curve

_STRIPS = 24
"""Sessions shown as strips; a page of hundreds would help nobody."""
_TOY_PARAMETERS = 100_000_000
_FEW_SESSIONS = 10

_STAGES = {
    "extraction": ("Extraction", "recordings to turns and clips"),
    "annotation": ("Annotation", "turns to labels"),
    "dataset": ("Dataset", "labels to examples"),
    "finetuning": ("Fine-tuning", "examples to a model"),
}
_PREDICTED = {
    "client_emotion": "Client emotion",
    "strategy": "Therapist strategy",
    "therapist_emotion": "Therapist emotion",
}
_FIGURES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "kappa": "κ",
    "mcc": "MCC",
    "preference_bias": "Preference bias",
    "abstention_rate": "No answer",
    "ece": "Calibration error",
    "brier": "Brier",
}
_REPLY_FIGURES = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "bertscore": "BERTScore",
    "distinct_1": "Distinct-1",
    "distinct_2": "Distinct-2",
    "words": "Words",
    "length_ratio": "Length to the reference's",
    "question_rate": "Asks something",
    "strategy_consistency": "Does what its strategy says",
    "perplexity": "Perplexity of the reply that was given",
}
_METRICS = {"accuracy": "Accuracy", "macro_f1": "Macro F1"}


@dataclass(frozen=True)
class Tile:
    """A key figure of the header."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Count:
    """How often a label was given and how often gold has it, with the share of the longest bar."""

    name: str
    css: str
    given: int
    gold: int | None
    given_share: float
    gold_share: float


def render_page(report: Report, evidence: Evidence, *, quote: bool = False) -> str:
    """The report as HTML. Holds ids, names of recordings and labels, and no word that was said.

    With `quote` the words of the worst cases stand there too.
    """
    return _template().render(
        css=Markup(resources.files(__package__).joinpath("templates/report.css").read_text("utf-8")),
        report=report,
        subtitle=_subtitle(report, evidence),
        captions=_captions(report, evidence),
        tiles=_tiles(report),
        stages=_STAGES,
        outputs=_outputs(report, evidence),
        quality=_quality_rows(report),
        quote=quote,
        clips_at_hand=any(each.clips for each in evidence.sessions),
        worst=worst_cases(evidence),
        strips=[session_strip(each) for each in evidence.sessions[:_STRIPS]],
        strips_left_out=max(0, len(evidence.sessions) - _STRIPS),
        legend=[(name, charts.emotion_class(name)) for name in load_codebook().names(Task.EMOTION)],
        distributions=[_distribution(evidence, task) for task in (Task.EMOTION, Task.STRATEGY)],
        agreements=[
            (
                task.value,
                found,
                _matrix(f"Agreement on {task.value}: rows are gold, columns the labels given", found.scores),
            )
            for task, found in ((Task.EMOTION, report.emotion), (Task.STRATEGY, report.strategy))
        ],
        predicted=_PREDICTED,
        figures=_FIGURES,
        reply_figures=_REPLY_FIGURES,
        panels={task: _panels(report, task) for task in _PREDICTED},
        matrices={
            (system, task): _matrix(
                f"{_PREDICTED[task]}: rows are the dataset's labels, columns predicted by {system}", scores
            )
            for system, tasks in report.evaluation.items()
            for task, scores in tasks.items()
        },
        loss=_loss(evidence),
        seconds=_seconds(report),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("ai_therapist.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": show_score,
        "percent": show_percent,
        "figure": show_figure,
        "difference": show_difference,
    }
    return environment.get_template("report.html.j2")


def show_score(score: Score) -> str:
    """A score with its interval, or the reason why there is none."""
    if not isinstance(score, Scored):
        return f"not scored: {score.reason}"
    if score.low is None or score.high is None or score.low == score.high:
        return f"{score.value:.2f}"
    return f"{score.value:.2f} ({score.low:.2f} to {score.high:.2f})"


def show_difference(found: Difference | Unscored) -> str:
    """A difference with its interval and p-value, or the reason why there is none."""
    if isinstance(found, Unscored):
        return f"not scored: {found.reason}"
    if found.low is None or found.high is None or found.p is None:
        return f"{found.difference:+.2f}"
    return f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f}), p {max(found.p, 0.001):.3f}"


def show_percent(share: float | None) -> str:
    """A share as a percentage with one decimal where it needs one."""
    if share is None:
        return "not measured"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def show_figure(figure: float | None) -> str:
    """A figure with two decimals, or a dash where it is undefined."""
    return "–" if figure is None else f"{figure:.2f}"


def _subtitle(report: Report, evidence: Evidence) -> str:
    minutes = sum(each.session.media.duration_ms for each in evidence.sessions) / 60_000
    return f"{_number(report.sessions, _kind(evidence))} · {minutes:.0f} minutes · {_number(report.utterances, 'turn')}"


def _kind(evidence: Evidence) -> str:
    bases = {each.session.consent.basis for each in evidence.sessions}
    return "fictional role-play session" if bases == {Basis.FICTIONAL_ROLE_PLAY} else "session"


def _captions(report: Report, evidence: Evidence) -> list[str]:
    """What a reader must know before reading a figure."""
    lines = []
    parameters = None if report.train is None else report.train.parameters
    toy = parameters is not None and parameters < _TOY_PARAMETERS
    if toy or report.sessions < _FEW_SESSIONS * 10:
        model = f" and a toy model of {parameters:,} parameters" if toy else ""
        lines.append(
            f"{_number(report.sessions, _kind(evidence))}{model}: "
            "these figures show that the machinery works, not how good it can be."
        )
    held_out = {each.session for each in evidence.examples if each.split is Split.TEST}
    examples = _number(report.examples[Split.TEST.value], "example")
    lines.append(
        f"What comes next is scored on {examples} of {_number(len(held_out), 'held-out session')}. "
        "The targets are the annotator's labels, not a person's judgement."
    )
    if not held_out:
        lines.append(
            "The held-out split is empty, so nothing is scored: a group lies whole in one split, and three splits need "
            "at least three groups. Extract recordings of other groups, annotate them and make the dataset again."
        )
    elif len(held_out) == 1:
        lines.append("One held-out session says nothing about how sessions differ: its figures carry no interval.")
    elif len(held_out) < _FEW_SESSIONS:
        lines.append(f"Intervals over {len(held_out)} held-out sessions only hint at the spread between sessions.")
    return lines


def _tiles(report: Report) -> list[Tile]:
    train = report.train
    gold = f"on {_number(report.extraction.clean.sessions, 'clean session')}"
    return [
        Tile("Word error rate", show_percent(report.wer), report.reasons.get("wer", gold)),
        Tile(
            "Right speaker",
            show_percent(report.speaker_accuracy),
            report.reasons.get("speaker_accuracy", f"of words, {gold}"),
        ),
        Tile(
            "Right role",
            show_percent(report.role_accuracy),
            report.reasons.get("role_accuracy", f"of speakers, {gold}"),
        ),
        Tile(
            "Exact clips",
            show_percent(report.clips_exact),
            report.reasons.get("clips_exact", f"{report.clip_details.exact} of {report.clips}, every frame counted"),
        ),
        Tile(
            "Emotion, κ",
            show_figure(report.emotion.kappa),
            report.emotion.reason or f"with gold on {_number(report.emotion.n, 'turn')}",
        ),
        Tile(
            "Strategy, κ",
            show_figure(report.strategy.kappa),
            report.strategy.reason or f"with gold on {_number(report.strategy.n, 'turn')}",
        ),
        Tile(
            "Training loss",
            "not measured" if train is None else f"{train.loss_first:.2f} → {train.loss_last:.2f}",
            report.reasons.get("train", "")
            if train is None
            else f"{_fall(train.loss_first, train.loss_last)} from first to last",
        ),
        Tile("Set aside", str(report.quarantined), "quarantined, each with a reason below"),
    ]


def _fall(first: float, last: float) -> str:
    return f"{100 * (last / first - 1):+.0f} %".replace("-", "−") if first else "from zero"


def _outputs(report: Report, evidence: Evidence) -> dict[str, str]:
    """What each stage gave, in a few words."""
    labels = [note for each in evidence.sessions for note in each.annotations if note.task is not Task.CUES]
    given = sum(note.label is not None for note in labels)
    examples = " + ".join(f"{number} {split}" for split, number in report.examples.items())
    train = report.train
    return {
        "extraction": f"{_number(report.utterances, 'turn')}, {_number(report.clips, 'clip')}",
        "annotation": f"{_number(given, 'label')}, {_number(len(labels) - given, 'abstention')}",
        "dataset": f"{_number(sum(report.examples.values()), 'example')}: {examples}",
        "finetuning": "" if train is None or train.steps is None else _number(train.steps, "step"),
    }


def _quality_rows(report: Report) -> list[tuple[str, str, Score, Score]]:
    clean, every = report.extraction.clean, report.extraction.all
    return [
        ("Word error rate", "less is better", clean.wer, every.wer),
        ("Speaker accuracy", "share of gold words", clean.speaker_accuracy, every.speaker_accuracy),
        ("Role accuracy", "share of therapists and clients", clean.role_accuracy, every.role_accuracy),
        (
            "Words under the right role",
            "share of gold words, third voices too",
            clean.role_word_accuracy,
            every.role_word_accuracy,
        ),
    ]


def _distribution(evidence: Evidence, task: Task) -> tuple[str, list[Count]]:
    """How often each label was given, beside gold where there is gold."""
    given = Counter(note.label for each in evidence.sessions for note in each.annotations if note.task is task)
    golds = [each.gold for each in evidence.sessions if each.gold is not None]
    gold = Counter(said.label(task) for each in golds for said in each.utterances)
    names = load_codebook().names(task)
    longest = max([1, *(given[name] for name in names), *(gold[name] for name in names)])
    return task.value, [
        Count(
            name=name,
            css=charts.emotion_class(name) if task is Task.EMOTION else "emotion plain",
            given=given[name],
            gold=gold[name] if golds else None,
            given_share=given[name] / longest,
            gold_share=gold[name] / longest,
        )
        for name in names
    ]


def _panels(report: Report, task: str) -> list[tuple[str, Markup]]:
    """One dot-and-whisker chart per metric, all systems below each other."""
    return [
        (
            title,
            charts.whiskers(
                f"{_PREDICTED[task]}: {title} of each system with 95 % interval",
                [Whisker(system, getattr(tasks[task], metric)) for system, tasks in report.evaluation.items()],
            ),
        )
        for metric, title in _METRICS.items()
    ]


def _matrix(title: str, scores: LabelScores) -> Markup | None:
    return charts.heatmap(title, scores.classes, scores.confusion) if scores.confusion else None


def _loss(evidence: Evidence) -> Markup | None:
    points = [(point.step, point.loss) for point in evidence.curve]
    return curve("Training loss by step", points) if points else None


def _seconds(report: Report) -> list[tuple[str, float, float]]:
    """Stage, seconds, and share of the longest stage, which comes first."""
    longest = max(report.seconds.values(), default=0) or 1
    ordered = sorted(report.seconds.items(), key=lambda stage: -stage[1])
    return [(name, value, value / longest) for name, value in ordered]


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

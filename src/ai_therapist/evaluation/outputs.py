"""The report in other forms: Markdown, a model card's model-index, and predictions one a line."""

from __future__ import annotations

import json
from pathlib import Path

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.evaluation.evidence import Evidence
from ai_therapist.evaluation.page import show_difference, show_score
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.report import Report
from ai_therapist.records.score import Scored
from ai_therapist.store.codec import decode_all, encode_all

PREDICTIONS = "predictions.jsonl"
_COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "abstention_rate")


def render_markdown(report: Report) -> str:
    """The figures of the report as Markdown tables; holds no word that was said."""
    lines = ["# Evaluation", ""]
    if report.watermark:
        lines += [f"**{report.watermark}**", ""]
    lines += [f"Leak audit: {report.leak_audit.checked} examples, {report.leak_audit.summary}.", ""]
    fields = list(dict.fromkeys(field for tasks in report.evaluation.values() for field in tasks))
    for field in fields:
        lines += [f"## {field.replace('_', ' ').capitalize()}", "", "| system | " + " | ".join(_COLUMNS) + " | n |"]
        lines.append("|---" * (len(_COLUMNS) + 2) + "|")
        for system, tasks in report.evaluation.items():
            mark = " (told gold labels)" if report.systems[system].leaks else ""
            figures = [show_score(getattr(tasks[field], name)) for name in _COLUMNS]
            lines.append(f"| {system}{mark} | " + " | ".join(figures) + f" | {tasks[field].n} |")
        lines.append("")
    for task, told in report.annotators.items():
        lines += [f"## Annotators against people: {task}", "", "| annotator | " + " | ".join(_COLUMNS) + " | n |"]
        lines.append("|---" * (len(_COLUMNS) + 2) + "|")
        for name, scores in told.annotators.items():
            figures = [show_score(getattr(scores, column)) for column in _COLUMNS]
            lines.append(f"| {name} | " + " | ".join(figures) + f" | {scores.n} |")
        lines.append("")
    if report.differences:
        lines += ["## The tuned model minus each other system, macro F1", "", "| minus | " + " | ".join(fields) + " |"]
        lines.append("|---" * (len(fields) + 1) + "|")
        for system, found in report.differences.items():
            cells = [show_difference(found[field]["macro_f1"]) for field in fields]
            lines.append(f"| {system} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## Not measured", "", *(f"- {line}" for line in report.not_run), ""]
    return "\n".join(lines)


def render_model_index(report: Report) -> str:
    """The `model-index` block of a model card for the tuned model, as JSON, which YAML front matter takes too.

    Empty where the tuned model was not scored or the figures are withheld or marked: no card may carry those.
    """
    tasks = report.evaluation.get("tuned", {}) if report.watermark is None else {}
    results = [
        {
            "task": {"type": "text-classification", "name": field.replace("_", " ")},
            "dataset": {"name": "held-out sessions", "type": "local", "split": "test"},
            "metrics": [
                {"type": name, "value": round(score.value, 4), "name": name}
                for name in ("accuracy", "macro_f1")
                if isinstance(score := getattr(scores, name), Scored)
            ],
        }
        for field, scores in tasks.items()
    ]
    results = [result for result in results if result["metrics"]]
    index = [{"name": "tuned", "results": results}] if results else []
    return json.dumps({"model-index": index}, indent=2, sort_keys=True) + "\n"


def predictions_jsonl(evidence: Evidence) -> str:
    """Every prediction of every system, one JSON object a line."""
    rows = [row for system in evidence.predictions.values() for row in system]
    return "".join(encode_all([row]).decode().strip()[1:-1] + "\n" for row in rows)


def read_predictions(place: Path) -> tuple[Prediction, ...]:
    """The predictions in a file, or in the `predictions.jsonl` of a folder.

    Raises MissingInput where there is none and RequestError where a line is no prediction.
    """
    path = place / PREDICTIONS if place.is_dir() else place
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror}; make it with  ai-therapist evaluate") from None
    if not lines:
        raise RequestError(f"{path} holds no prediction")
    return decode_all(Prediction, f"[{','.join(lines)}]".encode(), path.name)

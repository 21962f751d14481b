"""Trainings and evaluations as the page shows them: loss curves, the figures of the report, comparisons."""

from __future__ import annotations

import json

from ai_therapist.errors import InvalidRecord, MissingInput, RequestError
from ai_therapist.evaluation.compare import compare_predictions
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.outputs import PREDICTIONS, read_predictions
from ai_therapist.evaluation.report import Report
from ai_therapist.records import Unscored
from ai_therapist.serving.studio.shown import score_line
from ai_therapist.store.actions import ActionRecord, JsonObject
from ai_therapist.store.codec import decode
from ai_therapist.store.workspace import Workspace

_STAGE = "finetuning.train"
_POINTS = 400
"""Points of a curve; more would be finer than a screen."""
_FIGURES = ("accuracy", "macro_f1", "kappa", "ece")
_RESAMPLES = 2_000


def runs_page(workspace: Workspace, *, blind: bool = False) -> JsonObject:
    """Everything the tab shows; what is missing is said. A blind studio leads to no report, which shows labels."""
    trainings = [_training(workspace, action) for action in workspace.store.actions() if action.stage == _STAGE]
    current = workspace.find_run("finetuning")
    model = next((item.artefacts.get("model") for item in current.done), None) if current is not None else None
    return {
        "trainings": [{**found, "current": found["model"] == model} for found in trainings],
        "evaluation": _evaluation(workspace),
        "report": "/studio/report" if workspace.report_html.exists() and not blind else None,
    }


def compared(workspace: Workspace, one: str, other: str) -> JsonObject:
    """Two systems of the last evaluation on the items that both predicted: the first minus the second.

    Raises RequestError for a system without predictions and MissingInput before the first evaluation.
    """
    rows = read_predictions(workspace.root)
    sides = [[row for row in rows if row.system == system] for system in (one, other)]
    if not all(sides):
        known = ", ".join(dict.fromkeys(row.system for row in rows))
        raise RequestError(f"there are no predictions of that system; there are those of {known}")
    found = compare_predictions(sides[0], sides[1], Resampling(_RESAMPLES))
    fields: list[JsonObject] = [
        {
            "field": field,
            "figure": name,
            **({"reason": figure.reason} if isinstance(figure, Unscored) else figure.model_dump(mode="json")),
        }
        for field, figures in found.items()
        for name, figure in figures.items()
    ]
    return {"one": one, "other": other, "resamples": _RESAMPLES, "rows": fields}


def _training(workspace: Workspace, action: ActionRecord) -> JsonObject:
    store = workspace.store
    curve: list[dict[str, float]] = json.loads(store.read(action.outputs["curve"])) if _has(workspace, action) else []
    every = max(1, -(-len(curve) // _POINTS))
    thinned = [*curve[:-1:every], curve[-1]] if curve else []
    account: JsonObject = (
        json.loads(store.read(action.outputs["training"])) if store.has(action.outputs.get("training", "")) else {}
    )
    return {
        "key": action.key[:12],
        "model": action.outputs.get("model"),
        "config": action.config,
        "account": account,
        "curve": [[point["step"], point["loss"]] for point in thinned],
    }


def _has(workspace: Workspace, action: ActionRecord) -> bool:
    return "curve" in action.outputs and workspace.store.has(action.outputs["curve"])


def _evaluation(workspace: Workspace) -> JsonObject:
    if not workspace.report_json.exists():
        return {"missing": f"{workspace.root} has no report yet: run  ai-therapist evaluate  first", "rows": []}
    try:
        report = decode(Report, workspace.report_json.read_bytes(), workspace.report_json.name)
    except (InvalidRecord, MissingInput) as error:
        return {"missing": f"the report cannot be read: {error}", "rows": []}
    rows: list[JsonObject] = [
        {
            "system": system,
            "leaks": report.systems[system].leaks,
            "meaning": report.systems[system].meaning,
            "field": field,
            "n": scores.n,
            **{name: score_line(getattr(scores, name)) for name in _FIGURES},
        }
        for system, fields in report.evaluation.items()
        for field, scores in fields.items()
    ]
    return {
        "missing": None,
        "rows": rows,
        "watermark": report.watermark,
        "not_run": list(report.not_run),
        "systems": list(report.evaluation) if (workspace.root / PREDICTIONS).exists() else [],
    }

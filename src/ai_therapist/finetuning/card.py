"""The card of a tuned model: what it is for and not for, what it was made of, how it did; refused without these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_therapist.errors import MissingInput, NotPermitted
from ai_therapist.models.tuned_folder import TunedFolder

_INTENDED = (
    "Research on multimodal emotional-support dialogue: studying how words, face and voice relate to emotions and to "
    "what a therapist does next, on role-plays, training demonstrations and consented recordings. It is a research "
    "artefact, not a medical device."
)
_PROHIBITED = (
    "Therapy, diagnosis, crisis support or triage of real people; use without a qualified person who reads along; "
    "judging a person's emotions at work, at school, for insurance or by the police; use outside a safety shell that "
    "checks every message and every reply; imitating a person whose recordings it was trained on."
)


@dataclass(frozen=True)
class Evidence:
    """What a card must rest on."""

    evaluation: Mapping[str, Any]
    """report.json of the evaluation."""
    safety: Mapping[str, Any]
    """A report of a safety suite."""


def read_evidence(report: Path, safety: Path | None) -> Evidence:
    """The reports that a card needs.

    Raises MissingInput where the model was not evaluated or there is no safety report, and NotPermitted where the
    figures are marked as leaked: they are no results.
    """
    evaluation = _json(report, "evaluate the model first:  ai-therapist evaluate")
    if safety is None:
        raise MissingInput("a model is not given away without a safety report: name one with --safety-report FILE")
    found = _json(safety, "make one with  ai-therapist suite")
    if evaluation.get("watermark"):
        raise NotPermitted(f"{report.name}: its figures are marked and no card may carry them; see its leak audit")
    if "tuned" not in evaluation.get("evaluation", {}):
        raise MissingInput(f"{report.name} holds no figures of the tuned model: run  ai-therapist evaluate  again")
    return Evidence(evaluation, found)


def render_card(
    about: TunedFolder,
    training: Mapping[str, Any],
    base: Mapping[str, Any],
    data: Mapping[str, str],
    evidence: Evidence,
) -> str:
    """The card as Markdown with front matter. It names no session, no person and no path.

    `training` is the account of the training, `base` what the base is made of, `data` lines on the dataset.
    """
    tasks = evidence.evaluation["evaluation"]["tuned"]
    rates = evidence.safety.get("rates", {})
    lines = [
        "---",
        "tags: [emotional-support, research, not-for-clinical-use]",
        "library_name: peft",
        *([] if base["language_revision"].startswith("files:") else [f"base_model: {base['language']}"]),
        "---",
        f"# {about.name}",
        "",
        "## Intended use",
        "",
        _INTENDED,
        "",
        "## Prohibited use",
        "",
        _PROHIBITED,
        "",
        "## Lineage",
        "",
        *(f"* {name}: {value}" for name, value in {**_of_base(base), **data}.items()),
        f"* settings: preset {about.config.get('preset')!r}, sha256 {about.config_sha256}",
        f"* goes on from: {', '.join(about.lineage) or 'no earlier model'}",
        f"* trained on {training['examples']} examples in {training['steps']} steps, {training['target_tokens']} "
        f"learned tokens an epoch; loss {training['loss_first']:.3f} → {training['loss_last']:.3f}",
        "",
        "## Evaluation",
        "",
        "On held-out sessions, with 95 % intervals over sessions; more in `evaluation.json`.",
        "",
        "| task | accuracy | macro F1 | n |",
        "|---|---|---|---|",
        *(
            f"| {name} | {_shown(each['accuracy'])} | {_shown(each['macro_f1'])} | {each['n']} |"
            for name, each in tasks.items()
        ),
        "",
        "## Safety report",
        "",
        f"Suite {evidence.safety.get('suite', 'unnamed')!r}: {evidence.safety.get('protocol', 'see safety.json')}.",
        "",
        *(f"* {name}: {_shown(rate)}" for name, rate in rates.items()),
        "",
    ]
    return "\n".join(lines)


def _of_base(base: Mapping[str, Any]) -> dict[str, str]:
    found = {"language model": _named(base["language"], base["language_revision"])}
    if base.get("media"):
        found["towers and connectors"] = _named(base["media"], base["media_revision"])
    return found


def _named(source: str, revision: str) -> str:
    """A model by name and commit; one of a folder of this machine by what its files are."""
    return revision if revision.startswith("files:") else f"{source} at {revision}"


def _shown(score: Mapping[str, Any]) -> str:
    if score.get("kind") != "scored":
        return f"not scored ({score.get('reason', 'no reason given')})"
    span = "" if score.get("low") is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{score['value']:.3f}{span}"


def _json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError:
        raise MissingInput(f"{path}: not there; {remedy}") from None
    except ValueError:
        raise MissingInput(f"{path}: not a report; {remedy}") from None
    if not isinstance(found, dict):
        raise MissingInput(f"{path}: not a report; {remedy}")
    return found

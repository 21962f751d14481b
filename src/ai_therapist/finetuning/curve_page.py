"""A page with the loss of every step: one small file, no script, nothing from elsewhere, no word that anybody said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from ai_therapist import svg
from ai_therapist.finetuning.curve import Point

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2529; --paper: #fff; --line: #dcd7cc; --accent: #2f5fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ea; --paper: #14191c; --line: #3a4449; --accent: #8db4f0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 46rem; padding: 0 1rem; }
svg { width: 100%; } svg text { fill: var(--ink); font-size: 11px; }
.grid { stroke: var(--line); } .dot { fill: var(--accent); }
.curve { fill: none; stroke: var(--accent); stroke-width: 2; }
th { text-align: left; font-weight: 400; padding-right: 2rem; } td { text-align: right; }
"""

_ROWS = {
    "loss_first": "Loss over the training examples before, in nats per learned token",
    "loss_last": "after",
    "validation_loss_first": "Loss over the validation examples before",
    "validation_loss_last": "after",
    "examples": "Examples learned",
    "with_clip": "of which with a clip",
    "too_long": "Examples that fit into no window",
    "steps": "Optimiser steps",
    "target_tokens": "Learned tokens of an epoch",
    "tokens": "Tokens read in an epoch",
    "tokens_one_by_one": "Tokens of one example per turn",
    "trained_parameters": "Weights trained",
    "parameters": "of all weights",
    "tokens_per_s": "Tokens per second",
    "peak_memory_gib": "Most memory, in GiB",
    "seconds": "Seconds",
}


def curve_page(curve: Sequence[Point], account: Mapping[str, object]) -> str:
    """The page as HTML. Raises ValueError without a step."""
    drawn = svg.curve("Training loss by step", [(point.step, point.loss) for point in curve])
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td>{}</td></tr>\n").format(title, _written(account[name]))
        for name, title in _ROWS.items()
        if account.get(name) is not None
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Fine-tuning</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>Fine-tuning</h1>\n"
        "<p>Mean loss per learned token of each optimiser step. It says how well the training examples are learned, "
        "not how well the model does: that is the evaluation's to say.</p>\n"
        f"{drawn}\n<table>{rows}</table>\n</body></html>\n"
    )


def _written(value: object) -> Markup:
    return escape(f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value)

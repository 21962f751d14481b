"""How far two annotators agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ai_therapist.records import Annotation, Score, Scored, Task, Unscored


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> Score:
    """Cohen's kappa of paired labels: (p_o - p_e) / (1 - p_e), p_o the share of equal pairs, p_e the share expected
    from each side's own label frequencies (Cohen 1960).

    Unscored without pairs, and where chance alone explains full agreement because both sides used one label only.
    """
    if not pairs:
        return Unscored(reason="no turn was labelled by both")
    n = len(pairs)
    left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(left[label] * right[label] for label in left) / n**2
    if expected == 1:
        return Unscored(reason="both used one and the same label throughout")
    observed = sum(a == b for a, b in pairs) / n
    return Scored(value=(observed - expected) / (1 - expected), n=n)


def agreement(one: Iterable[Annotation], other: Iterable[Annotation], task: Task) -> Score:
    """Kappa over the turns that both sets label for a task; turns that either abstains on are left out.

    Raises ValueError where a set holds two labels of one turn: whose label counts is the caller's decision.
    """
    left, right = _labels(one, task), _labels(other, task)
    return cohens_kappa([(label, right[turn]) for turn, label in sorted(left.items()) if turn in right])


def _labels(annotations: Iterable[Annotation], task: Task) -> dict[str, str]:
    labels: dict[str, str] = {}
    for annotation in annotations:
        if annotation.task is not task or annotation.label is None:
            continue
        if annotation.utterance in labels:
            raise ValueError(f"{annotation.utterance} has two labels for {task.value!r}")
        labels[annotation.utterance] = annotation.label
    return labels

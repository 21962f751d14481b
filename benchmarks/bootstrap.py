"""All metrics with session-bootstrap intervals beside a scikit-learn loop: python benchmarks/bootstrap.py [--quick]."""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from reporting import finish
from sklearn import metrics as sk

from ai_therapist.evaluation import metrics
from ai_therapist.evaluation.bootstrap import score_all, session_weights
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer
from ai_therapist.evaluation.scores import STATISTICS
from ai_therapist.records import Task, load_codebook

ROWS, SESSIONS = 20_000, 200
LIMIT_S, LIMIT_RATIO = 0.5, 300
CLASSES = load_codebook().names(Task.STRATEGY)
LOOP: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "macro_f1": lambda gold, given: sk.f1_score(gold, given, labels=np.arange(len(CLASSES)), average="macro"),
    "weighted_f1": lambda gold, given: sk.f1_score(
        gold, given, labels=np.arange(len(CLASSES)), average="weighted", zero_division=0
    ),
    "kappa": sk.cohen_kappa_score,
    "mcc": sk.matthews_corrcoef,
}
"""The same figures by scikit-learn, which knows no preference bias."""


def main() -> None:
    """Time both, compare their numbers resample by resample, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 resamples instead of 10,000")
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    resampling = Resampling(resamples=1_000 if quick else 10_000)
    rng = np.random.default_rng(7)
    gold = rng.choice(len(CLASSES), ROWS, p=rng.dirichlet(np.full(len(CLASSES), 2.0)))
    given = np.where(rng.random(ROWS) < 0.4, gold, rng.integers(0, len(CLASSES) + 1, ROWS))
    session = rng.integers(0, SESSIONS, ROWS)
    answers = [
        Answer(f"{s:03}", CLASSES[g], CLASSES[p] if p < len(CLASSES) else None)
        for s, g, p in zip(session, gold, given, strict=True)
    ]
    counts = metrics.confusion_by_session(answers, CLASSES)
    all_statistics = STATISTICS | {"abstention_rate": metrics.abstention_rate}
    ours_s = min(_seconds(lambda: score_all(counts, all_statistics, ROWS, resampling)) for _ in range(5))

    checked = 3 if quick else 20
    weights = next(session_weights(len(counts), resampling))[:checked].astype(np.int64)
    rows = [np.repeat(np.arange(ROWS), row[session]) for row in weights]
    start = time.perf_counter()
    theirs = {name: np.array([figure(gold[at], given[at]) for at in rows]) for name, figure in LOOP.items()}
    loop_s = (time.perf_counter() - start) / checked * resampling.resamples
    drawn = np.einsum("rs,sij->rij", weights.astype(np.float64), counts)
    furthest = max(float(np.abs(STATISTICS[name](drawn) - values).max()) for name, values in theirs.items())
    ratio = loop_s / ours_s
    limit_s = LIMIT_S * resampling.resamples / 10_000
    print(f"{len(all_statistics)} figures: {ours_s:.3f} s; {len(LOOP)} in a loop: {loop_s:.0f} s (from {checked})")
    finish(
        "bootstrap",
        {
            "rows": ROWS,
            "sessions": SESSIONS,
            "resamples": resampling.resamples,
            "figures": len(all_statistics),
            "seconds": round(ours_s, 3),
            "loop_seconds": round(loop_s),
            "ratio": round(ratio),
            "largest_difference": furthest,
        },
        f"at most {limit_s:g} s, at least {LIMIT_RATIO} times as fast as a loop, the same numbers",
        holds=ours_s <= limit_s and ratio >= LIMIT_RATIO and furthest < 1e-9,
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

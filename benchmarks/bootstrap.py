"""Intervals by resampling sessions, beside a loop over scikit-learn: python benchmarks/bootstrap.py [--quick].

Both sides score the same invented answers on the same resamples: ours as one matrix product over confusion counts of
sessions, the loop by drawing the sessions' rows and calling scikit-learn. The loop runs a part of the resamples and its
time is scaled; every figure of that part must agree.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from reporting import finish
from sklearn import metrics as sk

from ai_therapist.evaluation.bootstrap import score_all, session_weights, weighted_figures
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.metrics import Answer, abstention_rate, confusion_by_session
from ai_therapist.evaluation.scores import STATISTICS

ROWS, SESSIONS, CLASSES, RESAMPLES = 20_000, 400, 7, 10_000
BAR_S, BAR_RATIO, TOLERANCE = 0.5, 300.0, 1e-9
LOOPED = 20

Labels = NDArray[np.int64]
SCIKIT: Mapping[str, Callable[[Labels, Labels], float]] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "macro_f1": lambda gold, given: float(sk.f1_score(gold, given, average="macro")),
    "weighted_f1": lambda gold, given: float(sk.f1_score(gold, given, average="weighted")),
    "kappa": sk.cohen_kappa_score,
    "mcc": sk.matthews_corrcoef,
}
"""scikit-learn has no preference bias and no abstentions: those of ours are timed and not compared."""


def invented(rng: np.random.Generator) -> tuple[Labels, Labels, Labels]:
    """Session, gold and given class of every row; about half are right."""
    session = np.sort(rng.integers(0, SESSIONS, ROWS))
    gold = rng.integers(0, CLASSES, ROWS)
    given = np.where(rng.random(ROWS) < 0.5, gold, rng.integers(0, CLASSES, ROWS))
    return session, gold, given


def looped(session: Labels, gold: Labels, given: Labels, weights: NDArray[np.float64]) -> dict[str, list[float]]:
    """Every figure of scikit-learn on each resample, by drawing rows."""
    rows_of = [np.flatnonzero(session == number) for number in range(SESSIONS)]
    found: dict[str, list[float]] = {name: [] for name in SCIKIT}
    for drawn in weights:
        rows = np.concatenate([np.tile(rows_of[number], int(times)) for number, times in enumerate(drawn) if times])
        for name, figure in SCIKIT.items():
            found[name].append(float(figure(gold[rows], given[rows])))
    return found


def main() -> None:
    """Time both sides, compare their figures, and finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the loop")
    quick = parser.parse_args().quick
    session, gold, given = invented(np.random.default_rng(0))
    names = [str(number) for number in range(CLASSES)]
    answers = [
        Answer(f"{one:04}", names[truth], names[said]) for one, truth, said in zip(session, gold, given, strict=True)
    ]
    counts = confusion_by_session(answers, names)
    resampling = Resampling(RESAMPLES, 0)
    ours = STATISTICS | {"abstention_rate": abstention_rate}
    times = []
    for _ in range(3):
        start = time.process_time()
        score_all(counts, ours, ROWS, resampling)
        times.append(time.process_time() - start)
    looped_rows = LOOPED // 4 if quick else LOOPED
    weights = next(session_weights(SESSIONS, resampling))[:looped_rows]
    start = time.process_time()
    theirs = looped(session, gold, given, weights)
    loop_s = (time.process_time() - start) * RESAMPLES / looped_rows
    figures = weighted_figures(weights, counts, {name: STATISTICS[name] for name in SCIKIT})
    error = max(float(np.abs(figures[name] - np.array(theirs[name])).max()) for name in SCIKIT)
    own_s = min(times)
    print(f"ours {own_s:.2f} s, loop {loop_s:.0f} s (from {looped_rows} resamples), largest error {error:.1e}")
    finish(
        "bootstrap",
        {
            "rows": ROWS,
            "sessions": SESSIONS,
            "classes": CLASSES,
            "resamples": RESAMPLES,
            "figures": len(ours),
            "own_cpu_s": round(own_s, 3),
            "loop_cpu_s": round(loop_s),
            "ratio": round(loop_s / own_s),
            "largest_error": error,
        },
        f"all figures within {BAR_S} s, at least {BAR_RATIO:.0f} times a loop over scikit-learn, and equal to it",
        holds=own_s <= BAR_S and loop_s >= BAR_RATIO * own_s and error <= TOLERANCE,
    )


if __name__ == "__main__":
    main()

"""Training the embedded classifier on a data set of one's own: python benchmarks/annotator.py [--annomi FOLDER].

FOLDER holds therapist_train_dev.csv (split, transcript_id, utterance_id, label, text: the train and dev parts of the
MMLA split of AnnoMI) and, for the row with context, AnnoMI-simple.train_dev.csv. Trained by what `ai-therapist
finetune --annotator --rows` calls; beside it stand the majority and TF-IDF with logistic regression. Without FOLDER
nothing is measured, and that is said.
"""

import argparse
import csv
import dataclasses
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reporting import finish
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from ai_therapist.finetuning.annotator import LabelledTurn, Measured, classifier_bytes, measure, train_head
from ai_therapist.finetuning.labelled_rows import LabelledRows, read_rows
from ai_therapist.models.embedded import EmbeddedClassifier
from ai_therapist.models.turn_lines import TurnLine
from ai_therapist.records import Role

BEHAVIOURS = "therapist_train_dev.csv"
DIALOGUES = "AnnoMI-simple.train_dev.csv"
BAR = Measured(0, 0.76, 0.72)
LONGEST_S = 60.0
FOLDER = Path(__file__).parents[2] / "shared" / "data" / "annomi"
ROLES = {"client": Role.CLIENT, "therapist": Role.THERAPIST}


def with_context(path: Path, rows: LabelledRows, behaviours: Path) -> LabelledRows:
    """The rows with the two turns before each, where the file of whole dialogues has them."""
    said: dict[str, dict[int, TurnLine]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            line = TurnLine(ROLES[row["interlocutor"]], row["utterance_text"])
            said.setdefault(row["transcript_id"], {})[int(row["utterance_id"])] = line
    with behaviours.open(encoding="utf-8", newline="") as file:
        keys = [(r["split"], r["transcript_id"], int(r["utterance_id"])) for r in csv.DictReader(file) if r["text"]]

    def extended(labelled: Sequence[LabelledTurn], wanted: Sequence[tuple[str, int]]) -> list[LabelledTurn]:
        return [
            dataclasses.replace(row, turns=(*before(said.get(key, {}), place), *row.turns))
            for row, (key, place) in zip(labelled, wanted, strict=True)
        ]

    return dataclasses.replace(
        rows,
        train=extended(rows.train, [(key, place) for split, key, place in keys if split == "train"]),
        held_out=extended(rows.held_out, [(key, place) for split, key, place in keys if split != "train"]),
    )


def before(dialogue: dict[int, TurnLine], place: int) -> list[TurnLine]:
    """The two turns before a place, oldest first."""
    return [dialogue[number] for number in sorted(dialogue) if number < place][-2:]


def trained_and_measured(rows: LabelledRows) -> tuple[Measured, Measured | None, float]:
    """On the held-out part and by folds of the training part, and processor seconds of the training."""
    start = processor_s()
    trained = train_head(rows.train, rows.labels)
    seconds = processor_s() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "annotator.safetensors"
        path.write_bytes(classifier_bytes({"label": trained}, "benchmark", "none", []))
        return measure(EmbeddedClassifier.from_file(path), rows.held_out, rows.labels), trained.held_out, seconds


def processor_s() -> float:
    """Processor seconds of this process so far, which hold on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tfidf(rows: LabelledRows) -> Measured:
    """TF-IDF over words and pairs with logistic regression, on the labelled turn alone."""
    fitted = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    ).fit([row.turns[-1].text for row in rows.train], [row.label for row in rows.train])
    gold = [row.label for row in rows.held_out]
    said = fitted.predict([row.turns[-1].text for row in rows.held_out])
    return Measured(len(gold), float(accuracy_score(gold, said)), float(f1_score(gold, said, average="macro")))


def majority(rows: LabelledRows) -> Measured:
    """The most frequent training label everywhere."""
    (label, _), *_ = Counter(row.label for row in rows.train).most_common(1)
    gold = [row.label for row in rows.held_out]
    f1 = f1_score(gold, [label] * len(gold), average="macro", zero_division=0.0)
    return Measured(len(gold), gold.count(label) / len(gold), float(f1))


def main() -> None:
    """Measure, print a line for each variant, and finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the variant that sees the context")
    parser.add_argument("--annomi", type=Path, default=FOLDER, help=f"folder with {BEHAVIOURS}")
    options = parser.parse_args()
    bar = f"dev accuracy >= {BAR.accuracy} and macro-F1 >= {BAR.macro_f1} on AnnoMI, training within {LONGEST_S:.0f} s"
    if not (options.annomi / BEHAVIOURS).exists():
        print("AnnoMI left out: give its folder with --annomi FOLDER")
        finish("annotator", {"not_run": "no folder of AnnoMI was given"}, bar, holds=None)
    start = time.perf_counter()
    rows = read_rows(options.annomi / BEHAVIOURS)
    own, folds, seconds = trained_and_measured(rows)
    wall_s = time.perf_counter() - start
    figures = {"majority": majority(rows), "tfidf": tfidf(rows), "annotator": own, "annotator_train_folds": folds}
    if not options.quick and (options.annomi / DIALOGUES).exists():
        told = with_context(options.annomi / DIALOGUES, rows, options.annomi / BEHAVIOURS)
        figures["annotator_with_context"], figures["annotator_with_context_train_folds"], _ = trained_and_measured(told)
    for name, found in figures.items():
        if found is not None:
            print(f"{name:36} n {found.n:5}  accuracy {found.accuracy:.3f}  macro-F1 {found.macro_f1:.3f}")
    finish(
        "annotator",
        {
            **{name: found._asdict() for name, found in figures.items() if found is not None},
            "rows": len(rows.train),
            "training_cpu_s": round(seconds, 1),
            "training_wall_s": round(wall_s, 1),
        },
        bar,
        holds=own.accuracy >= BAR.accuracy and own.macro_f1 >= BAR.macro_f1 and seconds <= LONGEST_S,
    )


if __name__ == "__main__":
    main()

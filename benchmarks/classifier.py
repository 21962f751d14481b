"""How well the embedded classifier labels: python benchmarks/classifier.py [--quick] [--goemotions FOLDER].

Three measurements, each beside the majority baseline of the same items: emotions on the test split of GoEmotions
(comments whose labels map to exactly one of ours), emotions and strategies on the gold text of the samples, both as
written and as a speech recogniser would write it. The annotator runs with its default settings, and an abstention
counts as wrong. FOLDER holds original_test.tsv; without it the first measurement is left out and said to be.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reporting import finish

from ai_therapist.annotation.annotate import NO_CLIPS, Annotator, annotate_turns
from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.parse import parse_scores
from ai_therapist.evaluation.gold import GoldSession, gold_files
from ai_therapist.evaluation.metrics import Answer, abstention_rate, accuracy, confusion_by_session, macro_f1
from ai_therapist.models.embedded import load_embedded
from ai_therapist.records import Label, Session, Speaker, Task, Utterance, load_codebook
from ai_therapist.records.message import Message
from ai_therapist.store.codec import decode
from ai_therapist.testing import make_session

ROOT = Path(__file__).parents[1]
GAIN = 0.15
QUICK_COMMENTS = 500


def goemotions_answers(folder: Path, limit: int | None) -> list[Answer]:
    """The classifier's answers on the first `limit` usable comments of the test split."""
    names = (folder / "original_labels.txt").read_text("utf-8").split()
    mapping = ROOT / "scripts" / "embedded_classifier" / "goemotions.json"
    counterpart = json.loads(mapping.read_text("utf-8"))
    model, labels = load_embedded(), load_codebook().names(Task.EMOTION)
    answers = []
    for line in (folder / "original_test.tsv").read_text("utf-8").splitlines():
        text, indices, key = line.split("\t")
        mapped = {counterpart[names[int(index)]] for index in indices.split(",")}
        if len(mapped) > 1 or None in mapped:
            continue
        scores = model.score([Message.of_text("user", text)], labels)
        outcome = parse_scores(scores, labels, AnnotationConfig())
        answers.append(Answer(key, mapped.pop(), outcome.value if isinstance(outcome, Label) else None))
        if len(answers) == limit:
            break
    return answers


def sample_answers(gold: GoldSession, *, heard: bool) -> dict[Task, list[Answer]]:
    """The annotator's answers on one sample's gold text; `heard` takes case and punctuation away first."""
    session = spoken_session(gold)
    turns = [
        Utterance.of(session.id, index, said.speaker, said.span, as_heard(said.text) if heard else said.text)
        for index, said in enumerate(gold.utterances)
    ]
    config = AnnotationConfig()
    annotator = Annotator(load_embedded(), config, load_codebook(), lambda: "2026-01-01T00:00:00+00:00")
    labelled = annotate_turns(session, turns, NO_CLIPS, annotator)
    given = {(a.utterance, a.task): a.label for a in labelled.annotations}
    return {
        task: [
            Answer(session.id, label, given.get((turn.id, task)))
            for turn, said in zip(turns, gold.utterances, strict=True)
            if (label := said.label(task)) is not None
        ]
        for task in config.tasks
    }


def spoken_session(gold: GoldSession) -> Session:
    """A session with the speakers and roles of a gold transcript."""
    roles = {said.speaker: said.role for said in gold.utterances}
    speakers = tuple(
        Speaker(label=label, role=role, decided_by="gold", confidence=None) for label, role in roles.items()
    )
    return make_session(gold.session, gold.duration_ms).model_copy(update={"speakers": speakers})


def as_heard(text: str) -> str:
    """The text without case and punctuation."""
    return re.sub(r"[^\w\s']+", " ", text).lower()


def figures_of(answers: Sequence[Answer], task: Task) -> dict[str, float | int]:
    """Accuracy, macro-F1, abstention rate and the majority baseline's accuracy."""
    counts = confusion_by_session(answers, load_codebook().names(task)).sum(axis=0)
    return {
        "n": len(answers),
        "accuracy": round(float(accuracy(counts)), 3),
        "macro_f1": round(float(macro_f1(counts)), 3),
        "abstained": round(float(abstention_rate(counts)), 3),
        "majority": round(Counter(answer.gold for answer in answers).most_common(1)[0][1] / len(answers), 3),
    }


def main() -> None:
    """Measure, print a line for each measurement, and finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_COMMENTS} comments of GoEmotions only")
    parser.add_argument("--goemotions", type=Path, help="folder with original_test.tsv")
    options = parser.parse_args()
    measured: dict[str, dict[str, float | int]] = {}
    if options.goemotions is not None and (options.goemotions / "original_test.tsv").exists():
        answers = goemotions_answers(options.goemotions, QUICK_COMMENTS if options.quick else None)
        measured["goemotions_emotion"] = figures_of(answers, Task.EMOTION)
    else:
        print("GoEmotions left out: give its folder with --goemotions FOLDER")
    samples = [decode(GoldSession, path.read_bytes(), name) for name, path in gold_files(ROOT / "samples/gold").items()]
    for form, heard in (("written", False), ("heard", True)):
        for task in (Task.EMOTION, Task.STRATEGY):
            answers = [answer for gold in samples for answer in sample_answers(gold, heard=heard)[task]]
            measured[f"samples_{task.value}_{form}"] = figures_of(answers, task)
    for name, figures in measured.items():
        print(f"{name:26}" + "  ".join(f"{key} {value}" for key, value in figures.items()))
    finish(
        "classifier",
        {"model": load_embedded().name, "sessions": len(samples), **measured},
        f"accuracy at least that of the majority label + {GAIN} in every measurement, abstentions counted as wrong",
        holds=all(figures["accuracy"] >= figures["majority"] + GAIN for figures in measured.values()),
    )


if __name__ == "__main__":
    main()

"""Trains the learned half of the crisis gate and writes its weights and card into the package.

    python scripts/train_crisis_classifier.py --goemotions FOLDER

FOLDER holds original_train.tsv of GoEmotions, whose comments are calm background: those that the rules or a few words
take for a danger are left out. All else lies beside this script and was invented for this project:
crisis_classifier/{at_risk,calm}/KIND.txt, one message a line, and grammar.json, whose templates make more of them;
the examples of the embedded classifier serve as calm talk of therapy. Short messages are buried in longer ones, and
written as people type and as recognisers hear.

A training message that shares eight words in a row with tests/safety/{frozen,unseen} or crisis_development/ is refused.
Same input, package versions and kind of machine give the same bytes. The card gets thresholds that mean nothing yet:
scripts/train_crisis_encoder.py comes next, and scripts/weigh_crisis_gate.py chooses them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from ai_therapist.safety.crisis_classifier import (
    CALM,
    CARD_FILE,
    LABELS,
    WEIGHTS_FILE,
    Card,
    CrisisClassifier,
    Thresholds,
)
from ai_therapist.safety.crisis_features import (
    BUCKETS,
    FEATURES_VERSION,
    LONGEST_WINDOW,
    ClauseFeatures,
    clause_features,
    values_of,
    windows,
)
from ai_therapist.safety.crisis_rules import assess_by_rules
from ai_therapist.safety.normalise import clauses

HERE = Path(__file__).parent
ROOT = HERE.parent
EXAMPLES = HERE / "crisis_classifier"
DEVELOPMENT = HERE / "crisis_development"
TALK = HERE / "embedded_classifier"
PACKAGE = ROOT / "src" / "ai_therapist" / "safety"
MEASURED = tuple(ROOT / "tests" / "safety" / name for name in ("frozen", "unseen"))
SEED = 20261125
_PLAIN = ("distress", "everyday", "forum", "sadness", "depression", "anger", "fear", "neutral", "disgust")
"""Files whose calm sentences may stand around another."""
PER_FAMILY = 220
COMMENTS = 6_000
INVERSE_PENALTY = 6.0
WEIGHTS = {"written": 3.0, "grammar": 0.6, "composed": 1.0, "piece": 0.7, "comment": 1.0, "talk": 1.5}
"""What one message of a source counts for."""
WINDOWS = {"written": 10}
"""How many windows of a calm message of a source are shown by themselves; of others, two."""
SHARED_WORDS = 8
UNCHOSEN = Thresholds(concern=0.5, risk=0.5, imminent=0.6)
DATA = (
    "messages invented for this project (Apache-2.0), and comments of GoEmotions (Google Research; Demszky et al. "
    "2020, CC BY 4.0 / Apache-2.0 copy) as calm background"
)
_DROPPED = re.compile(
    r"suicid|kill (?:my|him|her|them|your)self|\bkys\b|\bkms\b|self.?harm|wan(?:t|na)(?: to)? die|\brap(?:e|ed|ist)\b"
    r"|abus|beat(?:s|ing)? (?:me|her|his|my)|overdos|(?:cut|hurt|hang)(?:ting|ing)? (?:my|her|him|your)self",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Sample:
    """A message with its label; `family` names the file or the templates that it comes from."""

    text: str
    label: str
    source: str
    family: str


def lines_of(path: Path) -> list[str]:
    """Messages of a file, one a line."""
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()]


def written(folder: Path = EXAMPLES) -> list[Sample]:
    """The messages written by hand."""
    samples = []
    for path in sorted(folder.glob("*/*.txt")):
        lines = lines_of(path)
        labels = _labels_of(path, lines)
        samples += [Sample(text, label, "written", path.stem) for text, label in zip(lines, labels, strict=True)]
    return samples


def _labels_of(path: Path, lines: Sequence[str]) -> list[str]:
    if path.parent.name == CALM:
        return [CALM] * len(lines)
    # The longest label first: suicide_imminent_now.txt holds no plain "suicide".
    for label in sorted(LABELS, key=len, reverse=True):
        if path.stem == label or path.stem.startswith(f"{label}_"):
            return [label] * len(lines)
    kinds = json.loads((EXAMPLES / "long_labels.json").read_text("utf-8"))[path.stem]
    return [kinds.get(str(place), "suicide") for place in range(len(lines))]


def grammar(rng: random.Random) -> list[Sample]:
    """Messages of every family of templates."""
    book = json.loads((EXAMPLES / "grammar.json").read_text("utf-8"))
    samples = []
    for family in book["families"]:
        made = {_filled(rng.choice(family["templates"]), book["slots"], rng) for _ in range(PER_FAMILY)}
        samples += [Sample(text, family["label"], "grammar", family["name"]) for text in sorted(made)]
    return samples


def _filled(template: str, slots: dict[str, list[str]], rng: random.Random) -> str:
    while "{" in template:
        template = re.sub(r"\{(\w+)\}", lambda match: rng.choice(slots[match[1]]), template, count=1)
    return " ".join(template.split())


def talk() -> list[Sample]:
    """What clients and therapists say in the examples of the embedded classifier, where the rules find nothing."""
    samples = []
    for path in sorted(TALK.glob("*/*.txt")):
        for line in lines_of(path):
            said = line.rpartition(" || ")[2]
            if not assess_by_rules(said).at_risk:
                samples.append(Sample(said, CALM, "talk", path.stem))
    return samples


def comments(folder: Path, rng: random.Random) -> list[Sample]:
    """Comments of GoEmotions as calm background, without those that may speak of a danger."""
    texts = [line.split("\t")[0] for line in lines_of(folder / "original_train.tsv")]
    calm = [text for text in texts if not _DROPPED.search(text) and not assess_by_rules(text).at_risk]
    chosen = rng.sample(sorted(set(calm)), COMMENTS)
    return [Sample(re.sub(r"\[NAME\]", "john", text), CALM, "comment", "comment") for text in chosen]


def composed(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """Longer messages of several sentences, with the danger somewhere in it, or with none."""
    context = [
        sample.text
        for sample in samples
        if sample.source in {"talk", "written"} and sample.label == CALM and sample.family.startswith(_PLAIN)
    ]
    risky = [sample for sample in samples if sample.label != CALM and len(sample.text.split()) < 40]
    tricky = [sample.text for sample in samples if sample.label == CALM and sample.source in {"written", "grammar"}]
    made = []
    for _ in range(1_500):
        one = rng.choice(risky)
        # No more around it than a window shows, or the calm half of the message would count as danger.
        around = rng.sample(context, rng.randint(1, 2))
        around.insert(rng.randint(0, len(around)), one.text)
        made.append(Sample(" ".join(map(_sentence, around)), one.label, "composed", one.family))
    for _ in range(2_250):
        around = rng.sample(context, rng.randint(2, 8))
        if rng.random() < 0.6:
            around.insert(rng.randint(0, len(around)), rng.choice(tricky))
        made.append(Sample(" ".join(map(_sentence, around)), CALM, "composed", CALM))
    return made


def _sentence(text: str) -> str:
    return text if text[-1] in ".!?" else f"{text}."


_TYPED = (
    (r"\byou\b", "u"), (r"\bare\b", "r"), (r"\bbecause\b", "bc"), (r"\bgoing to\b", "gonna"), (r"\bwant to\b", "wanna"),
    (r"\babout\b", "abt"), (r"\bto\b", "2"), (r"\bplease\b", "pls"), (r"\bpeople\b", "ppl"), (r"\bright now\b", "rn"),
    (r"\bI don't know\b", "idk"), (r"\bto be honest\b", "tbh"), (r"\bsomething\b", "smth"), (r"\bwith\b", "w"),
    (r"\bnobody\b", "no1"), (r"\btonight\b", "tonite"), (r"\byour\b", "ur"), (r"\breally\b", "rly"), (r"ing\b", "in"),
)  # fmt: skip
_FILLERS = ("um", "uh", "like", "you know", "i mean", "well", "so", "yeah")


def as_typed(text: str, rng: random.Random) -> str:
    """Lower case, no apostrophes, short forms here and there."""
    plain = text.lower().replace("'", "").replace(",", "")
    for long, short in _TYPED:
        if rng.random() < 0.4:
            plain = re.sub(long.lower(), short, plain)
    return plain.rstrip(".")


def as_heard(text: str, rng: random.Random) -> str:
    """As a speech recogniser writes it: no case, no punctuation, fillers kept."""
    words = re.sub(r"[^\w\s']+", " ", text).lower().split()
    for _ in range(rng.randint(0, 3)):
        words.insert(rng.randint(0, len(words)), rng.choice(_FILLERS))
    return " ".join(words)


def misspelt(text: str, rng: random.Random) -> str:
    """One or two slips of the fingers."""
    letters = list(text)
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(len(letters) - 1)
        if letters[place].isalpha() and letters[place + 1].isalpha():
            if rng.random() < 0.5:
                letters[place], letters[place + 1] = letters[place + 1], letters[place]
            else:
                del letters[place]
    return "".join(letters)


STYLES: tuple[Callable[[str, random.Random], str], ...] = (as_typed, as_heard, misspelt)


def varied(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """Every message as it is; what was written or made, in one other style as well."""
    made = list(samples)
    for sample in samples:
        if sample.source in {"written", "composed", "talk"} and len(sample.text) > 4:
            made.append(replace(sample, text=rng.choice(STYLES)(sample.text, rng)))
    return made


def all_samples(folder: Path) -> list[Sample]:
    """Everything there is to learn from, in a fixed order."""
    rng = random.Random(SEED)
    by_hand = written()
    refuse_held_out(by_hand)
    single = [*by_hand, *without_held_out([*grammar(rng), *talk()]), *comments(folder, rng)]
    return pieces(varied([*single, *composed(single, rng)], rng), rng)


def pieces(samples: Sequence[Sample], rng: random.Random) -> list[Sample]:
    """The samples, and some windows of every calm one of several clauses: each of them must look calm by itself."""
    made = list(samples)
    for sample in samples:
        found = clauses(sample.text)
        if sample.label == CALM and sample.source != "comment" and len(found) > 1:
            spans = list(windows(len(found)))
            spans = rng.sample(spans, min(WINDOWS.get(sample.source, 2), len(spans)))
            made += [replace(sample, text=". ".join(found[start:end]), source="piece") for start, end in spans]
    return made


def refuse_held_out(samples: Sequence[Sample]) -> None:
    """Raises ValueError where a message shares eight words in a row with what is measured or developed on."""
    shared = len(samples) - len(without_held_out(samples))
    if shared:
        raise ValueError(f"{shared} messages share {SHARED_WORDS} words in a row with what is held out: take them out")


def without_held_out(samples: Sequence[Sample]) -> list[Sample]:
    """Those that share no eight words in a row with what is measured or developed on."""
    paths = (path for folder in (*MEASURED, DEVELOPMENT) for path in folder.glob("*/*.txt"))
    held = {run for path in paths for line in lines_of(path) for run in _runs(line)}
    return [sample for sample in samples if held.isdisjoint(_runs(sample.text))]


def _runs(text: str) -> Iterator[str]:
    words = " ".join(clauses(text)).split()
    size = min(SHARED_WORDS, len(words)) if len(words) >= 4 else SHARED_WORDS
    yield from (" ".join(words[i : i + size]) for i in range(len(words) - size + 1))


class Read(NamedTuple):
    """A message as the classifier reads it: its clauses, and its features as a whole."""

    parts: list[ClauseFeatures]
    values: dict[int, float]


def read_all(samples: Sequence[Sample]) -> list[Read]:
    """Every message read once."""
    parts = [clause_features(sample.text) for sample in samples]
    return [Read(each, values_of(each)) for each in parts]


def matrix(values: Sequence[Mapping[int, float]]) -> csr_matrix:
    """Features, one row each."""
    starts, columns, numbers = [0], list[int](), list[float]()
    for found in values:
        columns += found.keys()
        numbers += found.values()
        starts.append(len(columns))
    return csr_matrix((np.array(numbers, np.float32), columns, starts), shape=(len(values), BUCKETS))


def fit(samples: Sequence[Sample], reads: Sequence[Read]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights (buckets x labels) and bias: the first column tells danger from calm, the others tell dangers apart.

    Most of a long message at risk is calm, and nobody marked where the danger stands: the first fit leaves such
    messages out, and the second takes of each the window that the first finds gravest.
    """
    labels = np.array([sample.label for sample in samples])
    weights = np.array([WEIGHTS[sample.source] for sample in samples])
    at_risk = labels != CALM
    long = at_risk & np.array([len(read.parts) > LONGEST_WINDOW for read in reads])
    rows = matrix([read.values for read in reads])
    first = _danger().fit(rows[~long], at_risk[~long], sample_weight=weights[~long])
    values = [
        _gravest(read.parts, first.coef_[0]) if is_long else read.values
        for read, is_long in zip(reads, long, strict=True)
    ]
    rows = matrix(values)
    danger = _danger().fit(rows, at_risk, sample_weight=weights)
    kind = LogisticRegression(C=INVERSE_PENALTY, max_iter=60, tol=1e-2)
    kind.fit(rows[at_risk], labels[at_risk], sample_weight=weights[at_risk])
    order = [list(kind.classes_).index(label) for label in LABELS if label != CALM]
    columns = np.concatenate([danger.coef_, kind.coef_[order]]).T
    return columns.astype(np.float32), np.concatenate([danger.intercept_, kind.intercept_[order]]).astype(np.float32)


def _danger() -> LogisticRegression:
    return LogisticRegression(C=INVERSE_PENALTY, max_iter=200, tol=1e-3)


def _gravest(parts: Sequence[ClauseFeatures], weights: npt.NDArray[np.float64]) -> dict[int, float]:
    """Features of the window with the highest score."""
    found = [values_of(parts[start:end]) for start, end in windows(len(parts))]
    return max(found, key=lambda values: sum(value * weights[bucket] for bucket, value in values.items()))


def classifier(weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> tuple[CrisisClassifier, bytes, Card]:
    """The classifier as it will ship: weights in half precision, with the card that names their digest."""
    # Another order in memory would be written as it lies there, and read back as other weights.
    data = save({"bias": bias, "weight": np.ascontiguousarray(weights, np.float16)})
    card = Card(
        features=FEATURES_VERSION,
        sha256=hashlib.sha256(data).hexdigest(),
        data=DATA,
        inputs_sha256=inputs_digest(Path(__file__)),
        thresholds=UNCHOSEN,
    )
    return CrisisClassifier(card, weights.astype(np.float16).astype(np.float32), bias), data, card


def inputs_digest(*scripts: Path) -> str:
    """Sha256 over scripts and the messages beside them."""
    digest = hashlib.sha256()
    messages = (sorted(folder.rglob("*.*")) for folder in (EXAMPLES, DEVELOPMENT, TALK))
    for path in (*scripts, *(path for folder in messages for path in folder)):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def main() -> None:
    """Train, and write weights and card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goemotions", type=Path, required=True, help="folder with original_train.tsv")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="folder to write into")
    options = parser.parse_args()
    samples = all_samples(options.goemotions)
    print(f"{len(samples)} messages, {sum(sample.label != CALM for sample in samples)} of them at risk")
    _, data, card = classifier(*fit(samples, read_all(samples)))
    (options.output / WEIGHTS_FILE).write_bytes(data)
    (options.output / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")
    print(f"{options.output / WEIGHTS_FILE}: {len(data) / 1e6:.1f} MB, sha256 {card.sha256[:12]}")


if __name__ == "__main__":
    main()

"""Suites of labelled texts: what their files look like, what was published, and how ours stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_therapist.errors import RequestError
from ai_therapist.evaluation.suites import mesc
from ai_therapist.evaluation.suites.layout import Published, Row, known_label, label_at, read_table
from ai_therapist.records import Task, load_codebook

ANNOMI_BEHAVIOURS = ("question", "reflection", "therapist_input", "other")
ANNOMI_TALK = ("change", "neutral", "sustain")
EKMAN = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
EPITOME_LEVELS = ("0", "1", "2")
EMODYNAMIX_ANNOMI = (
    "Reflection simple",
    "Reflection complex",
    "Question closed",
    "Question open",
    "Provide information",
    "Other",
    "Provide suggestion",
)
EMODYNAMIX_ESCONV = (
    "Reflection of feelings",
    "Self-disclosure",
    "Question",
    "Affirmation and Reassurance",
    "Providing Suggestions",
    "Restatement or Paraphrasing",
    "Information",
    "Others",
)


@dataclass(frozen=True)
class Suite:
    """A labelled test set."""

    name: str
    protocol: str
    layout: str
    """The files it reads, as an error and `--help` describe them."""
    classes: tuple[str, ...]
    load: Callable[[Sequence[Path]], list[Row]]
    published: tuple[Published, ...]
    """Rows of published tables; shares from 0 to 1."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows of each split of the published files; a file with others is another set, and the report says so."""


def _annomi(paths: Sequence[Path]) -> list[Row]:
    (path,) = _exactly(paths, ("TABLE.csv",))
    rows = read_table(path, ("split", "transcript_id", "utterance_id", "label", "text"))
    speaker = ANNOMI_BEHAVIOURS if {row["label"] for row in rows} <= set(ANNOMI_BEHAVIOURS) else ANNOMI_TALK
    return [
        Row(
            id=f"{row['transcript_id']}-{row['utterance_id']}",
            split=row["split"],
            group=row["transcript_id"],
            text=row["text"],
            gold=known_label(row["label"], speaker, f"{path.name}, row {number}"),
            order=int(row["utterance_id"]) if row["utterance_id"].isdecimal() else number,
        )
        for number, row in enumerate(rows, start=1)
    ]


def _goemotions(paths: Sequence[Path]) -> list[Row]:
    rows = []
    for split, path in zip(("train", "test"), _exactly(paths, ("ekman_train.tsv", "ekman_test.tsv")), strict=True):
        for number, row in enumerate(read_table(path, ("text", "labels", "id"), delimiter="\t", header=False), start=1):
            first, *more = row["labels"].split(",")
            # A comment with several emotions has no single right answer; both splits leave it out.
            if not more:
                gold = label_at(first, EKMAN, f"{path.name}, row {number}")
                rows.append(Row(id=row["id"], split=split, group=row["id"], text=row["text"], gold=gold))
    return rows


def _epitome(paths: Sequence[Path]) -> list[Row]:
    (path,) = _exactly(paths, ("MECHANISM-reddit.csv",))
    rows = read_table(path, ("sp_id", "rp_id", "seeker_post", "response_post", "level"))
    # The published split was never released: every fifth seeker is held out, so that no post is on both sides.
    held_out = set(sorted({row["sp_id"] for row in rows})[::5])
    return [
        Row(
            id=f"{row['sp_id']}-{row['rp_id']}",
            split="test" if row["sp_id"] in held_out else "train",
            group=row["sp_id"],
            text=f"{row['seeker_post']} || {row['response_post']}",
            gold=known_label(row["level"], EPITOME_LEVELS, f"{path.name}, row {number}"),
        )
        for number, row in enumerate(rows, start=1)
    ]


def _meld(paths: Sequence[Path]) -> list[Row]:
    rows = []
    for split, path in zip(
        ("train", "test"), _exactly(paths, ("train_sent_emo.csv", "test_sent_emo.csv")), strict=True
    ):
        columns = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
        for number, row in enumerate(read_table(path, columns), start=1):
            group = f"{split}-{row['Dialogue_ID']}"
            gold = known_label(row["Emotion"], EKMAN, f"{path.name}, row {number}")
            order = int(row["Utterance_ID"]) if row["Utterance_ID"].isdecimal() else number
            rows.append(Row(f"{group}-{order}", split, group, row["Utterance"], gold, order))
    return rows


def _emodynamix_annomi(paths: Sequence[Path]) -> list[Row]:
    return _emodynamix(paths, EMODYNAMIX_ANNOMI)


def _emodynamix_esconv(paths: Sequence[Path]) -> list[Row]:
    return _emodynamix(paths, EMODYNAMIX_ESCONV)


def _emodynamix(paths: Sequence[Path], classes: Sequence[str]) -> list[Row]:
    rows = []
    for split, path in zip(("train", "test"), _exactly(paths, ("train.csv", "test.csv")), strict=True):
        for number, row in enumerate(read_table(path, ("Dialogue_History", "Next_Strategy")), start=1):
            gold = label_at(row["Next_Strategy"], classes, f"{path.name}, row {number}")
            rows.append(Row(f"{split}-{number}", split, f"{split}-{number}", row["Dialogue_History"], gold))
    return rows


def _exactly(paths: Sequence[Path], names: Sequence[str]) -> Sequence[Path]:
    """The paths. Raises RequestError where there are more or fewer than `names`."""
    if len(paths) != len(names):
        raise RequestError(f"this suite reads {len(names)} files: {' '.join(names)}; {len(paths)} were given")
    return paths


def _row(system: str, source: str, **figures: float) -> Published:
    return Published(system=system, figures=figures, source=source)


_MMLA = "MMLA, arXiv 2504.16427, read off a bar chart, test part"
_EMODYNAMIX = "EmoDynamiX, NAACL 2025"
_MESC = "MultiMood, AAAI-26, Table 4 (F1 there is weighted; the averaging of SMES is not stated)"
_ANNOMI_LAYOUT = "one CSV: split (train, dev or test), transcript_id, utterance_id, label, text"

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "annomi-behaviour",
            "MMLA split of AnnoMI, therapist utterances, one utterance as input",
            _ANNOMI_LAYOUT,
            ANNOMI_BEHAVIOURS,
            _annomi,
            (
                _row("Qwen2-7B text, zero-shot", _MMLA, accuracy=0.542),
                _row("Qwen2-7B text, tuned", _MMLA, accuracy=0.755),
                _row("VideoLLaMA2-7B, zero-shot", _MMLA, accuracy=0.357),
                _row("VideoLLaMA2-7B, tuned", _MMLA, accuracy=0.762),
                _row("LLaVA-OV-72B, tuned", _MMLA, accuracy=0.778),
                _row("GPT-4o, zero-shot", _MMLA, accuracy=0.550),
            ),
            {"train": 3161, "dev": 472, "test": 1140},
        ),
        Suite(
            "annomi-talk",
            "MMLA split of AnnoMI, client utterances, one utterance as input",
            _ANNOMI_LAYOUT,
            ANNOMI_TALK,
            _annomi,
            (
                _row("Qwen2-7B text, zero-shot", _MMLA, accuracy=0.499),
                _row("Qwen2-7B text, tuned", _MMLA, accuracy=0.646),
                _row("VideoLLaMA2-7B, zero-shot", _MMLA, accuracy=0.203),
                _row("VideoLLaMA2-7B, tuned", _MMLA, accuracy=0.645),
                _row("LLaVA-OV-72B, tuned", _MMLA, accuracy=0.677),
                _row("GPT-4o, zero-shot", _MMLA, accuracy=0.289),
            ),
            {"train": 3123, "dev": 461, "test": 1129},
        ),
        Suite(
            "goemotions",
            "GoEmotions, Ekman groups, published split; comments with one group only, unlike the published task",
            "two TSV files without header, train then test: text, label number, id",
            EKMAN,
            _goemotions,
            (_row("BERT-base", "Demszky et al. 2020, multi-label", macro_f1=0.6238),),
        ),
        Suite(
            "epitome",
            "EPITOME, level of one mechanism; every fifth seeker held out, since the published split is not released",
            "one CSV per mechanism: sp_id, rp_id, seeker_post, response_post, level (0 to 2)",
            EPITOME_LEVELS,
            _epitome,
            (),
        ),
        Suite(
            "meld",
            "MELD, published split, one utterance as input",
            "two CSV files, train then test: Utterance, Speaker, Emotion, Dialogue_ID, Utterance_ID",
            EKMAN,
            _meld,
            (
                _row("Qwen2-7B text, tuned", _MMLA, accuracy=0.657),
                _row("VideoLLaMA2-7B, tuned", _MMLA, accuracy=0.638),
                _row("GPT-4o, zero-shot", _MMLA, accuracy=0.512),
            ),
            {"train": 9989, "test": 2610},
        ),
        Suite(
            "emodynamix-annomi",
            "EmoDynamiX, next strategy on AnnoMI, 7 classes, the dialogue before as input",
            "two CSV files, train then test: Dialogue_History, Next_Strategy (0 to 6)",
            EMODYNAMIX_ANNOMI,
            _emodynamix_annomi,
            (_row("EmoDynamiX", _EMODYNAMIX, macro_f1=0.2792, weighted_f1=0.3533, preference_bias=0.50),),
            {"train": 3450, "test": 477},
        ),
        Suite(
            "emodynamix-esconv",
            "EmoDynamiX, next strategy on ESConv, 8 classes, the dialogue before as input",
            "two CSV files, train (or valid), then test: Dialogue_History, Next_Strategy (0 to 7)",
            EMODYNAMIX_ESCONV,
            _emodynamix_esconv,
            (
                _row("EmoDynamiX", _EMODYNAMIX, macro_f1=0.2770, weighted_f1=0.3271, preference_bias=0.45),
                _row("TransESC", _EMODYNAMIX, macro_f1=0.2628, weighted_f1=0.3133),
                _row("Llama3-8B, tuned", _EMODYNAMIX, macro_f1=0.2591, weighted_f1=0.2982),
                _row("ChatGPT", _EMODYNAMIX, macro_f1=0.1814, weighted_f1=0.2027),
                _row("Llama3-70B", _EMODYNAMIX, macro_f1=0.1536, weighted_f1=0.1846),
            ),
            {"test": 2895},
        ),
        Suite(
            "mesc-emotion",
            "MESC, published split of dialogues, client emotion of the utterance shown with the three before it. The "
            "published systems are told the labels of earlier turns, drop answers that cannot be read and weigh F1 by "
            "class; every test episode also stands in train",
            f"{mesc.LAYOUT}, then train.json, valid.json, test.json",
            load_codebook().names(Task.EMOTION),
            mesc.emotions,
            (
                _row("SMES", _MESC, accuracy=0.546, weighted_f1=0.468),
                _row("VideoLLaMA2-72B, zero-shot", _MESC, accuracy=0.5506, weighted_f1=0.5568),
                _row("Emotion-LLaMA, tuned", _MESC, accuracy=0.4612, weighted_f1=0.4195),
                _row("GPT-4o, zero-shot", _MESC, accuracy=0.3898, weighted_f1=0.4356),
                _row("Qwen2.5-7B, tuned", _MESC, accuracy=0.53, weighted_f1=0.5113),
                _row("MultiMood, SFT+GRPO", _MESC, accuracy=0.586, weighted_f1=0.5778),
            ),
        ),
        Suite(
            "mesc-emotion-episodes",
            "MESC, every fifth episode held out, client emotion of the utterance shown with the three before it; no "
            "published row has this protocol",
            mesc.LAYOUT,
            load_codebook().names(Task.EMOTION),
            mesc.emotions_by_episode,
            (),
        ),
        Suite(
            "mesc-strategy",
            "MESC, published split of dialogues, strategy of the next therapist utterance from the three before it",
            f"{mesc.LAYOUT}, then train.json, valid.json, test.json",
            load_codebook().names(Task.STRATEGY),
            mesc.strategies,
            (
                _row("BlenderBot, tuned", _MESC, accuracy=0.48, weighted_f1=0.461),
                _row("SMES", _MESC, accuracy=0.49, weighted_f1=0.202),
                _row("VideoLLaMA2-72B, zero-shot", _MESC, accuracy=0.2577, weighted_f1=0.2609),
                _row("GPT-4o, zero-shot", _MESC, accuracy=0.2488, weighted_f1=0.2626),
                _row("Qwen2.5-7B, tuned", _MESC, accuracy=0.3514, weighted_f1=0.3446),
                _row("MultiMood, SFT+GRPO", _MESC, accuracy=0.4281, weighted_f1=0.3965),
            ),
        ),
        Suite(
            "mesc-strategy-episodes",
            "MESC, every fifth episode held out, strategy of the next therapist utterance from the three before it; no "
            "published row has this protocol",
            mesc.LAYOUT,
            load_codebook().names(Task.STRATEGY),
            mesc.strategies_by_episode,
            (),
        ),
    )
}
"""Every suite of labelled texts by its name."""

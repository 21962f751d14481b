"""The dataset card: what is in the dataset, where it comes from, what it is for, and what it must not be used for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_therapist.dataset.publish import FEATURES, Feature
from ai_therapist.dataset.render import LABEL_FIELDS, Field, label_of
from ai_therapist.privacy.redaction.report import ResidualRisk
from ai_therapist.records import Consent, Example, Split, load_codebook


@dataclass(frozen=True)
class Lineage:
    """Where the examples come from."""

    consents: Mapping[str, Consent]
    """Consent record of each session, by its readable name."""
    annotators: tuple[str, ...]
    transcribers: tuple[str, ...]
    withheld: tuple[str, ...]
    """Sessions that do not permit publishing."""
    redaction: ResidualRisk | None = None
    """What was replaced; None where the words are as they were said."""


def render_card(examples: Sequence[Example], tables: Mapping[Split, Path], lineage: Lineage) -> str:
    """README.md of the dataset: YAML front matter with files, features and splits, then the card in Markdown."""
    sections = (
        _front_matter(examples, tables),
        _INTRODUCTION,
        _contents(examples),
        _labels(examples),
        _provenance(lineage),
        _redaction(lineage.redaction),
        _USE,
    )
    return "\n".join(sections)


def yaml_features(features: Mapping[str, Feature], indent: int) -> list[str]:
    """Columns as lines of YAML in the form of `dataset_info.features`, indented by `indent` spaces."""
    return [line for name, kind in features.items() for line in _yaml_feature(name, kind, " " * indent)]


def _yaml_feature(name: str, kind: Feature, space: str) -> list[str]:
    head = f"{space}- name: {name}"
    if isinstance(kind, str):
        return [head, f"{space}  dtype: {kind}"]
    if isinstance(kind, Mapping):
        return [head, f"{space}  struct:", *yaml_features(kind, len(space) + 2)]
    inner = kind[0]
    if isinstance(inner, Mapping):
        return [head, f"{space}  list:", *yaml_features(inner, len(space) + 2)]
    return [head, f"{space}  list: {inner}"]


def _front_matter(examples: Sequence[Example], tables: Mapping[Split, Path]) -> str:
    sizes = Counter(example.split for example in examples)
    lines = [
        "---",
        "language: en",
        "pretty_name: Counselling dialogue with emotions and strategies",
        "task_categories:",
        "- text-generation",
        "- text-classification",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split, path in tables.items():
        lines += [f"  - split: {split.value}", f"    path: data/{path.name}"]
    lines += ["dataset_info:", "  features:", *yaml_features(FEATURES, 2), "  splits:"]
    for split, path in tables.items():
        size = path.stat().st_size
        lines += [f"  - name: {split.value}", f"    num_bytes: {size}", f"    num_examples: {sizes[split]}"]
    return "\n".join([*lines, "---", ""])


_INTRODUCTION = """# Counselling dialogue with emotions and strategies

Each row goes from a client's turn, with the talk before it, to the therapist's reply. Its labels are the client's
emotion, the therapist's strategy and the therapist's emotion. Context holds words only, never a label, and every
reply is the target of one row. Clips are named by the sha256 of their file; no media is included.

**This is research data. It is not a medical device, and nothing made with it is a therapist.**
"""


def _contents(examples: Sequence[Example]) -> str:
    rows = []
    for split in Split:
        own = [example for example in examples if example.split is split]
        rows.append(
            f"| {split.value} | {len(own)} | {len({e.session for e in own})} | {len({e.group for e in own})} "
            f"| {sum(e.clip is not None for e in own)} |"
        )
    return "\n".join(
        [
            "## Splits",
            "",
            "| split | rows | sessions | groups | rows with a clip |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "A group (client, pair or channel) lies in one split. The split follows from a hash of the group and is",
            "remembered, so that more data moves nothing. Training rows whose reply nearly repeats a held-out one",
            "were left out.",
            "",
        ]
    )


def _labels(examples: Sequence[Example]) -> str:
    lines = [f"## Labels (codebook {load_codebook().version})", ""]
    for field in LABEL_FIELDS:
        counts = Counter(label_of(example.labels, field) for example in examples)
        lines += [
            f"| {field.value} | " + " | ".join(split.value for split in Split) + " | all |",
            "|---|---|---|---|---|",
        ]
        for name in (*field.choices, None):
            if counts[name]:
                lines.append(_label_row(name, field, examples, counts[name]))
        lines.append("")
    return "\n".join(lines)


def _label_row(name: str | None, field: Field, examples: Iterable[Example], total: int) -> str:
    by_split = Counter(example.split for example in examples if label_of(example.labels, field) == name)
    cells = " | ".join(str(by_split[split]) for split in Split)
    return f"| {'(no label)' if name is None else name} | {cells} | {total} |"


def _provenance(lineage: Lineage) -> str:
    bases = Counter(consent.basis.value for consent in lineage.consents.values())
    withheld = len(lineage.withheld)
    return "\n".join(
        [
            "## Provenance",
            "",
            *(f"- Words: {name}" for name in lineage.transcribers),
            *(f"- Labels: {name}" for name in lineage.annotators),
            *(f"- Consent: {basis}, {number} session(s)" for basis, number in sorted(bases.items())),
            f"- Publishing: {len(lineage.consents) - withheld} of {len(lineage.consents)} sessions permit it"
            + (". **This folder must not be given away as it is.**" if withheld else "."),
            "",
        ]
    )


def _redaction(risk: ResidualRisk | None) -> str:
    if risk is None:
        return "## Redaction\n\nNone. **The words are as they were said.** They may name people.\n"
    return "\n".join(
        [
            "## Redaction",
            "",
            "Rules without a model replaced what identifies people by stand-ins, the same one for the same person",
            f"within a session; {risk.rows_touched} of {risk.rows} rows were touched. Rules miss some names, above all",
            "unusual ones in lower case: before giving this folder away, have a person read these rows:",
            ", ".join(risk.sample) + ".",
            "",
            "| replaced | times |",
            "|---|---|",
            *(f"| {kind} | {number} |" for kind, number in risk.replaced.items()),
            "",
        ]
    )


_USE = """## Intended use

Research on emotion and strategy in counselling dialogue: training and evaluating models offline, with people in
charge of every conclusion.

## Prohibited use

Diagnosis, treatment or triage of anyone; talking to people in distress; inferring the emotions of people at work or
in education; recognising the people who speak; any use that the consent records do not permit.

## Limits

Labels are made by the annotators named above and are no clinical judgement; where an annotator abstained or
annotators differ there is no label. Words come from the transcribers named above, with their errors. Small label
counts support no claim about a class.
"""

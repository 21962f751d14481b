"""The dataset card: what is in the dataset, where it comes from, what it is for, and what it must not be used for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_therapist.dataset.contents import Contents, Filled, Lineage, agreed, answered, sources
from ai_therapist.dataset.render import LABEL_FIELDS
from ai_therapist.dataset.rows import REPLIES, SESSIONS, TURNS
from ai_therapist.dataset.tables import Feature, Row
from ai_therapist.privacy.redaction.report import ResidualRisk
from ai_therapist.records import Split, load_codebook


def render_card(contents: Contents) -> str:
    """README.md of the dataset: YAML front matter with files, features and splits, then the card in Markdown."""
    sections = (
        front_matter(contents.tables, contents.folder),
        _INTRODUCTION,
        _configurations(contents),
        _splits(contents),
        _labels(contents.of(REPLIES)),
        _votes(contents),
        _provenance(contents.lineage),
        _redaction(contents.lineage.redaction),
        _USE,
    )
    return "\n".join(sections)


def front_matter(tables: Sequence[Filled], folder: Path) -> str:
    """The YAML header: which files below `folder` make which split of which configuration, and its columns' types.

    A file may be a pattern that stands for several.
    """
    number = sum(len(rows) for rows in tables[0].rows.values())
    lines = [
        "---",
        "language: en",
        "pretty_name: Counselling dialogue with emotions and strategies",
        "license: other",
        "license_name: rights-records-of-the-sessions",
        "license_link: consent-manifest.json",
        "size_categories:",
        f"- {_size_category(number)}",
        "task_categories:",
        "- text-generation",
        "- text-classification",
        *_GATE,
        "configs:",
    ]
    for filled in tables:
        lines += [f"- config_name: {filled.table.name}", "  data_files:"]
        for split, path in filled.files.items():
            lines += [f"  - split: {split.value}", f"    path: {path.relative_to(folder).as_posix()}"]
    lines.append("dataset_info:")
    for filled in tables:
        lines += [f"- config_name: {filled.table.name}", "  features:", *yaml_features(filled.table.features, 2)]
        lines.append("  splits:")
        for split, path in filled.files.items():
            size = sum(file.stat().st_size for file in folder.glob(path.relative_to(folder).as_posix()))
            lines += [f"  - name: {split.value}", f"    num_bytes: {size}"]
            lines.append(f"    num_examples: {len(filled.rows[split])}")
    return "\n".join([*lines, "---", ""])


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


_GATE = [
    "extra_gated_heading: Access is decided by a person",
    "extra_gated_prompt: >-",
    "  I will use this dataset for research only. I will not try to identify the people who speak, will not use it to",
    "  diagnose, treat or watch anyone, and will delete my copies when I am told that a consent was withdrawn.",
    "extra_gated_fields:",
    "  Name: text",
    "  Affiliation: text",
    "  Purpose: text",
    "  I accept these terms: checkbox",
]
"""What the Hub asks of everyone who wants access, once gating is on."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _size_category(size: int) -> str:
    return next((name for limit, name in _SIZES if size < limit), "1M<n<10M")


_INTRODUCTION = """# Counselling dialogue with emotions and strategies

**This is research data. It is not a medical device, and nothing made with it is a therapist.**

Two tasks, in two configurations that must not be mixed: `default` asks to **predict what comes next** (a row goes from
a client's turn, with the talk before it, to the therapist's reply; context holds words only, never a label, and every
reply is the target of one row), `clips` **labels what was said** (a row is one turn with its own label). Clips are
named by the sha256 of their file; no media is included.
"""


def _configurations(contents: Contents) -> str:
    rows = [
        f"| `{filled.table.name}` | {filled.table.about} | {sum(map(len, filled.rows.values()))} |"
        for filled in contents.tables
    ]
    return "\n".join(["## Configurations", "", "| name | holds | rows |", "|---|---|---|", *rows, ""])


def _splits(contents: Contents) -> str:
    rows = []
    for split in Split:
        replies = contents.of(REPLIES).rows.get(split, ())
        turns = contents.of(TURNS).rows.get(split, ())
        sessions = contents.of(SESSIONS).rows.get(split, ())
        rows.append(
            f"| {split.value} | {len(replies)} | {len(turns)} | {len(sessions)} "
            f"| {len({row['group'] for row in sessions})} | {sum(row['clip_sha256'] is not None for row in replies)} |"
        )
    return "\n".join(
        [
            "## Splits",
            "",
            "| split | replies | turns | sessions | groups | replies with a clip |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "A group (client, pair or channel) lies in one split. The split follows from a hash of the group and is",
            "remembered, so that more data moves nothing. Training rows of `default` and `clips` that nearly",
            "repeat a held-out reply or turn were left out.",
            "",
        ]
    )


def _labels(replies: Filled) -> str:
    lines = [f"## Labels of `default` (codebook {load_codebook().version})", ""]
    rows = list(replies.all_rows())
    for field in LABEL_FIELDS:
        column = field.name.lower()
        counts = Counter(row[column] for _, row in rows)
        lines += [
            f"| {field.value} | " + " | ".join(split.value for split in Split) + " | all |",
            "|---|---|---|---|---|",
        ]
        lines += [_label_row(name, column, rows, counts[name]) for name in (*field.choices, None) if counts[name]]
        lines.append("")
    return "\n".join(lines)


def _label_row(name: str | None, column: str, rows: Sequence[tuple[Split, Row]], total: int) -> str:
    by_split = Counter(split for split, row in rows if row[column] == name)
    cells = " | ".join(str(by_split[split]) for split in Split)
    return f"| {'(no label)' if name is None else name} | {cells} | {total} |"


def _votes(contents: Contents) -> str:
    lines = ["## Whose labels", "", contents.lineage.rule, ""]
    lines += ["| label of `default` | by people | by models | none |", "|---|---|---|---|"]
    for column, counts in sources(contents).items():
        lines.append(f"| {column} | {counts['people']} | {counts['models']} | {counts[None]} |")
    lines += ["", "| task | annotator | asked | abstained |", "|---|---|---|---|"]
    for each in answered(contents):
        share = f"{each.abstained} ({each.abstained / each.asked:.1%})"
        lines.append(f"| {each.task} | {each.annotator} | {each.asked} | {share} |")
    both = agreed(contents)
    lines += ["", "Agreement, not corrected for chance:" if both else "Agreement: no question was labelled twice."]
    for (task, side), (several, same) in both.items():
        lines.append(f"- {task}, {side}: {same} of {several} questions that several labelled have one label")
    return "\n".join([*lines, ""])


def _provenance(lineage: Lineage) -> str:
    bases = Counter(consent.basis.value for consent in lineage.consents.values())
    withheld = len(lineage.withheld)
    return "\n".join(
        [
            "## Provenance and consent",
            "",
            *(f"- Words: {name}" for name in lineage.transcribers),
            *(f"- Labels: {name}" for name in lineage.annotators),
            *(f"- Consent: {basis}, {number} session(s)" for basis, number in sorted(bases.items())),
            f"- Publishing: {len(lineage.consents) - withheld} of {len(lineage.consents)} sessions permit it"
            + (". **This folder must not be given away as it is.**" if withheld else "."),
            "- `consent-manifest.json` lists every session with what its rights record permits.",
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

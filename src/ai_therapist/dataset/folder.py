"""The dataset as a folder that `datasets.load_dataset` reads: four tables, a card, and the papers for giving it away.

README.md, croissant.json                     for people and for programs
data/train-00000-of-00001.parquet …           replies to predict (configuration `default`)
clips/… sessions/… labels/…                   the other configurations
consent-manifest.json, redaction-report.json  whose permission it rests on; what was redacted
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_therapist.dataset.build import SessionParts
from ai_therapist.dataset.card import render_card
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.contents import Contents, Filled, Lineage
from ai_therapist.dataset.croissant import CROISSANT, render_croissant
from ai_therapist.dataset.leakage import repeated_turns
from ai_therapist.dataset.manifest import MANIFEST, REPORT, manifest_of, report_of
from ai_therapist.dataset.redact import Redaction
from ai_therapist.dataset.rows import LABELS, REPLIES, SESSIONS, TURNS, label_rows, reply_row, session_row, turn_rows
from ai_therapist.dataset.tables import Row, Table, by_split, write_table
from ai_therapist.dataset.votes import Votes, rule_of
from ai_therapist.privacy.redaction.report import ResidualRisk
from ai_therapist.privacy.release import withheld
from ai_therapist.records import Example, Split
from ai_therapist.store.codec import encode


def write_folder(
    folder: Path,
    sessions: Sequence[SessionParts],
    splits: Mapping[str, Split],
    examples: Sequence[Example],
    config: DatasetConfig,
) -> None:
    """Write the dataset folder of these sessions; `splits` by group. Raises MissingExtra where pyarrow is missing, and
    ConfigError where the name finder is."""
    risk = None
    texts: dict[str, str] = {}
    if config.redact:
        redaction = Redaction((parts.transcript for parts in sessions), config.name_finder)
        examples = redaction.examples(examples)
        for parts in sessions:
            texts |= redaction.turns(parts.transcript)
        risk = redaction.risk()
    else:
        texts = {turn.id: turn.text for parts in sessions for turn in parts.transcript.utterances}
    rows: dict[str, list[tuple[Split, Row]]] = {
        REPLIES.name: [(example.split, reply_row(example)) for example in examples],
        TURNS.name: [],
        SESSIONS.name: [],
        LABELS.name: [],
    }
    for parts in sessions:
        split = splits[parts.session.group]
        votes = Votes(parts.annotations, parts.decisions, config)
        rows[TURNS.name] += [(split, row) for row in turn_rows(parts, votes, texts)]
        rows[SESSIONS.name].append((split, session_row(parts)))
        rows[LABELS.name] += [(split, row) for row in label_rows(parts)]
    repeats = repeated_turns([(split, str(row["text"])) for split, row in rows[TURNS.name]], config.near_duplicate)
    rows[TURNS.name] = [each for place, each in enumerate(rows[TURNS.name]) if place not in repeats]
    folder.mkdir(parents=True, exist_ok=True)
    tables = tuple(_filled(table, rows[table.name], folder) for table in (REPLIES, TURNS, SESSIONS, LABELS))
    contents = Contents(folder, tables, _lineage(sessions, risk, config))
    (folder / MANIFEST).write_bytes(encode(manifest_of(parts.session for parts in sessions)))
    if risk is not None:
        (folder / REPORT).write_bytes(encode(report_of(risk)))
    (folder / CROISSANT).write_bytes(render_croissant(contents))
    (folder / "README.md").write_text(render_card(contents), "utf-8")


def _filled(table: Table, rows: Sequence[tuple[Split, Row]], folder: Path) -> Filled:
    sorted_rows = by_split(rows)
    return Filled(table, sorted_rows, write_table(table, sorted_rows, folder))


def _lineage(sessions: Sequence[SessionParts], risk: ResidualRisk | None, config: DatasetConfig) -> Lineage:
    consents = {parts.session.name: parts.session.consent for parts in sessions}
    answers = [note for parts in sessions for note in (*parts.annotations, *parts.decisions)]
    return Lineage(
        consents=consents,
        annotators=tuple(sorted({note.provenance.annotator for note in answers})),
        transcribers=tuple(sorted({parts.transcript.transcriber for parts in sessions})),
        withheld=withheld(consents),
        redaction=risk,
        rule=rule_of(config),
    )

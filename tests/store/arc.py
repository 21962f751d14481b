"""A workspace with everything the arc leaves behind, each piece marked with words that occur nowhere else."""

from __future__ import annotations

import gzip
import importlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.run import build_dataset
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import SourceRecord
from ai_therapist.store.actions import ActionRecord, QuarantineRecord
from ai_therapist.store.codec import canonical_json, encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status, Workspace
from ai_therapist.testing import make_digest
from tests.dataset.builders import make_parts, make_talk, save_annotated

SECONDS_A_TURN = 4000


@dataclass
class Planted:
    """A session and the words that must be gone with it."""

    name: str
    id: str = ""
    recording: bytes = b""
    words: list[str] = field(default_factory=list)

    def word(self) -> str:
        """A fresh word of this session."""
        self.words.append(f"q{make_digest(self.name)[:5]}x{len(self.words):04d}z")
        return self.words[-1]


class Arc:
    """Builds the workspace session by session."""

    def __init__(self, root: Path, store_url: str = "") -> None:
        self.workspace = Workspace(root, store_url)
        self.planted: list[Planted] = []
        self._items: list[ItemRecord] = []

    def add(self, name: str, turns: int = 40, words_a_turn: int = 6) -> Planted:
        """A session through extraction and annotation."""
        here = Planted(name)
        store = self.workspace.store
        here.recording = " ".join(here.word() for _ in range(20)).encode()
        sha256 = store.put_bytes(here.recording)
        base = make_parts(name)
        media = base.session.media.model_copy(update={"sha256": sha256})
        source = SourceRecord(name=name, sha256=sha256, group=here.word(), consent=base.session.consent)
        here.id = source.session_id
        session = base.session.model_copy(
            update={"id": here.id, "media": media, "group": source.group, "consent": source.consent}
        )
        talk = make_talk(
            session,
            *(
                ("AB"[turn % 2], turn * SECONDS_A_TURN, turn * SECONDS_A_TURN + 3000, self._line(here, words_a_turn))
                for turn in range(turns)
            ),
        )
        parts = make_parts(name, talk)
        parts = type(parts)(session, talk, parts.clips, parts.annotations)
        save_annotated(self.workspace, [parts])
        (saved,) = self.workspace.load_run("annotation", "annotate").items
        outside = {"source": store.put_bytes(encode(source)), "recording": sha256}
        outputs = {"audio": store.put_bytes(here.word().encode()), "starts": store.put_bytes(b"[]"), **saved.artefacts}
        outputs |= {"clip/one": store.put_bytes(here.word().encode())}
        records = {part.id: "utterances" for part in talk.utterances} | {here.id: "session"}
        action = self.act(f"extract {name}", here.id, outside, outputs, records)
        self.workspace.show(
            f"sessions/{name}", {"words.json": outputs["utterances"], "clips/a.mp4": outputs["clip/one"]}
        )
        artefacts = {**outside, **outputs}
        self._items.append(saved.model_copy(update={"item": here.id, "artefacts": artefacts, "actions": (action.key,)}))
        store.quarantine(
            QuarantineRecord(key=make_digest(f"bad {name}"), stage="cut", item=here.id, reason=here.word(), attempts=3)
        )
        self.planted.append(here)
        return here

    def _line(self, here: Planted, words: int) -> str:
        return " ".join(here.word() for _ in range(words))

    def act(
        self,
        key: str,
        item: str,
        inputs: dict[str, str],
        outputs: dict[str, str],
        records: dict[str, str] | None = None,
    ) -> ActionRecord:
        """Commit an action and enter it in the index."""
        record = self.workspace.store.commit(
            ActionRecord(
                key=make_digest(key),
                stage=key.split()[0],
                version=1,
                item=item,
                config={},
                tools={},
                inputs=inputs,
                outputs=outputs,
                records=records or {},
                counts={},
            )
        )
        self.workspace.index.add(record)
        return record

    def finish(self) -> None:
        """Ledgers, a real dataset, and what training, evaluation and a killed run leave of all sessions."""
        workspace, store = self.workspace, self.workspace.store
        for run in ("extraction", "annotation"):
            self.ledger(run, self._items)
        build_dataset(workspace, DatasetConfig(), InlineExecutor(store))
        (dataset,) = workspace.load_run("dataset", "dataset").items
        everything = " ".join(word for one in self.planted for word in one.words)
        folder = workspace.root / "made"
        folder.mkdir()
        (folder / "tokenizer.json").write_text(everything)
        (folder / "state.json.gz").write_bytes(gzip.compress(everything.encode()))
        model = store.put_tree(folder)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        base = store.put_bytes(b"weights of the base, which learned from nobody here")
        self.act("finetuning.base", "model", {}, {"base": base})
        clips = store.put_bytes(canonical_json([item.artefacts["clip/one"] for item in self._items]))
        features = store.put_bytes(everything[::-1].encode())
        encode_clips = self.act("features", "model", {"base": base, "clip_digests": clips}, {"features": features})
        train = self.act(
            "finetuning.train",
            "model",
            {"base": base, "features": features, "examples": dataset.artefacts["examples"]},
            {"model": model},
        )
        self.ledger("finetuning", [_item("model", {"model": model}, encode_clips, train)])
        page = store.put_bytes(f"<html>{everything}</html>".encode())
        report = self.act("evaluation", "report", {"model": model}, {"report": page, "page": page})
        self.ledger("evaluation", [_item("report", {"page": page}, report)])
        workspace.report_json.write_text(json.dumps({"seen": [one.id for one in self.planted]}))
        workspace.report_html.write_text(everything)
        workspace.show("evaluation", {"report.html": page})
        (workspace.root / "runs" / "seconds.json").write_text("{}")
        store.put_bytes(f"never committed: {everything}".encode())
        (store.work(make_digest("unfinished")) / "checkpoint").write_text(everything)
        for one in self.planted:
            source = workspace.root.parent / f"{one.name}-{one.words[0]}.mp4"
            source.write_bytes(one.recording)
            workspace.index.source_digest(source)

    def ledger(self, run: str, items: Iterable[ItemRecord]) -> None:
        """Save a ledger."""
        lines = tuple(items)
        self.workspace.save_run(RunRecord(run=run, config={}, read=len(lines), items=lines))


def _item(name: str, artefacts: dict[str, str], *actions: ActionRecord) -> ItemRecord:
    return ItemRecord(
        item=name,
        name=name,
        status=Status.DONE,
        reason=None,
        artefacts=artefacts,
        actions=tuple(action.key for action in actions),
        counts={},
    )


def make_arc(root: Path, *names: str, turns: int = 40, store_url: str = "") -> Arc:
    """A finished workspace with these sessions."""
    arc = Arc(root, store_url)
    for name in names:
        arc.add(name, turns)
    arc.finish()
    return arc


def found_in(root: Path, words: Iterable[str]) -> set[str]:
    """Those of `words` that stand in any byte or name below `root`, compressed, columnar and SQL files opened."""
    sought = [word.encode() for word in words]
    hits: set[str] = set()
    for path in root.rglob("*"):
        held = path.relative_to(root).as_posix().encode()
        if path.is_file():
            held += b"\n" + _opened(path)
        hits |= {word.decode() for word in sought if word in held or word[::-1] in held}
    return hits


def _opened(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        return data + gzip.decompress(data)
    if data[:4] == b"PAR1":
        table = importlib.import_module("pyarrow.parquet").read_table(path)
        return data + json.dumps(table.to_pylist()).encode()
    if data[:15] == b"SQLite format 3":
        with closing(sqlite3.connect(path)) as db:
            return data + "\n".join(db.iterdump()).encode()
    return data

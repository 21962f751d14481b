"""A real fault storm: the vendor's library, a server on this machine, every way of failing, one whole run."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.rates import describe_endings, endings
from ai_therapist.annotation.run import annotate
from ai_therapist.models.options import ModelOptions
from ai_therapist.models.turn_lines import read_turns
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Abstention, Annotation, Label, Task, Transcript, load_codebook
from ai_therapist.records.message import Message
from ai_therapist.store.codec import decode, decode_all
from ai_therapist.store.workspace import RunRecord, Status, Workspace
from tests.annotation.builders import make_extraction
from tests.annotation.faults import truth
from tests.loopback_models import Asked, ModelServer, Said, failing, gzipped, openai_says, serving

TEXTS = [f"{word} number {place}" for place, word in enumerate(["so", "and then she left", "hm", "tell me more"] * 8)]
OPTIONS = ModelOptions(requests_per_minute=60_000, attempts=4, timeout_s=0.2)


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_therapist.pipeline.limits._LONGEST_REST_S", 0.01)
    monkeypatch.setattr("ai_therapist.pipeline.limits._FIRST_PAUSE_S", 0.05)


def honest(asked: Asked) -> str:
    """The reply that fits the words of the turn in question."""
    schema = asked.json["response_format"]["json_schema"]["schema"]["properties"]
    ((key, form),) = schema.items()
    turn = read_turns([Message.of_text("user", asked.json["messages"][-1]["content"])])[-1]
    return json.dumps({key: truth(turn.text, form["enum"])})


class Storm:
    """Answers with a random fault most of the time."""

    def __init__(self, seed: int, share: float = 0.6) -> None:
        self._rng = random.Random(seed)
        self.share = share
        self.seen: Counter[str] = Counter()

    def __call__(self, asked: Asked) -> Said:
        if self._rng.random() >= self.share:
            return openai_says(honest(asked))
        faults = {
            "429": failing(429, Retry_After="0.01"),
            "429 garbled": failing(429, Retry_After="NaN"),
            "500": failing(500),
            "503": failing(503),
            "timeout": Said(body=openai_says("x").body, delay_s=0.3),
            "hang up": Said(hang_up=True),
            "reset": Said(reset=True),
            "cut": Said(body=openai_says(honest(asked)).body, cut=60),
            "html": Said(body=b"<html>", headers={"Content-Type": "text/html"}),
            "gzip": gzipped(openai_says(honest(asked))),
            "refusal": openai_says(None, refusal="I will not."),
            "filter": openai_says("", finish="content_filter"),
            "length": openai_says('{"emotion": "jo', finish="length"),
            "unknown": openai_says('{"emotion": "serenity"}'),
            "prose": openai_says("The emotion is joy, I would say."),
            "two": openai_says('{"emotion": "joy"} {"emotion": "fear"}'),
            "empty": openai_says(""),
            "megabyte": openai_says("joy " * 250_000),
            "nan": openai_says('{"emotion": NaN}'),
            "bomb": openai_says("[" * 60_000),
            "outer bomb": Said(body=b"[" * 60_000),
            "list": openai_says('["joy"]'),
            "number": openai_says('{"emotion": 1e999}'),
            "null": openai_says('{"emotion": null}'),
            "doubled": openai_says('{"emotion": "joy", "emotion": "fear"}'),
            "bytes": Said(body=b"\xff\xfe\x00"),
            "400": failing(400),
        }
        name = self._rng.choice(sorted(faults))
        self.seen[name] += 1
        return faults[name]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with serving(Storm(7)) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        yield running


def run(workspace: Workspace) -> RunRecord:
    config = AnnotationConfig(annotator="openai:stormy", model=OPTIONS, context_turns=2)
    return annotate(workspace, config, InlineExecutor(workspace.store))


def test_a_storm_makes_no_label_up_and_the_counts_add_up(server: ModelServer, tmp_path: Path) -> None:
    workspace = make_extraction(tmp_path / "w", "one", texts=TEXTS)
    storm = server.answer
    assert isinstance(storm, Storm)
    for _ in range(60):
        record = run(workspace)
        if record.items[0].status is Status.DONE:
            break
        assert record.items[0].status is Status.SKIPPED
        storm.share *= 0.9
    (item,) = record.items
    assert item.status is Status.DONE, "the storm is over, and it is not done"
    annotations = decode_all(Annotation, workspace.store.read(item.artefacts["annotations"]), "annotations")
    turns = decode(Transcript, workspace.store.read(item.artefacts["utterances"]), "utterances").utterances
    words = {turn.id: turn.text for turn in turns}
    for annotation in annotations:
        if isinstance(annotation.outcome, Label):
            labels = load_codebook().names(Task(annotation.task))
            assert annotation.label == truth(words[annotation.utterance], labels)
        assert annotation.provenance.annotator == "openai:stormy@127.0.0.1"
    totals = endings(record)
    assert len(annotations) == totals["questions"] == 48
    assert sum(totals[name] for name in ("labels", "unsure", "invalid", "empty", "refused", "not_asked")) == 48
    abstained = sum(isinstance(annotation.outcome, Abstention) for annotation in annotations)
    assert totals["labels"] == 48 - abstained
    assert totals["invalid"] + totals["refused"] > 0
    (line,) = describe_endings(record)
    assert line.startswith("48 questions to annotators in ")
    assert len(storm.seen) >= 20, "the storm was no storm"
    (unread,) = (name for name in item.artefacts if name.startswith("unread/"))
    kept = json.loads(workspace.store.read(item.artefacts[unread]))
    assert max(len(each["reply"]) for each in kept) <= 4_001
    assert {each["reason"] for each in kept} >= {"the model refused"} or totals["refused"] == 0
    asked = len(server.asked)
    assert run(workspace).items[0].status is Status.DONE
    assert len(server.asked) == asked, "what is done is not asked again"

"""Answers survive a kill at any byte, and a question that was answered is not asked again."""

import json
from pathlib import Path

import pytest

from ai_therapist.annotation.annotate import NO_CLIPS, Annotator, annotate_turns
from ai_therapist.annotation.config import AnnotationConfig
from ai_therapist.annotation.journal import Answer, Journal, question_digest
from ai_therapist.errors import InvalidRecord, NoAnswer
from ai_therapist.models.scripted import ScriptedGenerator
from ai_therapist.records import Abstention, Task, load_codebook
from ai_therapist.testing import make_digest, make_session
from tests.annotation.builders import make_turns


def some_answers() -> list[Answer]:
    return [
        Answer(question=make_digest("a"), reply='{"emotion": "joy"}'),
        Answer(question=make_digest("b"), scores={"joy": 0.25, "fear": 0.75}),
        Answer(question=make_digest("c"), refusal="the model refused", reply="no\n\u2028line"),
    ]


def test_what_was_kept_is_found_after_a_kill_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    journal = Journal(path)
    for answer in some_answers():
        journal.keep(answer)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        again = Journal(path)
        lines = whole[:size].count(b"\n")
        expected = [*some_answers()[:lines], *[None] * (3 - lines)]
        assert [again.find(answer.question) for answer in some_answers()] == expected
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:lines])
    Journal(path).keep(some_answers()[2])
    assert Journal(path).find(make_digest("c")) == some_answers()[2]


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"something": "else"}\n')
    with pytest.raises(InvalidRecord):
        Journal(tmp_path / "answers.jsonl")


def test_an_answered_question_is_not_asked_again(tmp_path: Path) -> None:
    session = make_session()
    turns = make_turns(session, "a", "b", "c")
    config = AnnotationConfig(tasks=(Task.EMOTION,))
    replies: list[str | Exception] = [
        "no json",
        '{"emotion": "joy"}',
        NoAnswer("the model refused", "I will not."),
        '{"emotion": "fear"}',
    ]
    first = ScriptedGenerator(replies)

    def run(model: ScriptedGenerator) -> list[object]:
        journal = Journal(tmp_path / "answers.jsonl")
        annotator = Annotator(model, config, load_codebook(), lambda: "2026-01-01T00:00:00+00:00", journal)
        labelled = annotate_turns(session, turns, NO_CLIPS, annotator)
        assert [(each.reason, each.reply) for each in labelled.unread] == [
            ("no JSON objects in the reply", "no json"),
            ("the model refused", "I will not."),
        ]
        assert labelled.counts == {"questions": 3, "labels": 2, "refused": 1, "calls": 4}
        return [annotation.outcome for annotation in labelled.annotations]

    outcomes = run(first)
    assert outcomes[1] == Abstention(reason="the model refused")
    assert len(first.requests) == 4
    silent = ScriptedGenerator([])
    assert run(silent) == outcomes
    assert silent.requests == []


def test_attempts_at_one_request_are_told_apart() -> None:
    request = make_digest("request")
    assert len({question_digest(request, attempt) for attempt in range(5)}) == 5


def test_a_reply_with_half_a_character_is_kept_and_read_as_none(tmp_path: Path) -> None:
    session = make_session()
    model = ScriptedGenerator([json.dumps({"emotion": "joy"})[:-2] + '\ud83d"}'], repeat=True)
    config = AnnotationConfig(tasks=(Task.EMOTION,))
    journal = Journal(tmp_path / "answers.jsonl")
    annotator = Annotator(model, config, load_codebook(), lambda: "2026-01-01T00:00:00+00:00", journal)
    labelled = annotate_turns(session, make_turns(session, "a"), NO_CLIPS, annotator)
    assert labelled.annotations[0].label is None

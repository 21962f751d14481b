"""The report: bars, reasons beside every null, and nothing of the machine."""

import json

import pytest

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.agreement import pair_labels
from ai_therapist.evaluation.audit import LeakAudit
from ai_therapist.evaluation.clips import ClipCounts
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.evidence import Evidence, SessionEvidence, Training
from ai_therapist.evaluation.extraction import compare
from ai_therapist.evaluation.gold import GoldSession
from ai_therapist.evaluation.predictions import Prediction
from ai_therapist.evaluation.report import build_report, stage_counts, without_folders
from ai_therapist.evaluation.scores import shown
from ai_therapist.evaluation.stages import SessionQuality
from ai_therapist.records import Abstention, Label, Split, Task
from ai_therapist.store.codec import encode
from ai_therapist.store.workspace import ItemRecord, RunRecord, Status
from tests.evaluation.arc import heard_as, labels_said, make_examples, make_gold, session_of

FEW = Resampling(resamples=1000)
GOLDS = [make_gold("one"), make_gold("two"), make_gold("three", traits=["overlap"])]
BAR_KEYS = {
    "sessions", "utterances", "clips", "quarantined", "wer", "speaker_accuracy", "role_accuracy", "clips_exact",
    "emotion", "strategy", "train", "evaluation", "seconds", "schema_version", "counts", "reasons",
}  # fmt: skip


def evidence_of(gold: GoldSession, *, measured: bool = True) -> SessionEvidence:
    session, turns = session_of(gold), heard_as(gold)
    notes = tuple(labels_said(gold, turns))
    quality = SessionQuality(
        session=session.id,
        clips=ClipCounts(cut=3, exact=3, text_only=1, inexact=()),
        comparison=compare(gold, session, turns, turns) if measured else None,
        emotion=pair_labels(gold, turns, notes, Task.EMOTION) if measured else None,
        strategy=pair_labels(gold, turns, notes, Task.STRATEGY) if measured else None,
    )
    return SessionEvidence(session, turns, notes, gold if measured else None, quality)


def predictions(system: str, *, silent: bool = False) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(
            example=example.id,
            session=example.session,
            system=system,
            field=Field.CLIENT_EMOTION,
            gold=example.labels.client_emotion,
            outcome=Abstention(reason="silent") if silent else Label(value="joy"),
        )
        for example in make_examples(GOLDS)
        if example.split is Split.TEST
    )


def evidence(*, measured: bool = True, training: Training | None = None) -> Evidence:
    broken = ItemRecord(
        item="ses_000000000000", name="truncated", status=Status.QUARANTINED,
        reason="/srv/data/truncated.mp4: breaks off", artefacts={}, actions=(), counts={},
    )  # fmt: skip
    return Evidence(
        runs=(RunRecord(run="extraction", config={}, read=1, items=(broken,)),),
        sessions=tuple(evidence_of(gold, measured=measured) for gold in GOLDS),
        examples=tuple(make_examples(GOLDS)),
        predictions={"one": predictions("one"), "silent": predictions("silent", silent=True)},
        replies={},
        audit=LeakAudit(checked=0, leaks=()),
        training=training,
        curve=(),
        seconds={"extraction": 2.5},
        not_run=("People: nobody was asked.",),
    )


def test_the_top_level_keys_are_those_that_the_bars_name() -> None:
    report = json.loads(encode(build_report(evidence(), FEW)))
    assert set(report) >= BAR_KEYS
    assert report["schema_version"] == "1"
    assert (report["sessions"], report["utterances"], report["clips"], report["quarantined"]) == (3, 18, 9, 1)
    assert report["wer"] == 0.0
    assert report["speaker_accuracy"] == report["role_accuracy"] == report["clips_exact"] == 1.0
    assert report["seconds"] == {"extraction": 2.5}


def test_plain_figures_are_those_of_the_clean_sessions() -> None:
    found = evidence()
    overlap = found.sessions[2]
    quality = overlap.quality
    assert quality is not None
    assert quality.comparison is not None
    words = quality.comparison.words.model_copy(update={"errors": 18})
    worse = quality.model_copy(update={"comparison": quality.comparison.model_copy(update={"words": words})})
    spoiled = SessionEvidence(overlap.session, overlap.turns, overlap.annotations, overlap.gold, worse)
    report = build_report(
        Evidence(**{**vars(found), "sessions": (*found.sessions[:2], spoiled)}),
        FEW,
    )
    assert report.wer == 0.0
    assert shown(report.extraction.all.wer) == pytest.approx(18 / 108)
    assert (report.extraction.clean.sessions, report.extraction.all.sessions) == (2, 3)


def test_agreement_counts_abstentions_as_errors() -> None:
    report = build_report(evidence(), FEW)
    assert report.emotion.n == 18
    assert report.emotion.accuracy == pytest.approx(12 / 18)
    assert shown(report.emotion.scores.abstention_rate) == pytest.approx(6 / 18)
    assert report.emotion.reason is None


def test_without_gold_every_figure_is_null_with_a_reason() -> None:
    report = build_report(evidence(measured=False), FEW)
    assert report.wer is report.speaker_accuracy is report.role_accuracy is None
    assert report.emotion.accuracy is report.emotion.kappa is None
    assert report.emotion.reason == "no gold transcript was given"
    assert {report.reasons[name] for name in ("wer", "speaker_accuracy", "role_accuracy")} == {
        "no gold transcript was given"
    }
    assert report.clips_exact == 1.0


def test_without_a_clean_session_the_plain_figures_are_null() -> None:
    found = evidence()
    report = build_report(Evidence(**{**vars(found), "sessions": found.sessions[2:]}), FEW)
    assert report.wer is None
    assert report.reasons["wer"] == "no gold transcript is marked clean"
    assert shown(report.extraction.all.wer) == 0.0


def test_an_empty_workspace_gives_a_report_of_reasons() -> None:
    nothing = Evidence((), (), (), {}, {}, LeakAudit(checked=0, leaks=()), None, (), {}, ())
    report = build_report(nothing, FEW)
    assert report.clips_exact is None
    assert set(report.reasons) == {"wer", "speaker_accuracy", "role_accuracy", "clips_exact", "train"}


def test_every_session_has_its_own_line() -> None:
    first, *_, last = build_report(evidence(), FEW).per_session
    assert (first.name, first.turns, first.clean, last.clean) == ("one", 6, True, False)
    assert first.words is not None
    assert first.words.words == 36
    assert build_report(evidence(measured=False), FEW).per_session[0].words is None


def test_systems_are_scored_by_field() -> None:
    report = build_report(evidence(), FEW)
    assert list(report.evaluation) == ["one", "silent"]
    assert set(report.evaluation["one"]) == {"client_emotion", "strategy", "therapist_emotion"}
    silent = report.evaluation["silent"]["client_emotion"]
    assert shown(silent.abstention_rate) == 1.0
    assert shown(silent.accuracy) is None
    assert report.evaluation["one"]["strategy"].n == 0


def test_what_training_says_is_taken_over() -> None:
    training = Training(loss_first=4.0, loss_last=1.0, seconds=9.5)
    assert build_report(evidence(training=training), FEW).train == training
    assert build_report(evidence(), FEW).reasons["train"] == "no model was tuned in this workspace"


def test_counts_add_up_and_name_what_was_set_aside() -> None:
    counts = stage_counts(evidence().runs[0])
    assert counts.read == counts.done + counts.skipped + counts.quarantined == 1
    assert counts.set_aside[0].reason == "truncated.mp4: breaks off"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/data/one.mp4: no such file", "one.mp4: no such file"),
        ("cannot open '/home/ann/talks/one.mp4'", "cannot open 'one.mp4'"),
        (r"C:\talks\one.mp4: no such file", "one.mp4: no such file"),
        ("25/1 frames and 3 and/or 4", "25/1 frames and 3 and/or 4"),
        ("/tmp is full", "tmp is full"),
    ],
)
def test_reasons_lose_the_folders_of_the_machine(text: str, expected: str) -> None:
    assert without_folders(text) == expected


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert encode(build_report(evidence(), FEW)) == encode(build_report(evidence(), FEW))

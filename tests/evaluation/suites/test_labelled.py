"""Suites read what they say they read, refuse the rest with the layout, and stand beside the published rows."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.evaluation.config import Resampling
from ai_therapist.evaluation.scores import shown
from ai_therapist.evaluation.suites.labelled import SUITES
from ai_therapist.evaluation.suites.layout import Row
from ai_therapist.evaluation.suites.run import SuiteReport, run_suite
from ai_therapist.models.scripted import ScriptedGenerator, ScriptedScorer
from ai_therapist.records import Unscored

FEW = Resampling(resamples=1000)
ANNOMI = "split,transcript_id,utterance_id,label,text\n"


def annomi(tmp_path: Path, rows: int = 40) -> list[Row]:
    path = tmp_path / "behaviour.csv"
    lines = [
        f"{'dev' if at % 4 == 0 else 'train'},{at % 4},{at},{'question' if at % 3 else 'other'},"
        f"{'what was that like' if at % 3 else 'yes i see'} {at}\n"
        for at in range(rows)
    ]
    path.write_text(ANNOMI + "".join(lines), "utf-8")
    return SUITES["annomi-behaviour"].load([path])


def test_baselines_stand_beside_the_published_rows(tmp_path: Path) -> None:
    found = run_suite(SUITES["annomi-behaviour"], annomi(tmp_path), FEW)
    assert found.held_out == "dev"
    assert found.leak_audit.passed
    assert set(found.evaluation) == {"majority", "copy-gold", "text-only"}
    assert found.systems["copy-gold"].leaks
    assert shown(found.evaluation["text-only"].accuracy) == 1.0
    assert "MMLA" in found.published[0].source
    assert SuiteReport.model_validate_json(found.model_dump_json()) == found


def test_models_and_stored_labels_are_scored_and_silence_is_an_error(tmp_path: Path) -> None:
    suite, rows = SUITES["annomi-behaviour"], annomi(tmp_path)
    writer = ScriptedGenerator(["Question.", "no idea"], repeat=True, name="writer")
    found = run_suite(suite, rows, FEW, model=writer, stored={rows[0].id: rows[0].gold})
    assert shown(found.evaluation["model writer"].abstention_rate) == 0.5
    assert shown(found.evaluation["stored"].accuracy) == pytest.approx(1 / 10)
    weights = {"question": 0.7, "reflection": 0.1, "therapist_input": 0.1, "other": 0.1}
    scorer = ScriptedScorer([weights], repeat=True, name="scorer")
    found = run_suite(suite, rows, FEW, model=scorer)
    assert shown(found.evaluation["model scorer"].abstention_rate) == 0
    with pytest.raises(RequestError, match="no stored label"):
        run_suite(suite, rows, FEW, stored={"elsewhere": "question"})


def test_a_leaking_split_is_withheld_or_marked(tmp_path: Path) -> None:
    suite = SUITES["annomi-behaviour"]
    rows = [replace(row, group="one") for row in annomi(tmp_path)]
    found = run_suite(suite, rows, FEW)
    assert found.watermark is None
    assert isinstance(found.evaluation["majority"].accuracy, Unscored)
    assert "the leak audit failed" in found.evaluation["majority"].accuracy.reason
    marked = run_suite(suite, rows, FEW, allow_leak=True)
    assert (marked.watermark or "").startswith("LEAK: group in two splits: 1")
    assert shown(marked.evaluation["majority"].accuracy) is not None


def test_a_suite_needs_a_train_and_a_held_out_part(tmp_path: Path) -> None:
    rows = [replace(row, split="train") for row in annomi(tmp_path)]
    with pytest.raises(RequestError, match="needs a train split and a test or dev split"):
        run_suite(SUITES["annomi-behaviour"], rows, FEW)


def write(folder: Path, **files: str) -> list[Path]:
    paths = []
    for name, text in files.items():
        path = folder / name
        path.write_text(text, "utf-8")
        paths.append(path)
    return paths


MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n1,hello,A,joy,positive,0,0\n"
DYNAMIX = "Dialogue_History,Next_Strategy\nhow are you,3\n"


@pytest.mark.parametrize(
    ("name", "files", "gold"),
    [
        ("goemotions", ("grey day\t5\tid1\nboth\t1,2\tid2\n", 'a "fine" day\t3\tid3\n'), ["sadness", "joy"]),
        ("meld", (MELD, MELD.replace("joy", "Anger")), ["joy", "anger"]),
        ("emodynamix-annomi", (DYNAMIX, DYNAMIX.replace("3", "0")), ["Question open", "Reflection simple"]),
    ],
)
def test_documented_layouts_are_read(tmp_path: Path, name: str, files: tuple[str, str], gold: list[str]) -> None:
    rows = SUITES[name].load(write(tmp_path, train=files[0], test=files[1]))
    assert [row.gold for row in rows] == gold
    assert [row.split for row in rows] == ["train", "test"]


def test_epitome_keeps_a_seeker_on_one_side(tmp_path: Path) -> None:
    lines = "".join(f"s{at // 2},r{at},post,answer {at},{at % 3},\n" for at in range(40))
    (path,) = write(tmp_path, epitome="sp_id,rp_id,seeker_post,response_post,level,rationales\n" + lines)
    rows = SUITES["epitome"].load([path])
    sides = {row.group: {each.split for each in rows if each.group == row.group} for row in rows}
    assert all(len(side) == 1 for side in sides.values())
    assert {row.split for row in rows} == {"train", "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("split,label\ntrain,other\n", "lacks the column 'transcript_id'; expected columns: split, transcript_id"),
        (ANNOMI, "holds no row"),
        (ANNOMI + "train,1,2,gloom,so\n", "row 1: the label is none of change, neutral, sustain"),
        (ANNOMI + "train,1\n", "row 1 is too short"),
    ],
)
def test_another_layout_is_refused_with_the_expected_one(tmp_path: Path, text: str, message: str) -> None:
    (path,) = write(tmp_path, table=text)
    with pytest.raises(RequestError, match=message):
        SUITES["annomi-behaviour"].load([path])


def test_missing_files_and_numbers_out_of_range_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="expected columns"):
        SUITES["annomi-talk"].load([tmp_path / "absent.csv"])
    with pytest.raises(RequestError, match="reads 2 files"):
        SUITES["meld"].load([tmp_path / "one.csv"])
    paths = write(tmp_path, train="a\t9\tid\n", test="a\t1\tid\n")
    with pytest.raises(RequestError, match="number below 7"):
        SUITES["goemotions"].load(paths)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="no UTF-8 table"):
        SUITES["annomi-talk"].load([tmp_path / "bytes.csv"])


@pytest.mark.parametrize(("name", "part"), [("annomi-behaviour", "therapist"), ("annomi-talk", "client")])
def test_random_splits_of_annomi_leak_and_disjoint_ones_do_not(
    name: str, part: str, shared_file: Callable[[str], Path]
) -> None:
    suite = SUITES[name]
    rows = suite.load([shared_file(f"annomi/{part}_train_dev.csv")])
    assert {row.split for row in rows} == {"train", "dev"}
    rng = random.Random(0)
    by_row = [replace(row, split=rng.choice(["train", "train", "train", "test"])) for row in rows]
    found = run_suite(suite, by_row, FEW)
    assert "group in two splits" in found.leak_audit.summary
    side = {group: rng.choice(["train", "train", "train", "test"]) for group in sorted({row.group for row in rows})}
    clean = run_suite(suite, [replace(row, split=side[row.group]) for row in rows], FEW)
    assert clean.leak_audit.passed
    assert clean.systems["copy-gold"].leaks
    assert shown(clean.evaluation["copy-gold"].accuracy) is not None

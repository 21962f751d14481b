"""What other programs get: equal rows in every layout, one task a file, clips only where asked for and permitted."""

import importlib
import io
import json
import tarfile
import wave
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.dataset.chat import Form, Question
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.export import export_chat, export_layout
from ai_therapist.dataset.layouts import ClipRows, Layout, write_webdataset
from ai_therapist.dataset.read import read_examples
from ai_therapist.dataset.render import parse_target
from ai_therapist.dataset.run import build_dataset
from ai_therapist.dataset.tables import Row, read_table
from ai_therapist.errors import MissingInput, NotPermitted, RequestError
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Split, Use
from ai_therapist.store.workspace import Workspace
from tests.dataset.builders import make_parts, save_annotated, save_with_clips, with_uses
from tests.dataset.test_tables import load_dataset

__all__ = ["load_dataset"]


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_filmed(tmp_path_factory.mktemp("filmed"))


def make_filmed(folder: Path) -> Workspace:
    """Three sessions with real clips, the first of which may be learned from by its words only."""
    workspace = Workspace(folder / "workspace")
    silent = with_uses(make_parts("s1", seed=1, turns=10), Use.TRAIN)
    others = [make_parts(f"s{seed}", seed=seed, turns=10) for seed in (2, 3)]
    save_with_clips(workspace, [silent, *others], folder)
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    return workspace


def turns_with_clips(workspace: Workspace) -> dict[str, list[Row]]:
    """Rows of the text table that have a clip, by split, as every layout should hold them."""
    found = {}
    for path in sorted((workspace.dataset / "clips").iterdir()):
        rows = [row for row in read_table(path) if row["clip_sha256"] is not None]
        for row in rows:
            del row["clip_faults"]
        if rows:
            found[path.name.partition("-")[0]] = rows
    return found


def clip_bytes(workspace: Workspace, row: Row) -> bytes:
    return workspace.store.read(str(row["clip_sha256"]))


def undecoded(loaded: Any, video: str, audio: str | None = None) -> Any:
    """The rows with media as files, since decoding needs a package that is not part of this project."""
    import datasets

    found = loaded.cast_column(video, datasets.Video(decode=False))
    return found if audio is None else found.cast_column(audio, datasets.Audio(decode=False))


def test_videofolder_reads_back_equal(filmed: Workspace, load_dataset: Any) -> None:
    done = export_layout(filmed, Layout.VIDEOFOLDER)
    loaded = load_dataset(done.folder)
    expected = turns_with_clips(filmed)
    assert {split: part.num_rows for split, part in loaded.items()} == {s: len(rows) for s, rows in expected.items()}
    header = importlib.import_module("yaml").safe_load((done.folder / "README.md").read_text("utf-8").split("---\n")[1])
    sizes = {each["name"]: each["num_bytes"] for each in header["dataset_info"][0]["splits"]}
    assert sizes == {split: sum(file.stat().st_size for file in (done.folder / split).iterdir()) for split in expected}
    for split, rows in expected.items():
        read = undecoded(loaded[split], "video").to_list()
        assert [Path(row["video"]["path"]).read_bytes() for row in read] == [clip_bytes(filmed, row) for row in rows]
        assert [{name: value for name, value in row.items() if name != "video"} for row in read] == rows


def test_parquet_reads_back_equal_with_its_text_tables(filmed: Workspace, load_dataset: Any) -> None:
    done = export_layout(filmed, Layout.PARQUET)
    loaded = load_dataset(done.folder, "media")
    for split, rows in turns_with_clips(filmed).items():
        read = undecoded(loaded[split], "video", "speech").to_list()
        assert [row.pop("video")["bytes"] for row in read] == [clip_bytes(filmed, row) for row in rows]
        for row in read:
            with wave.open(io.BytesIO(row.pop("speech")["bytes"])) as sound:
                assert (sound.getframerate(), sound.getnframes() > 7000) == (16_000, True)
        assert read == rows
    assert load_dataset(done.folder)["train"].num_rows == len(
        [example for example in read_examples(filmed) if example.split is Split.TRAIN]
    )


def test_webdataset_reads_back_equal(filmed: Workspace, load_dataset: Any) -> None:
    done = export_layout(filmed, Layout.WEBDATASET)
    loaded = load_dataset(done.folder)
    for split, rows in turns_with_clips(filmed).items():
        read = undecoded(loaded[split], "mp4").to_list()
        assert [row["mp4"]["bytes"] for row in read] == [clip_bytes(filmed, row) for row in rows]
        assert [row["json"] for row in read] == rows
        assert [row["__key__"] for row in read] == [row["id"] for row in rows]


def test_the_card_of_a_layout_says_what_is_in_it(filmed: Workspace) -> None:
    rows = sum(map(len, turns_with_clips(filmed).values()))
    alone = (export_layout(filmed, Layout.WEBDATASET).folder / "README.md").read_text("utf-8")
    beside = (export_layout(filmed, Layout.PARQUET).folder / "README.md").read_text("utf-8")
    assert f"holds the {rows} rows of `clips`" in alone
    assert f"`media`: {rows} turns" in beside
    assert "clips with faces and voices are included" in alone
    assert (filmed.dataset / "README.md").read_text("utf-8").count("no media is included") == 1


def test_a_full_shard_is_followed_by_another_and_equal_rows_give_equal_bytes(filmed: Workspace, tmp_path: Path) -> None:
    rows = {Split(split): rows for split, rows in turns_with_clips(filmed).items()}
    size = len(clip_bytes(filmed, rows[Split.TRAIN][0]))
    for name in ("one", "two"):
        write_webdataset(ClipRows(rows, filmed.store.path), tmp_path / name, shard_bytes=4 * size)
    shards = sorted((tmp_path / "one" / "data").glob("train-*.tar"))
    held = [_names_in(shard) // 2 for shard in shards]
    assert sum(held) == len(rows[Split.TRAIN])
    assert set(held[:-1]) <= {4}
    assert len(held) > 1
    assert [shard.read_bytes() for shard in shards] == [
        (tmp_path / "two" / "data" / shard.name).read_bytes() for shard in shards
    ]


def _names_in(shard: Path) -> int:
    with tarfile.open(shard) as tar:
        return len(tar.getnames())


def test_a_session_that_permits_words_only_lends_no_clip(filmed: Workspace) -> None:
    silent = make_parts("s1", seed=1, turns=10).session.id
    assert all(row["session"] != silent for rows in turns_with_clips(filmed).values() for row in rows)
    done = export_chat(filmed, Form.MESSAGES, Question.PREDICT, media=True)
    own = {example.id for example in read_examples(filmed) if example.session == silent}
    lines = _lines(done.folder)
    assert own
    assert all("videos" not in line for line in lines if line["id"] in own)
    assert any("videos" in line for line in lines)
    assert done.clips == 1


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("media", [False, True])
def test_every_example_is_one_conversation_that_ends_with_its_answer(
    filmed: Workspace, form: Form, media: bool
) -> None:
    done = export_chat(filmed, form, Question.PREDICT, media=media)
    examples = {example.id: example for example in read_examples(filmed)}
    lines = _lines(done.folder)
    assert {line["id"] for line in lines} == set(examples)
    assert sum(done.rows.values()) == len(lines)
    for line in lines:
        last = (line.get("messages") or line["conversations"])[-1]
        answer = parse_target(last.get("content") or last["value"])
        assert answer.labels == examples[line["id"]].labels  # type: ignore[union-attr]
        for video in line.get("videos", []):
            assert (done.folder / video).read_bytes() == clip_bytes(
                filmed, {"clip_sha256": examples[line["id"]].clip_sha256}
            )
    assert any("videos" in line for line in lines) is media


def test_sharegpt_and_swift_begin_with_the_user_and_alternate(filmed: Workspace) -> None:
    for line in _lines(export_chat(filmed, Form.SHAREGPT, Question.PREDICT, media=True).folder):
        assert [turn["from"] for turn in line["conversations"]] == ["human", "gpt"] * (len(line["conversations"]) // 2)
        assert sum(turn["value"].count("<video>") for turn in line["conversations"]) == len(line.get("videos", []))
    for line in _lines(export_chat(filmed, Form.SWIFT, Question.PREDICT, media=False).folder):
        system, *talk = line["messages"]
        assert system["role"] == "system"
        assert [turn["role"] for turn in talk] == ["user", "assistant"] * (len(talk) // 2)
        assert [turn.get("loss") for turn in talk if turn["role"] == "assistant"][:-1] == [False] * (len(talk) // 2 - 1)
        assert "loss" not in talk[-1]


def test_llama_factory_finds_the_files(filmed: Workspace) -> None:
    done = export_chat(filmed, Form.SHAREGPT, Question.LABEL, media=True)
    index = json.loads((done.folder / "dataset_info.json").read_text())
    assert {entry["file_name"] for entry in index.values()} == {path.name for path in done.folder.glob("*.jsonl")}
    assert all(entry["columns"]["videos"] == "videos" for entry in index.values())


def test_labelling_shows_the_turn_and_no_label_before_it(filmed: Workspace) -> None:
    lines = _lines(export_chat(filmed, Form.MESSAGES, Question.LABEL, media=False).folder)
    rows = [row for path in (filmed.dataset / "clips").iterdir() for row in read_table(path)]
    given = {f"{row['id']}-{task}": row[task] for row in rows for task in ("emotion", "strategy") if row[task]}
    texts = {row["id"]: row["text"] for row in rows}
    assert {line["id"]: line["messages"][-1]["content"] for line in lines} == given
    for line in lines:
        shown = line["messages"][1]["content"]
        assert shown.splitlines()[-1].endswith(texts[line["id"].partition("-")[0]])
        assert not any(f"emotion: {label}" in shown.casefold() for label in ("sadness", "joy", "fear", "neutral"))


def test_a_permission_that_ended_since_stops_the_export(tmp_path: Path) -> None:
    filmed = make_filmed(tmp_path)
    ended = with_uses(make_parts("s2", seed=2, turns=10), Use.ANNOTATE)
    save_annotated(filmed, [make_parts("s1", seed=1, turns=10), ended, make_parts("s3", seed=3, turns=10)])
    with pytest.raises(NotPermitted, match=r"s2: .*'train'"):
        export_chat(filmed, Form.SWIFT, Question.PREDICT, media=False)
    words = with_uses(make_parts("s2", seed=2, turns=10), Use.TRAIN)
    save_annotated(filmed, [make_parts("s1", seed=1, turns=10), words, make_parts("s3", seed=3, turns=10)])
    export_chat(filmed, Form.SWIFT, Question.PREDICT, media=False)
    with pytest.raises(NotPermitted, match=r"s2: .*'emotion_from_media'"):
        export_layout(filmed, Layout.WEBDATASET)
    assert not (filmed.exports / "webdataset").exists()


def test_nothing_to_export_is_one_clear_line(workspace: Workspace) -> None:
    with pytest.raises(MissingInput, match="ai-therapist dataset"):
        export_chat(workspace, Form.MESSAGES, Question.PREDICT, media=False)
    save_annotated(workspace, [with_uses(make_parts("s1"), Use.TRAIN)])
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    with pytest.raises(RequestError, match="no turn of the dataset has a usable clip"):
        export_layout(workspace, Layout.VIDEOFOLDER)


def test_a_second_export_takes_the_place_of_the_first(filmed: Workspace) -> None:
    first = export_chat(filmed, Form.MESSAGES, Question.PREDICT, media=True).folder
    assert (first / "media").is_dir()
    assert export_chat(filmed, Form.MESSAGES, Question.PREDICT, media=False).folder == first
    assert not (first / "media").exists()

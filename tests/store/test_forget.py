"""Forgetting a session: nothing of it stays, nothing else goes, no kill leaves it half-way, and it does not return."""

import gzip
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_therapist.annotation.journal import Answer, Journal, question_digest
from ai_therapist.dataset.read import read_examples
from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.records import Task, Transcript
from ai_therapist.store import erasure
from ai_therapist.store.actions import ActionRecord, IntentRecord, TicketRecord
from ai_therapist.store.codec import decode
from ai_therapist.store.erasure import JOURNAL, load_tombstones
from ai_therapist.store.forget import forget, plan
from ai_therapist.store.uploads import load_copies, load_uploads, note_copy, note_upload
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_digest
from tests.dataset.builders import make_annotation
from tests.store.arc import Arc, Planted, found_in, make_arc
from tests.store.test_uploads import make_upload


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Arc:
    arc = make_arc(tmp_path_factory.mktemp("arc") / "workspace", "one", "two", "three", turns=50)
    arc.workspace.index.close()
    return arc


def copy_of(arc: Arc, folder: Path) -> Workspace:
    """The finished workspace again, with its hard links."""
    target = folder / "workspace"
    shutil.copytree(arc.workspace.root, target)
    return Workspace(target)


def tree_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_no_canary_is_left_in_any_byte(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    gone, *others = finished.planted
    assert len(gone.words) >= 300
    assert found_in(workspace.root, gone.words) == set(gone.words)
    forget(workspace, plan(workspace, gone.id))
    workspace.index.close()
    assert found_in(workspace.root, [*gone.words, gone.id]) == set()
    spoken = [word for other in others for word in other.words[20:-1]]
    assert len(found_in(workspace.root, spoken)) == len(spoken)


def _plant_elsewhere(workspace: Workspace, gone: Planted) -> None:
    """What annotating, judging, exporting, publishing, syncing and killed runs leave beside the arc of `Arc.finish`."""
    store = workspace.store
    digests = {item.item: item.artefacts for item in workspace.load_run("annotation", "annotate").items}
    spoken = decode(Transcript, store.read(digests[gone.id]["utterances"]), "utterances")
    for utterance in spoken.utterances[:3]:
        given = make_annotation(utterance.id, Task.EMOTION, "joy", "person:ada")
        note = given.provenance.model_copy(update={"route": gone.word()})
        workspace.decisions.add(gone.id, given.model_copy(update={"provenance": note}))
    paid = TicketRecord(key=make_digest("paid"), stage="transcribe", item=gone.id, ticket=gone.word())
    store.spend(store.keep_ticket(paid))
    for name in ("paid", "sent"):
        key, mark = make_digest(name), gone.word()
        store.intend(IntentRecord(key=key, stage="transcribe", item=gone.id, number=0, mark=mark, by="x", at_s=1))
    journal = Journal(store.work(make_digest("asking")) / "answers.jsonl")
    for number in range(5):
        journal.keep(Answer(question=question_digest(make_digest(gone.name), number), reply=gone.word()))
    left = store.root / "tmp" / f"{socket.gethostname()}-999999-abc"
    left.mkdir()
    (left / "half").write_text(gone.word())
    examples = workspace.load_run("dataset", "dataset").items[0].artefacts["examples"]
    trained = ActionRecord(
        key=make_digest("classifier"),
        stage="finetuning.annotator",
        version=1,
        item="annotator",
        config={},
        tools={},
        inputs={"examples": examples},
        outputs={"classifier": store.put_bytes(gone.word().encode())},
        records={},
        counts={},
    )
    workspace.index.add(store.commit(trained))
    example = read_examples(workspace)
    named = next(each for each in example if each.session == gone.id).id
    judged = {"replies": [{"example": named, "note": gone.word()}]}
    (workspace.root / "judge-tuned-miti.json").write_text(json.dumps(judged))
    lines = [f'{{"example": "{named}", "reply": "{gone.word()}"}}']
    # Longer than what is read at once, with the id across an edge.
    (workspace.root / "predictions.jsonl").write_text(" " * ((1 << 24) + (1 << 22) - 20) + "\n".join(lines))
    for name in ("labels-csv/one.csv", "hub-dataset/data.parquet", "model/README.md", "sharegpt-predict/train.jsonl"):
        path = workspace.exports / name
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(gone.word().encode()) if name.endswith("parquet") else gone.word().encode())
    (workspace.root / "view" / "finetuning").mkdir(parents=True, exist_ok=True)
    (workspace.root / "sync.json").write_text("{}")
    note_copy(workspace.root, "gs://lab/study")
    note_upload(workspace.root, make_upload(gone.id))


def test_no_canary_is_left_where_later_commands_keep_things(tmp_path: Path) -> None:
    arc = make_arc(tmp_path / "study", "one", "two", turns=50)
    workspace, (gone, other) = arc.workspace, arc.planted
    before = len(gone.words)
    _plant_elsewhere(workspace, gone)
    planted = gone.words[before:]
    assert len(gone.words) >= 300
    assert len(planted) >= 16
    assert found_in(workspace.root, planted) == set(planted)
    found = plan(workspace, "one")
    assert found.decisions == 3
    assert [job.split(" ")[1] for job in found.jobs] == ["(job", "(upload"]
    assert len(found.models) == 2
    forget(workspace, found)
    workspace.index.close()
    assert found_in(workspace.root, [*gone.words, gone.id]) == set()
    assert load_copies(workspace.root) == ("gs://lab/study",)
    assert found_in(workspace.root, other.words[20:40]) == set(other.words[20:40])
    assert list(workspace.store.verify()) == []


def test_others_stay_whole_and_what_rested_on_the_session_is_made_again(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    gone, *others = finished.planted
    found = plan(workspace, "one")
    assert found.session == gone.id
    assert len(found.models) == 1
    assert found.ledgers == ("dataset", "evaluation", "finetuning")
    forget(workspace, found)
    assert list(workspace.store.verify()) == []
    run = workspace.load_run("annotation", "annotate")
    assert {item.item for item in run.items} == {other.id for other in others}
    for other in others:
        assert workspace.index.holders(other.id)
        assert (workspace.root / "view" / "sessions" / other.name / "clips" / "a.mp4").exists()
    assert not workspace.index.holders(gone.id)
    with pytest.raises(MissingInput, match="ai-therapist finetune"):
        workspace.load_run("finetuning", "finetune")
    with pytest.raises(MissingInput):
        read_examples(workspace)
    assert b"learned from nobody" in b"".join(path.read_bytes() for path in workspace.store.blob_paths())


def test_a_plan_changes_nothing(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    before = tree_of(workspace.root)
    plan(workspace, "one")
    assert tree_of(workspace.root) == before


def test_the_tombstone_knows_the_recording_and_tells_nobody_which_it_was(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    gone, other, _ = finished.planted
    recordings = {one.name: workspace.store.put_bytes(one.recording) for one in finished.planted}
    forget(workspace, plan(workspace, gone.id))
    assert workspace.was_forgotten(recordings["one"])
    assert not workspace.was_forgotten(recordings["two"])
    forget(workspace, plan(workspace, other.id))
    assert workspace.was_forgotten(recordings["one"])
    stones = load_tombstones(workspace.root)
    assert stones is not None
    assert recordings["one"] not in stones.digests


@pytest.mark.parametrize("wish", ["ses_000000000000", "nobody"])
def test_a_session_that_is_not_there_is_said(finished: Arc, tmp_path: Path, wish: str) -> None:
    with pytest.raises(MissingInput, match=wish):
        plan(copy_of(finished, tmp_path), wish)


def test_nothing_is_forgotten_under_a_running_writer(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    with workspace.store.scratch(), pytest.raises(RequestError, match=f"in use by process {os.getpid()}"):
        plan(workspace, "one")


def test_a_damaged_action_record_does_not_stand_in_the_way(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    gone = finished.planted[0]
    damaged = workspace.store.record_path("act", "ff" * 32)
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text(f'{{"item": "{gone.id}", "words": "{gone.words[5]}"')
    forget(workspace, plan(workspace, gone.id))
    workspace.index.close()
    assert found_in(workspace.root, [*gone.words, gone.id]) == set()


STEPS = ("write_atomically", "_remove", "_delete_rows", "sync_folder")
"""The functions through which an erasure changes the disk."""


def _forget_and_die(root: Path, session: str, at: int) -> bool:
    """Forget in a child that is killed with SIGKILL before the `at`-th step; returns whether it was."""
    child = os.fork()
    if child == 0:
        left = at

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def step(*args: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args)

            return step

        for name in STEPS:
            setattr(erasure, name, dying(getattr(erasure, name)))
        workspace = Workspace(root)
        forget(workspace, plan(workspace, session))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _kill_at_steps(folder: Path, stride: int) -> int:
    """Kill at every `stride`-th step and hold each end to the same promises; returns how many kills there were."""
    arc = make_arc(folder / "arc", "one", "two", turns=4)
    arc.workspace.index.close()
    gone = arc.planted[0]
    kills = 0
    while True:
        root = folder / str(kills)
        shutil.copytree(arc.workspace.root, root)
        if not _forget_and_die(root, gone.id, kills * stride):
            return kills
        kills += 1
        workspace = Workspace(root)
        if (root / "view" / "sessions" / "one").exists():
            # Killed before the decision was on disk: nothing has changed, and it can be taken again.
            assert kills == 1
            forget(workspace, plan(workspace, gone.id))
        workspace.index.close()
        assert not (root / JOURNAL).exists()
        assert found_in(root, [*gone.words, gone.id]) == set(), kills
        assert list(workspace.store.verify()) == []
        shutil.rmtree(root)


def test_a_kill_is_finished_by_the_next_command(tmp_path: Path) -> None:
    assert _kill_at_steps(tmp_path, 9) >= 5


@pytest.mark.soak
def test_a_kill_at_any_step_is_finished_by_the_next_command(tmp_path: Path) -> None:
    assert _kill_at_steps(tmp_path, 1) > 40


def test_the_splits_of_other_groups_stay(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    before = json.loads((workspace.root / "splits.json").read_bytes())["groups"]
    forget(workspace, plan(workspace, "one"))
    after = json.loads((workspace.root / "splits.json").read_bytes())["groups"]
    assert len(after) == 2
    assert after.items() < before.items()


def test_remote_copies_are_named_and_what_was_exported_goes(finished: Arc, tmp_path: Path) -> None:
    workspace = copy_of(finished, tmp_path)
    gone, other, _ = finished.planted
    note_upload(workspace.root, make_upload(gone.id, other.id))
    packed = workspace.exports / "chat" / "train.jsonl"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"packed so that no word can be found")
    found = plan(workspace, gone.id)
    assert [upload.repository for upload in found.remote] == ["lab/talks"]
    forget(workspace, found)
    (left,) = load_uploads(workspace.root).uploads
    assert (left.sessions, left.forgotten) == ((other.id,), 1)
    assert not workspace.exports.exists()
    assert found_in(workspace.root, [gone.id]) == set()

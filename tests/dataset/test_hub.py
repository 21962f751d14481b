"""A push is private, complete, resumable and never twice, as the Hub's own client does it on a loopback Hub."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_therapist.dataset.hub import Access, push_folder
from ai_therapist.errors import MissingInput, NotPermitted, RequestError, TransientError
from ai_therapist.store.uploads import load_uploads
from ai_therapist.store.workspace import Workspace
from ai_therapist.testing import make_session
from tests.loopback_hub import CLIENT_WARNING, TOKEN, LoopbackHub, Refused, hub

__all__ = ["hub"]

pytestmark = pytest.mark.filterwarnings(CLIENT_WARNING)

REPOSITORY = "lab/talks"
SESSION = make_session().id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three large files, a small one and a card."""
    made = tmp_path / "folder"
    (made / "data").mkdir(parents=True)
    for number in range(3):
        (made / "data" / f"part-{number}.parquet").write_bytes(bytes([number]) * 5000)
    (made / "notes.txt").write_text("small")
    (made / "README.md").write_text("---\nlanguage: en\n---\n# A card\n")
    return made


def test_what_arrives_is_the_folder_in_a_private_repository(
    hub: LoopbackHub, folder: Path, workspace: Workspace
) -> None:
    pushed = push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[SESSION])
    there = hub.repository(REPOSITORY)
    assert there.private
    assert {path: data for path, data in there.files.items() if path != ".gitattributes"} == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert (pushed.sent, pushed.removed, pushed.unchanged) == (5, 0, 0)
    assert pushed.commit == there.head.oid
    (noted,) = load_uploads(workspace.root).uploads
    assert (noted.repository, noted.commit, noted.sessions, noted.private) == (
        REPOSITORY,
        pushed.commit,
        (SESSION,),
        True,
    )


def test_a_second_push_makes_no_commit_and_a_changed_file_goes_alone(
    hub: LoopbackHub, folder: Path, workspace: Workspace
) -> None:
    first = push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    again = push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    assert (again.sent, again.unchanged, again.commit) == (0, 5, first.commit)
    assert len(hub.repository(REPOSITORY).commits) == 2
    assert len(hub.uploads) == 3
    (folder / "data" / "part-1.parquet").write_bytes(b"other")
    (folder / "notes.txt").unlink()
    third = push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    assert (third.sent, third.removed, third.unchanged) == (1, 1, 3)
    assert "notes.txt" not in hub.repository(REPOSITORY).files
    assert len(hub.uploads) == 4


_STATES = st.lists(
    st.dictionaries(
        st.sampled_from(["a.txt", "b.json", "data/c.parquet", "data/d.parquet", "deep/er/e.tar", "README.md"]),
        st.sampled_from([b"---\none\n", b"---\ntwo\n", b"---\n" + b"x" * 3000]),
        min_size=1,
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=_STATES)
def test_whatever_was_there_the_repository_becomes_the_folder(hub: LoopbackHub, states: list[dict[str, bytes]]) -> None:
    hub.repositories.clear()
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(Path(temporary) / "workspace")
        for number, files in enumerate(states):
            folder = Path(temporary) / str(number)
            for name, data in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
            before = {} if number == 0 else states[number - 1]
            pushed = push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
            there = hub.repository(REPOSITORY)
            assert {name: data for name, data in there.files.items() if name != ".gitattributes"} == files
            assert pushed.sent == sum(before.get(name) != data for name, data in files.items())
            assert pushed.removed == len(before.keys() - files.keys())
        commits = len(there.commits)
        assert push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[]).sent == 0
        assert len(there.commits) == commits
        workspace.index.close()


def test_many_files_go_in_commits_of_a_hundred_with_the_card_in_the_last(
    hub: LoopbackHub, folder: Path, workspace: Workspace
) -> None:
    for number in range(205):
        (folder / f"{number:03}.json").write_text(str(number))
    push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    commits = hub.repository(REPOSITORY).commits
    assert [len(commit.files) for commit in commits] == [1, 101, 201, 211]
    assert ["README.md" in commit.files for commit in commits] == [False, False, False, True]


def test_a_model_goes_the_same_way(hub: LoopbackHub, folder: Path, workspace: Workspace) -> None:
    for path in (folder / "data").iterdir():
        path.rename(folder / f"{path.stem}.safetensors")
    pushed = push_folder("lab/model", folder, kind="model", workspace=workspace, sessions=[SESSION])
    assert pushed.url == f"{hub.url}/lab/model"
    assert "part-0.safetensors" in hub.repository("lab/model", "model").files
    assert load_uploads(workspace.root).uploads[0].kind == "model"


_PUSH = """
import sys
from pathlib import Path
from ai_therapist.dataset.hub import push_folder
from ai_therapist.store.workspace import Workspace
push_folder("lab/talks", Path(sys.argv[1]), kind="dataset", workspace=Workspace(Path(sys.argv[2])), sessions=[])
"""


@pytest.mark.parametrize(
    "where", ["before a large file", "after a large file", "before the commit", "after the commit"]
)
def test_a_push_killed_anywhere_ends_in_one_commit_with_each_large_file_sent_once(
    hub: LoopbackHub, folder: Path, workspace: Workspace, where: str
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def stop(method: str, path: str) -> None:
        large = path.startswith("/large/") and len(hub.uploads) >= 1
        if (large if "large" in where else "/commit/" in path) and not go_on.is_set():
            reached.set()
            go_on.wait(60)
            # What came after the kill must not count: the client is gone.
            if where.startswith("before"):
                raise Refused(500, "gone")

    if where.startswith("before"):
        hub.before = stop
    else:
        hub.after = stop
    command = [sys.executable, "-c", _PUSH, str(folder), str(workspace.root)]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1"}
    with subprocess.Popen(command, env=environment) as process:
        assert reached.wait(60), "the push never came to this point"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (begun,) = load_uploads(workspace.root).uploads
    assert begun.commit is None
    go_on.set()
    before = len(hub.uploads)
    pushed = push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    there = hub.repository(REPOSITORY)
    assert len(there.commits) == 2
    assert len(there.files) == 6
    assert len(hub.uploads) == len(set(hub.uploads)) == 3
    assert before >= 1
    assert load_uploads(workspace.root).uploads[0].commit == pushed.commit == there.head.oid


def test_a_public_repository_needs_the_flag_and_the_typed_name(
    hub: LoopbackHub, folder: Path, workspace: Workspace
) -> None:
    for access in (Access(public=True), Access(public=True, typed_name="lab/talk")):
        with pytest.raises(NotPermitted, match="name is typed again"):
            push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[], access=access)
    assert not hub.requests
    access = Access(public=True, typed_name=REPOSITORY)
    push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[], access=access)
    there = hub.repository(REPOSITORY)
    assert there.settings == [{"gated": "manual", "visibility": "public"}]
    assert (there.private, there.gated) == (False, "manual")
    with pytest.raises(NotPermitted, match="is public"):
        push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    assert len(there.commits) == 2


def test_nothing_is_asked_of_the_hub_for_a_request_that_is_wrong(
    hub: LoopbackHub, folder: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push(repository: str = REPOSITORY, source: Path = folder) -> None:
        push_folder(repository, source, kind="dataset", workspace=workspace, sessions=[])

    with pytest.raises(RequestError, match="OWNER/NAME"):
        push("talks")
    with pytest.raises(MissingInput, match="holds no file"):
        push(source=tmp_path / "empty")
    (folder / ".env").write_text("HF_TOKEN=secret")
    with pytest.raises(RequestError, match="hidden files"):
        push()
    (folder / ".env").unlink()
    (folder / "link").symlink_to(folder / "notes.txt")
    with pytest.raises(RequestError, match="links"):
        push()
    (folder / "link").unlink()
    with pytest.raises(RequestError, match="no name that the Hub takes"):
        push("lab/a b")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingInput, match="HF_TOKEN is not set"):
        push()
    assert not hub.requests
    assert not load_uploads(workspace.root).uploads


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [(403, RequestError, "may not write"), (412, TransientError, "changed meanwhile"), (500, TransientError, "later")],
)
def test_what_the_hub_refuses_is_one_line_without_the_token(
    hub: LoopbackHub,
    folder: Path,
    workspace: Workspace,
    status: int,
    error: type[Exception],
    says: str,
) -> None:
    def refuse(method: str, path: str) -> None:
        if "/commit/" in path:
            raise Refused(status, "no")

    hub.before = refuse
    with pytest.raises(error, match=says) as caught:
        push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_token_and_an_unreachable_hub_are_told_apart(
    hub: LoopbackHub, folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="401"):
        push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[], token="wrong")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match="cannot be reached"):
        push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])


def test_a_client_that_is_kept_offline_is_told_so(
    hub: LoopbackHub, folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RequestError, match="HF_HUB_OFFLINE is set"):
        push_folder(REPOSITORY, folder, kind="dataset", workspace=workspace, sessions=[])


def test_the_recorder_refuses_a_large_file_that_is_not_what_was_announced() -> None:
    with pytest.raises(Refused, match="sha256"):
        LoopbackHub().upload("0" * 64, 3, b"abc")

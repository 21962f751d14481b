"""A dataset leaves only whole, redacted, permitted and private; what arrived reads back as it lies here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ai_therapist.dataset.build import SessionParts
from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.dataset.layouts import Layout
from ai_therapist.dataset.manifest import MANIFEST, REPORT
from ai_therapist.dataset.release import STAGED, publish_dataset
from ai_therapist.dataset.run import build_dataset
from ai_therapist.dataset.tables import read_table
from ai_therapist.errors import MissingInput, NotPermitted
from ai_therapist.pipeline.executors import InlineExecutor
from ai_therapist.records import Basis, Subject, Use
from ai_therapist.store.uploads import load_uploads
from ai_therapist.store.workspace import Workspace
from tests.dataset.builders import make_parts, save_annotated, save_with_clips, with_uses
from tests.dataset.test_tables import load_dataset
from tests.loopback_hub import CLIENT_WARNING, LoopbackHub, hub

__all__ = ["hub", "load_dataset"]

pytestmark = pytest.mark.filterwarnings(CLIENT_WARNING)

NAME = "lab/talks"


def _sessions() -> list[SessionParts]:
    return [make_parts(f"s{seed}", seed=seed, turns=8) for seed in (1, 2, 3)]


def _built(workspace: Workspace, sessions: list[SessionParts], config: DatasetConfig | None = None) -> Workspace:
    save_annotated(workspace, sessions)
    build_dataset(workspace, config or DatasetConfig(), InlineExecutor(workspace.store))
    return workspace


def test_what_arrives_is_the_redacted_folder_without_media(
    hub: LoopbackHub, workspace: Workspace, load_dataset: Any, tmp_path: Path
) -> None:
    sessions = _sessions()
    pushed = publish_dataset(_built(workspace, sessions), NAME)
    there = hub.repository(NAME)
    assert there.private
    here = {path.relative_to(workspace.dataset).as_posix(): path for path in workspace.dataset.rglob("*.*")}
    assert set(there.files) - {".gitattributes"} == {name for name, path in here.items() if path.is_file()}
    assert {MANIFEST, REPORT, "croissant.json", "README.md"} < set(there.files)
    assert not [name for name in there.files if name.endswith((".mp4", ".wav", ".tar"))]
    (upload,) = load_uploads(workspace.root).uploads
    assert set(upload.sessions) == {parts.session.id for parts in sessions}
    arrived = tmp_path / "arrived"
    for name, data in there.files.items():
        (arrived / name).parent.mkdir(parents=True, exist_ok=True)
        (arrived / name).write_bytes(data)
    assert load_dataset(arrived)["train"].to_list() == load_dataset(workspace.dataset)["train"].to_list()
    assert publish_dataset(workspace, NAME).commit == pushed.commit
    assert len(there.commits) == 2


def test_the_client_downloads_what_was_sent(hub: LoopbackHub, workspace: Workspace, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    publish_dataset(_built(workspace, _sessions()), NAME)
    got = Path(snapshot_download(NAME, repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path / "hub"))
    for name, data in hub.repository(NAME).files.items():
        assert (got / name).read_bytes() == data


_LOAD = """
import json, sys, datasets
loaded = datasets.load_dataset("lab/talks", sys.argv[1], cache_dir=sys.argv[2])
print(json.dumps({split: part.to_list() for split, part in loaded.items()}))
"""


def test_load_dataset_reads_the_repository_by_its_name(hub: LoopbackHub, workspace: Workspace, tmp_path: Path) -> None:
    publish_dataset(_built(workspace, _sessions()), NAME)
    # A process of its own: the client and `datasets` read where the Hub is when they are imported.
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", _LOAD, "clips", str(tmp_path / "cache")]
    environment.pop("HF_DATASETS_OFFLINE", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = {path.name.partition("-")[0]: read_table(path) for path in (workspace.dataset / "clips").iterdir()}
    assert json.loads(done.stdout) == here


def test_one_session_that_may_not_be_given_away_stops_everything(hub: LoopbackHub, workspace: Workspace) -> None:
    first, second, third = _sessions()
    kept = with_uses(second, Use.TRAIN, Use.EMOTION_FROM_MEDIA)
    with pytest.raises(NotPermitted, match="1 of 3 sessions do not permit 'publish': s2"):
        publish_dataset(_built(workspace, [first, kept, third]), NAME)
    assert not hub.requests
    _built(workspace, [first, kept, third], DatasetConfig(permitted_for="publish"))
    publish_dataset(workspace, NAME)
    assert kept.session.id not in load_uploads(workspace.root).uploads[0].sessions


def test_permission_is_asked_again_today(hub: LoopbackHub, workspace: Workspace) -> None:
    first, second, third = _sessions()
    _built(workspace, [first, second, third])
    save_annotated(workspace, [first, second, with_uses(third, Use.TRAIN)])
    with pytest.raises(NotPermitted, match="s3"):
        publish_dataset(workspace, NAME)
    save_annotated(workspace, [first, second])
    with pytest.raises(MissingInput, match=third.session.id):
        publish_dataset(workspace, NAME)
    assert not hub.requests


def test_words_as_they_were_said_are_refused(hub: LoopbackHub, workspace: Workspace) -> None:
    _built(workspace, _sessions(), DatasetConfig(redact=False))
    with pytest.raises(NotPermitted, match=REPORT):
        publish_dataset(workspace, NAME)
    assert not hub.requests


def test_nothing_made_is_nothing_sent(hub: LoopbackHub, workspace: Workspace) -> None:
    with pytest.raises(MissingInput, match="ai-therapist dataset"):
        publish_dataset(workspace, NAME)
    assert not hub.requests


def _with_rights(parts: SessionParts, **rights: object) -> SessionParts:
    consent = parts.session.consent.model_copy(update=rights)
    session = parts.session.model_copy(update={"consent": consent})
    return SessionParts(session, parts.transcript, parts.clips, parts.annotations)


def test_clips_go_along_for_role_plays_only_and_only_when_asked_for(
    hub: LoopbackHub, workspace: Workspace, tmp_path: Path
) -> None:
    save_with_clips(workspace, _sessions(), tmp_path)
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    publish_dataset(workspace, NAME, Layout.WEBDATASET)
    assert [name for name in hub.repository(NAME).files if name.endswith(".tar")]
    assert (workspace.exports / STAGED).is_dir()
    publish_dataset(workspace, NAME)
    assert not [name for name in hub.repository(NAME).files if name.endswith(".tar")]


@pytest.mark.parametrize(
    ("rights", "says"),
    [
        (
            {
                "basis": Basis.OWN_SIGNED_CONSENT,
                "subject": Subject.REAL_CLIENT,
                "adults_only": True,
                "revocation_contact": "the ward",
            },
            "real client",
        ),
        ({"permitted_uses": frozenset({Use.TRAIN, Use.PUBLISH})}, "emotion_from_media"),
    ],
)
def test_clips_of_others_stay_here(
    hub: LoopbackHub, workspace: Workspace, tmp_path: Path, rights: dict[str, object], says: str
) -> None:
    first, *others = _sessions()
    save_with_clips(workspace, [_with_rights(first, **rights), *others], tmp_path)
    build_dataset(workspace, DatasetConfig(), InlineExecutor(workspace.store))
    with pytest.raises(NotPermitted, match=f"s1: .*{says}"):
        publish_dataset(workspace, NAME, Layout.PARQUET)
    assert not hub.requests

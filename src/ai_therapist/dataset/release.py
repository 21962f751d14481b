"""Gives the finished dataset away: only where every session permits it, redacted, to a private repository.

    dataset ─ every session permits 'publish', today ─▶ papers lie in the folder ─▶ exports/hub-dataset ─▶ repository

With media a session must be a role-play too: what people look and sound like cannot be redacted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ai_therapist.dataset.export import export_layout
from ai_therapist.dataset.hub import PRIVATE, Access, Pushed, push_folder
from ai_therapist.dataset.layouts import Layout
from ai_therapist.dataset.manifest import MANIFEST, require_papers
from ai_therapist.dataset.read import dataset_item, sessions_today
from ai_therapist.errors import NotPermitted
from ai_therapist.privacy.release import require_release
from ai_therapist.records import Basis, Session, Subject, Use
from ai_therapist.store.workspace import Workspace

STAGED = "hub-dataset"
"""Name of the folder, among the exports, that is sent."""


def publish_dataset(
    workspace: Workspace, repository: str, layout: Layout | None = None, access: Access = PRIVATE
) -> Pushed:
    """Send the dataset, text and labels only unless a `layout` of clips is asked for; returns what had to be done.

    Raises NotPermitted where a session does not permit it today or one of the papers is missing, MissingInput without
    a dataset, and what `push_folder` raises. Nothing has left this computer then.
    """
    folder = stage_dataset(workspace, layout)
    manifest, _ = require_papers(folder)
    sessions = [rights.session for rights in manifest.sessions]
    return push_folder(
        repository, folder, kind="dataset", workspace=workspace, sessions=sessions, access=access, message=_MESSAGE
    )


_MESSAGE = "Dataset made with ai-therapist"


def stage_dataset(workspace: Workspace, layout: Layout | None = None) -> Path:
    """The folder that would be sent, checked as `publish_dataset` says."""
    tree = dataset_item(workspace).artefacts["dataset"]
    folder = workspace.exports / STAGED
    shutil.rmtree(folder, ignore_errors=True)
    workspace.store.checkout(tree, folder)
    manifest, _ = require_papers(folder)
    named = [rights.session for rights in manifest.sessions]
    sessions = list(sessions_today(workspace, named))
    require_release({session.name: session.consent for session in sessions})
    withheld = manifest.without(Use.PUBLISH)
    if withheld:
        raise NotPermitted(f"{MANIFEST}: {withheld[0]} does not permit 'publish': run  ai-therapist dataset  again")
    if layout is None:
        return folder
    for reason in _against_media(sessions):
        raise NotPermitted(reason)
    shutil.rmtree(folder)
    export_layout(workspace, layout).folder.replace(folder)
    return folder


def _against_media(sessions: list[Session]) -> Iterator[str]:
    for session in sessions:
        consent = session.consent
        played = consent.basis is Basis.FICTIONAL_ROLE_PLAY or consent.subject is Subject.ROLE_PLAY
        if not played:
            yield f"{session.name}: clips of a real client are never given away; publish text and labels instead"
        elif not consent.allows(Use.EMOTION_FROM_MEDIA):
            yield f"{session.name}: its consent record does not permit 'emotion_from_media': publish text and labels"

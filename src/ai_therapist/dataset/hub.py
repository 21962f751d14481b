"""Sends a folder to a repository on the Hugging Face Hub: private, resumable, and never the same commit twice.

    folder ─ compare with what is there ─▶ large files, each once ─▶ commits of at most 100 files, the card in the last

What is compared is content: a file that the repository holds already is not sent, and where nothing differs there is
no commit. So after a kill at any moment the same call goes on where it stopped. Each commit names the one it builds
on, so that two programs cannot overwrite each other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ai_therapist.errors import (
    AiTherapistError,
    ConfigError,
    MissingExtra,
    MissingInput,
    NotPermitted,
    RequestError,
    TransientError,
    bare_address,
)
from ai_therapist.store.blobs import hash_file
from ai_therapist.store.codec import canonical_json
from ai_therapist.store.uploads import RepositoryKind, Upload, note_upload
from ai_therapist.store.workspace import Workspace

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

ENDPOINT = "https://huggingface.co"
"""Where repositories are unless HF_ENDPOINT says otherwise."""

_FILES_PER_COMMIT = 100
_MOST_FILES = 100_000
_MOST_FILES_PER_FOLDER = 10_000
_LAST = ("README.md", "croissant.json")
"""Committed last, so that no revision describes data that is not there yet."""
_KEPT = frozenset({".gitattributes"})
"""Files that the Hub makes and nobody sends."""


@dataclass(frozen=True)
class Access:
    """Who may see the repository. The default is nobody but its owner."""

    public: bool = False
    typed_name: str | None = None
    """The repository's name as a person typed it; a public one is made only where it is the same."""


PRIVATE = Access()


@dataclass(frozen=True)
class Pushed:
    """What a push left behind."""

    repository: str
    url: str
    commit: str | None
    """Revision that holds the folder; None only for a repository without any commit."""
    sent: int
    """Files that were sent or replaced."""
    removed: int
    """Files of an earlier push that the folder has no more."""
    unchanged: int


def push_folder(
    repository: str,
    folder: Path,
    *,
    kind: RepositoryKind,
    workspace: Workspace,
    sessions: Sequence[str],
    token: str | None = None,
    access: Access = PRIVATE,
    message: str = "Upload with ai-therapist",
) -> Pushed:
    """Make the repository `owner/name` hold exactly what `folder` holds; returns what had to be done.

    `sessions` are the ids of the sessions behind the folder: they are noted in the workspace before anything leaves, so
    that `forget` can name the copy. The token is HF_TOKEN where none is given. Whether the sessions permit it is for
    the caller to ask (privacy.release). A repository is made private; one that is public already is refused unless
    `access` asks for it, and going public sets manual gating in the same request.

    Raises ConfigError for an HF_ENDPOINT with a secret in it, NotPermitted for a public repository that nobody asked
    for by name, MissingInput without a token or files,
    RequestError where the Hub refuses, TransientError where another attempt may help, and MissingExtra.
    """
    _check_access(repository, access)
    files = _files(folder)
    token = token or os.environ.get("HF_TOKEN")
    if not token:
        raise MissingInput("HF_TOKEN is not set: put a token with write permission into the environment or .env")
    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    if endpoint != bare_address(endpoint):
        # It is written down and named by `forget`.
        raise ConfigError("HF_ENDPOINT must be a plain address: no user, password, query or fragment in it")
    noted = Upload(
        kind=kind,
        repository=repository,
        endpoint=endpoint,
        private=not access.public,
        digest=hashlib.sha256(canonical_json({name: hash_file(path) for name, path in files.items()})).hexdigest(),
        commit=None,
        sessions=tuple(sorted(set(sessions))),
        at=_now(),
    )
    api = _api(endpoint, token)
    with _told(repository):
        remote = _Remote(api, repository, kind)
        remote.ensure(access)
        note_upload(workspace.root, noted)
        pushed = remote.sync(files, message)
        if access.public:
            remote.publish()
    note_upload(workspace.root, noted.model_copy(update={"commit": pushed.commit, "at": _now()}))
    return pushed


def _check_access(repository: str, access: Access) -> None:
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise RequestError(f"{repository!r} names no repository: write OWNER/NAME")
    if access.public and access.typed_name != repository:
        raise NotPermitted(
            f"{repository}: a public repository is made only where its name is typed again in full; "
            "what is public once cannot be taken back"
        )


def _files(folder: Path) -> dict[str, Path]:
    """Files below the folder by POSIX path. Raises MissingInput for none, RequestError for what must not be sent."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    if not files:
        raise MissingInput(f"{folder} holds no file to send")
    for name, path in files.items():
        if any(part.startswith(".") for part in Path(name).parts):
            raise RequestError(f"{name}: hidden files are not sent; remove it from {folder}")
        if path.is_symlink():
            raise RequestError(f"{name}: links are not followed; replace it by the file")
    fullest = max(sum(other.parent == path.parent for other in paths) for path in {p.parent: p for p in paths}.values())
    if len(files) > _MOST_FILES or fullest > _MOST_FILES_PER_FOLDER:
        raise RequestError(
            f"{folder} has {len(files)} files, {fullest} in one folder; the Hub takes {_MOST_FILES} and "
            f"{_MOST_FILES_PER_FOLDER}: use a layout of fewer, larger files (parquet or webdataset)"
        )
    return files


class _Remote:
    """One repository, seen through the Hub's own client."""

    def __init__(self, api: HfApi, repository: str, kind: RepositoryKind) -> None:
        self._api = api
        self._repository = repository
        self._kind = kind

    def ensure(self, access: Access) -> None:
        """Make the repository, private, where there is none. Raises NotPermitted for one that is public unasked."""
        self._api.create_repo(self._repository, repo_type=self._kind, private=True, exist_ok=True)
        info = self._api.repo_info(self._repository, repo_type=self._kind)
        if not info.private and not access.public:
            raise NotPermitted(f"{self._repository} is public: make it private, choose another name, or ask for public")

    def sync(self, files: dict[str, Path], message: str) -> Pushed:
        """Commit what differs."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        head = self._api.repo_info(self._repository, repo_type=self._kind).sha
        there = self._content()
        changed = [name for name, path in files.items() if name not in there or not there[name](path)]
        gone = sorted(there.keys() - files.keys() - _KEPT)
        changed.sort(key=lambda name: (name in _LAST, name))
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationDelete(path_in_repo=name) for name in gone
        ]
        operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=files[name]) for name in changed]
        for start in range(0, len(operations), _FILES_PER_COMMIT):
            done = self._api.create_commit(
                self._repository,
                operations[start : start + _FILES_PER_COMMIT],
                commit_message=message,
                repo_type=self._kind,
                parent_commit=head,
            )
            head = done.oid
        prefix = "" if self._kind == "model" else f"{self._kind}s/"
        return Pushed(
            repository=self._repository,
            url=f"{self._api.endpoint}/{prefix}{self._repository}",
            commit=head,
            sent=len(changed),
            removed=len(gone),
            unchanged=len(files) - len(changed),
        )

    def publish(self) -> None:
        """Everyone may ask for access and a person decides; both in one request, so that it is never open."""
        self._api.update_repo_settings(self._repository, repo_type=self._kind, gated="manual", private=False)

    def _content(self) -> dict[str, Callable[[Path], bool]]:
        """For every file there, whether a local one has the same content."""
        from huggingface_hub.hf_api import RepoFile

        found: dict[str, Callable[[Path], bool]] = {}
        for entry in self._api.list_repo_tree(self._repository, recursive=True, repo_type=self._kind):
            if isinstance(entry, RepoFile):
                found[entry.path] = _same_as(entry)
        return found


def _same_as(entry: RepoFile) -> Callable[[Path], bool]:
    large = entry.lfs
    if large is not None:
        return lambda path: path.stat().st_size == large.size and hash_file(path) == large.sha256
    return lambda path: path.stat().st_size == entry.size and _git_digest(path) == entry.blob_id


def _git_digest(path: Path) -> str:
    """The name that git gives a file of this content. It identifies, it protects nothing."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _api(endpoint: str, token: str) -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError:
        raise MissingExtra("publishing", "huggingface-hub", "cloud") from None
    import_module("huggingface_hub.utils").disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token)


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """Turns what the client raises into one line that says what to do. No message holds the token."""
    # The client's HTTP library has another name in each major version, and the client gives it under this one.
    httpx = import_module("huggingface_hub.utils").httpx
    try:
        yield
    except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise _explained(repository, error) from None


def _explained(repository: str, error: BaseException) -> AiTherapistError:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    cause: BaseException | None = error
    # The client wraps what happened to one large file into an error of its own.
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        if status in (401, 403):
            return RequestError(f"{repository}: the Hub answered {status}: HF_TOKEN may not write there")
        if status in (409, 412):
            return TransientError(f"{repository}: it changed meanwhile ({status}): run the same command again")
        if status < 500 and status not in (408, 429):
            return RequestError(f"{repository}: the Hub answered {status}: check its name and the card's header")
        return TransientError(f"{repository}: the Hub answered {status}: run the same command again later")
    if isinstance(error, OfflineModeIsEnabled):
        return RequestError(f"{repository}: HF_HUB_OFFLINE is set, so nothing is sent: unset it")
    if isinstance(error, HFValidationError):
        return RequestError(f"{repository!r} is no name that the Hub takes: write OWNER/NAME in letters, digits, - _ .")
    if isinstance(error, ValueError):
        return RequestError(f"{repository}: the Hub's client refused the upload ({type(error).__name__})")
    return TransientError(
        f"{repository}: the Hub cannot be reached or broke off ({type(error).__name__}): run the same command again"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

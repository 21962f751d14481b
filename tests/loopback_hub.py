"""A Hugging Face Hub on the loopback address that speaks to the real client and remembers everything it was asked.

It keeps repositories, their settings, commits and large files, checks the sha256 and size of every large file against
what was announced, and refuses what the Hub is known to refuse. It proves that our calls are well formed and what they
lead to; it does not prove that the Hub accepts them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

LARGE_SUFFIXES = (".parquet", ".tar", ".mp4", ".wav", ".safetensors", ".bin")
"""Files that are stored as large ones, as the Hub's default .gitattributes has it."""

TOKEN = "hf_loopback"

CLIENT_WARNING = "ignore:Use 'content=:DeprecationWarning"
"""What the client's own calls of its HTTP library warn about; tests that push must let it pass."""


@dataclass(frozen=True)
class File:
    """One file of a revision."""

    data: bytes
    large: bool

    @property
    def blob_id(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Commit:
    """One revision: its name, what it said, and the files that it holds."""

    oid: str
    message: str
    files: dict[str, File]


@dataclass
class Repository:
    """A dataset or model repository."""

    name: str
    kind: str
    private: bool
    gated: object = False
    commits: list[Commit] = field(default_factory=list)
    settings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def files(self) -> dict[str, bytes]:
        """Content of the newest revision by path."""
        return {path: file.data for path, file in self.head.files.items()}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, text: str, **more: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"error": text, **more}


class LoopbackHub:
    """The state behind the server. `before` and `after` see every request and may raise Refused or block."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.uploads: list[str] = []
        """Sha256 of every large file whose upload ended, in order."""
        self.requests: list[tuple[str, str]] = []
        self.url = ""
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.lock = threading.RLock()

    def repository(self, name: str, kind: str = "dataset") -> Repository:
        return self.repositories[kind, name]

    # what the API answers

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        kind, name = body.get("type", "model"), f"{body['organization']}/{body['name']}"
        if (kind, name) in self.repositories:
            raise Refused(409, "You already created this repo", url=f"{self.url}/{_prefix(kind)}{name}")
        private = body.get("visibility", "public") == "private"
        repository = Repository(name, kind, private)
        attributes = File(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n", large=False)
        repository.commits.append(_commit([], "initial commit", {".gitattributes": attributes}))
        self.repositories[kind, name] = repository
        return {"url": f"{self.url}/{_prefix(kind)}{name}"}

    def info(self, repository: Repository) -> dict[str, Any]:
        return {
            "id": repository.name,
            "sha": repository.head.oid,
            "private": repository.private,
            "gated": repository.gated,
            "tags": [],
            "siblings": [{"rfilename": path} for path in repository.head.files],
        }

    def settings(self, repository: Repository, body: dict[str, Any]) -> dict[str, Any]:
        repository.settings.append(body)
        repository.gated = body.get("gated", repository.gated)
        if "visibility" in body:
            repository.private = body["visibility"] == "private"
        return {}

    def preupload(self, repository: Repository, body: dict[str, Any]) -> dict[str, Any]:
        answers = []
        for each in body["files"]:
            known = repository.head.files.get(each["path"])
            answers.append(
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(LARGE_SUFFIXES) else "regular",
                    "shouldIgnore": False,
                    "oid": None if known is None else (known.sha256 if known.large else known.blob_id),
                }
            )
        return {"files": answers}

    def batch(self, body: dict[str, Any]) -> dict[str, Any]:
        objects = []
        for each in body["objects"]:
            answer = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.large:
                href = f"{self.url}/large/{each['oid']}/{each['size']}"
                verify = {"href": f"{self.url}/verify", "header": {}}
                answer["actions"] = {"upload": {"href": href, "header": {}}, "verify": verify}
            objects.append(answer)
        return {"transfer": "basic", "objects": objects}

    def upload(self, oid: str, size: int, data: bytes) -> dict[str, Any]:
        if hashlib.sha256(data).hexdigest() != oid or len(data) != size:
            raise Refused(400, "content does not match its announced sha256 and size")
        self.large[oid] = data
        self.uploads.append(oid)
        return {}

    def verify(self, body: dict[str, Any]) -> dict[str, Any]:
        if len(self.large.get(body["oid"], b"")) != body["size"]:
            raise Refused(404, "no such object")
        return {}

    def commit(self, repository: Repository, lines: list[dict[str, Any]]) -> dict[str, Any]:
        header, *operations = lines
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != repository.head.oid:
            raise Refused(412, "a commit has happened since")
        if not operations:
            raise Refused(400, "empty commit")
        files = dict(repository.head.files)
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    if value["path"].endswith(LARGE_SUFFIXES):
                        raise Refused(400, f"{value['path']} must be a large file")
                    files[value["path"]] = File(base64.b64decode(value["content"]), large=False)
                case "lfsFile":
                    if value["oid"] not in self.large:
                        raise Refused(400, f"large file {value['oid']} was never uploaded")
                    files[value["path"]] = File(self.large[value["oid"]], large=True)
                case "deletedFile":
                    del files[value["path"]]
                case other:
                    raise Refused(400, f"unknown operation {other}")
        repository.commits.append(_commit(repository.commits, header["value"]["summary"], files))
        return {
            "success": True,
            "commitOid": repository.head.oid,
            "commitUrl": f"{self.url}/{repository.name}/commit/{repository.head.oid}",
        }

    def tree(self, repository: Repository, revision: str, under: str, recursive: bool) -> list[dict[str, Any]]:
        start = f"{under}/" if under else ""
        listing: list[dict[str, Any]] = []
        folders: set[str] = set()
        for path, file in sorted(self.revision(repository, revision).files.items()):
            if not path.startswith(start):
                continue
            if not recursive and "/" in path.removeprefix(start):
                folders.add(start + path.removeprefix(start).split("/")[0])
                continue
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(file.data), "oid": file.blob_id}
            if file.large:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.data), "pointerSize": 134}
            listing.append(entry)
        return [*({"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)), *listing]

    def revision(self, repository: Repository, revision: str) -> Commit:
        if revision == "main":
            return repository.head
        found = next((commit for commit in repository.commits if commit.oid == revision), None)
        if found is None:
            raise Refused(404, "no such revision")
        return found


def _commit(earlier: list[Commit], message: str, files: dict[str, File]) -> Commit:
    names = json.dumps([len(earlier), message, {path: file.sha256 for path, file in files.items()}])
    return Commit(hashlib.sha1(names.encode()).hexdigest(), message, files)


def _prefix(kind: str) -> str:
    return "" if kind == "model" else f"{kind}s/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silence."""

    def answer(self) -> None:
        parts = urlsplit(self.path)
        steps = [unquote(step) for step in parts.path.strip("/").split("/")]
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self._sized() else self._chunks()
        try:
            with self.hub.lock:
                self.hub.requests.append((self.command, parts.path))
            self.hub.before(self.command, parts.path)
            if steps[0] not in {"large", "verify"} and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "Invalid credentials")
            with self.hub.lock:
                answer = self._route(steps, parts.query, data)
            self.hub.after(self.command, parts.path)
        except Refused as refusal:
            self._send(refusal.status, json.dumps(refusal.body).encode(), {"X-Error-Message": str(refusal)})
            return
        if answer is not None:
            self._send(200, json.dumps(answer).encode(), {})

    def _sized(self) -> bool:
        return "chunked" not in self.headers.get("Transfer-Encoding", "")

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _route(self, steps: list[str], query: str, data: bytes) -> Any:
        hub = self.hub
        match steps:
            case ["api", "repos", "create"]:
                return hub.create(json.loads(data))
            case ["api", "validate-yaml"]:
                if not json.loads(data)["content"].startswith("---"):
                    raise Refused(400, "the card has no header")
                return {"errors": [], "warnings": []}
            case ["large", oid, size]:
                return hub.upload(oid, int(size), data)
            case ["verify"]:
                return hub.verify(json.loads(data))
            case ["api", kinds, owner, name, *rest] if kinds in {"datasets", "models"}:
                return self._repository(self._find(f"{owner}/{name}", kinds.removesuffix("s")), rest, query, data)
            case [*prefix, owner, git, "info", "lfs", "objects", "batch"]:
                self._find(f"{owner}/{git.removesuffix('.git')}", prefix[0].removesuffix("s") if prefix else "model")
                return hub.batch(json.loads(data))
            case ["datasets", owner, name, "resolve", revision, *path]:
                return self._file(self._find(f"{owner}/{name}", "dataset"), revision, "/".join(path))
            case [owner, name, "resolve", revision, *path]:
                return self._file(self._find(f"{owner}/{name}", "model"), revision, "/".join(path))
        raise Refused(404, "Entry not found")

    def _find(self, name: str, kind: str) -> Repository:
        if (kind, name) not in self.hub.repositories:
            raise Refused(404, "Repository not found")
        return self.hub.repositories[kind, name]

    def _repository(self, repository: Repository, rest: list[str], query: str, data: bytes) -> Any:
        hub = self.hub
        match rest:
            case [] | ["revision", _]:
                return hub.info(repository)
            case ["settings"]:
                return hub.settings(repository, json.loads(data))
            case ["preupload", _]:
                return hub.preupload(repository, json.loads(data))
            case ["commit", _]:
                return hub.commit(repository, [json.loads(line) for line in data.splitlines()])
            case ["tree", revision, *under]:
                return hub.tree(repository, revision, "/".join(under), "recursive=true" in query.lower())
            case ["paths-info", revision]:
                wanted = json.loads(data)["paths"] if data.startswith(b"{") else []
                return [each for each in hub.tree(repository, revision, "", True) if each["path"] in wanted]
        raise Refused(404, "Entry not found")

    def _file(self, repository: Repository, revision: str, path: str) -> None:
        commit = self.hub.revision(repository, revision)
        if path not in commit.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.oid})
            return
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.sha256 if file.large else file.blob_id}"'}
        self._send(200, file.data, headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


_VERBS = {f"do_{verb}": _Handler.answer for verb in ("GET", "HEAD", "POST", "PUT")}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed breaks its connection; that is no fault of the server."""


@contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    """A running Hub; `hub.url` is what HF_ENDPOINT should be."""
    hub = LoopbackHub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub, **_VERBS}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A running Hub that HF_ENDPOINT and HF_TOKEN lead to."""
    from huggingface_hub import constants

    with loopback_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # The client reads its switches when it is imported.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield running

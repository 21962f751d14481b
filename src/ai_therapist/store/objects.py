"""Folders on an object store, `gs://bucket/prefix` or `s3://bucket/prefix`, behind the few doings that we need.

Nothing is ever replaced: an object is created where there is none, which both services decide atomically
(`ifGenerationMatch=0` on Google Cloud Storage, `If-None-Match: *` on S3). So of several writers exactly one wins.
Credentials are those of the services' own tools; addresses of other endpoints come from STORAGE_EMULATOR_HOST and
AWS_ENDPOINT_URL_S3, which the vendors' libraries read themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ai_therapist.errors import ConfigError, MissingExtra, MissingInput, StoreError, TransientError, bare_address

_URL = re.compile(r"(gs|s3)://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?")
_LOGIN = {
    "gs": "run  gcloud auth application-default login  or set GOOGLE_APPLICATION_CREDENTIALS",
    "s3": "run  aws configure  or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}


class FileSystem(Protocol):
    """The part of an fsspec file system that is used here."""

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, object]]:
        """Everything below a path."""

    def info(self, path: str) -> dict[str, object]:
        """What is known of an object; FileNotFoundError where there is none."""

    def cat_file(self, path: str, *, start: int | None = None, end: int | None = None) -> bytes:
        """Content of an object, or a part of it."""

    def get_file(self, rpath: str, lpath: str) -> None:
        """Download an object."""

    def put_file(self, lpath: str, rpath: str, *, mode: str) -> None:
        """Upload a file; with mode "create" FileExistsError where the object exists."""

    def pipe_file(self, path: str, value: bytes, *, mode: str) -> None:
        """Upload bytes; with mode "create" FileExistsError where the object exists."""

    def rm_file(self, path: str) -> None:
        """Remove an object."""

    def invalidate_cache(self) -> None:
        """Forget listings."""


@dataclass(frozen=True)
class Listed:
    """One object of a listing."""

    name: str
    """Relative to the bucket folder."""
    size: int
    identity: str
    """What changes whenever the content does: the generation on gs://, the ETag on s3://."""


@dataclass(frozen=True)
class BucketFolder:
    """All objects below one prefix of one bucket. Cheap to make and to send to a worker: it connects when used."""

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def at(cls, url: str) -> BucketFolder:
        """The folder that an address names. Raises ConfigError for one that is not gs://… or s3://…"""
        match = _URL.fullmatch(url)
        if match is None:
            raise ConfigError(
                f"{bare_address(url)!r} is no bucket folder: write gs://BUCKET/FOLDER or s3://BUCKET/FOLDER"
            )
        parts = [part for part in (match[3] or "").split("/") if part]
        if {".", ".."} & set(parts):
            raise ConfigError(f"{bare_address(url)!r}: a folder of a bucket has no '.' or '..' in it")
        return cls(match[1], match[2], "/".join(parts))

    @property
    def url(self) -> str:
        """The address."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")

    def list(self, below: str = "") -> Iterator[Listed]:
        """Every object whose name starts with the folder `below`, in no order."""
        root = self._path(below)
        try:
            with self._told(f"list {below or 'the folder'}"):
                found = self._files.find(root, detail=True)
        except MissingInput:
            # An empty folder and no folder are the same on an object store.
            return
        for path, info in found.items():
            if info.get("type") == "directory" or path.endswith("/"):
                continue
            name = path.removeprefix(self._path("")).lstrip("/")
            identity = str(info.get("generation") or info.get("ETag") or info.get("etag") or "").strip('"')
            yield Listed(name, int(str(info["size"])), identity)

    def read(self, name: str) -> bytes:
        """Content of an object. Raises MissingInput where there is none."""
        with self._told(f"read {name}"):
            return self._files.cat_file(self._path(name))

    def head(self, name: str, count: int) -> bytes:
        """The first `count` bytes of an object that is not empty. Raises MissingInput where there is none."""
        with self._told(f"read {name}"):
            return self._files.cat_file(self._path(name), start=0, end=count)

    def has(self, name: str) -> bool:
        """Whether there is an object of this name."""
        try:
            with self._told(f"look for {name}"):
                return self._files.info(self._path(name)).get("type") == "file"
        except MissingInput:
            return False

    def download(self, name: str, target: Path) -> None:
        """Write an object to a file. Raises MissingInput where there is none."""
        with self._told(f"read {name}"):
            self._files.get_file(self._path(name), str(target))

    def create(self, name: str, content: bytes | Path) -> bool:
        """Create an object; returns False, and changes nothing, where there is one of that name."""
        try:
            with self._told(f"write {name}"):
                if isinstance(content, bytes):
                    self._files.pipe_file(self._path(name), content, mode="create")
                else:
                    self._files.put_file(str(content), self._path(name), mode="create")
        except FileExistsError:
            return False
        except TransientError:
            # A large upload that is refused is then cancelled, and some services answer the cancelling with an error.
            if any(listed.name == name for listed in self.list(name)):
                return False
            raise
        return True

    def delete(self, name: str) -> None:
        """Remove an object, whether or not it is there."""
        try:
            with self._told(f"delete {name}"):
                self._files.rm_file(self._path(name))
        except MissingInput:
            return

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self.bucket, self.prefix, name) if part)

    @cached_property
    def _files(self) -> FileSystem:
        return _connect(self.scheme)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turns what the libraries raise into errors of ours; they raise errors of the system and their own."""
        try:
            yield
        except FileExistsError:
            raise
        except FileNotFoundError:
            raise MissingInput(f"{self.url}: cannot {doing}: it is not there") from None
        except PermissionError:
            raise StoreError(
                f"{self.url}: cannot {doing}: no right to: check the credentials and the rights on the bucket"
            ) from None
        except (OSError, TimeoutError) as error:
            raise TransientError(
                f"{self.url}: cannot {doing}: {type(error).__name__}: run the command again, it goes on from here"
            ) from None
        except _vendor_errors(self.scheme) as error:
            raise _of_vendor(error, f"{self.url}: cannot {doing}") from None


def _vendor_errors(scheme: str) -> tuple[type[Exception], ...]:
    """The errors of the vendor's library that are no errors of the system. Asked for when one has been raised."""
    if scheme == "gs":
        from aiohttp import ClientError as WebError
        from gcsfs.retry import HttpError
        from google.auth.exceptions import GoogleAuthError

        return HttpError, GoogleAuthError, WebError
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _of_vendor(error: Exception, what: str) -> Exception:
    """An error of a vendor's library as ours; a status of 412 says that the object exists."""
    response = getattr(error, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    code = int(getattr(error, "code", None) or status or 0)
    if code in (409, 412):
        return FileExistsError(what)
    name = type(error).__name__
    if not code and "Credential" in name:
        return ConfigError(f"{what}: no credentials ({name}): {_LOGIN[what.partition(':')[0]]}")
    if code in (401, 403) or "Credential" in name or "Auth" in name:
        return StoreError(f"{what}: no right to ({name}): check the credentials and the rights on the bucket")
    return TransientError(f"{what}: {name}: run the command again, it goes on from here")


def _connect(scheme: str) -> FileSystem:
    # Looking for hierarchical buckets at the first call hangs where Google's control service does not answer.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        import fsspec
    except ModuleNotFoundError:
        raise MissingExtra(f"{scheme}://", "fsspec", "cloud") from None
    # Listings must not be remembered: other writers add objects.
    options: dict[str, object] = {"use_listings_cache": False}
    if scheme == "gs" and os.environ.get("STORAGE_EMULATOR_HOST"):
        options["token"] = "anon"
    try:
        files: FileSystem = fsspec.filesystem(scheme, **options)
    except ImportError:
        raise MissingExtra(f"{scheme}://", _PACKAGES[scheme], "cloud") from None
    return files

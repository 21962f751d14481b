"""Object stores on this machine that speak the vendors' protocols to the vendors' own libraries."""

import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http import HTTPStatus
from typing import Any

import fsspec
import pytest
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.server import HANDLERS, create_server
from moto.server import ThreadedMotoServer

from ai_therapist.store.objects import BucketFolder

_real_insert = objects.insert
_one_at_a_time = threading.Lock()


def _conditional_insert(request: Any, response: Any, storage: Any, *args: Any, **options: Any) -> None:
    """What the emulator lacks: `ifGenerationMatch=0` answers 412 where the object exists."""
    name = request.query.get("name", [None])[0]
    if name is None and isinstance(request.data, dict):
        name = request.data.get("meta", request.data).get("name")
    with _one_at_a_time:
        if request.query.get("ifGenerationMatch") == ["0"]:
            try:
                storage.get_file_obj(request.params["bucket_name"], name)
            except NotFound:
                pass
            else:
                response.status = HTTPStatus.PRECONDITION_FAILED
                response.json({"error": {"code": 412, "message": "precondition failed"}})
                return
        _real_insert(request, response, storage, *args, **options)


def _cancel(request: Any, response: Any, storage: Any, *args: Any, **options: Any) -> None:
    """What the emulator lacks, too: the cancelling of an upload, which Google answers with 499."""
    response.status = _Closed.CLIENT_CLOSED_REQUEST


class _Closed(Enum):
    CLIENT_CLOSED_REQUEST = 499

    @property
    def phrase(self) -> str:
        return "Client Closed Request"


@contextmanager
def google_bucket(patch: pytest.MonkeyPatch) -> Iterator[BucketFolder]:
    """gs://data, empty."""
    for _, methods in HANDLERS:
        for method, handler in list(methods.items()):
            if handler is _real_insert:
                patch.setitem(methods, method, _conditional_insert)
                patch.setitem(methods, "DELETE", _cancel)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="data")
    server.start()
    patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    try:
        yield BucketFolder.at("gs://data/study")
    finally:
        server.stop()


@contextmanager
def amazon_bucket(patch: pytest.MonkeyPatch) -> Iterator[BucketFolder]:
    """s3://data, empty."""
    import boto3
    from botocore.session import Session

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert Session().get_credentials() is not None
    # The server keeps its buckets in this process, beyond its own life.
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    client = boto3.client("s3")
    client.create_bucket(Bucket="data")
    client.close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    try:
        yield BucketFolder.at("s3://data/study")
    finally:
        server.stop()


@pytest.fixture(params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketFolder]:
    """An empty folder of an empty bucket, once on each service."""
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    with (google_bucket if request.param == "gs" else amazon_bucket)(monkeypatch) as folder:
        yield folder

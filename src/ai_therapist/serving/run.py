"""Runs the server: refuses an address that is not safe to listen on, and ends only when running turns are over."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import APIRouter

from ai_therapist.errors import ConfigError, MissingInput, RequestError
from ai_therapist.serving.app import create_app
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.connection import patient_for
from ai_therapist.serving.service import ChatService

SHORTEST_PASSWORD = 12

_HEAD_BYTES = 16_384


class Server(uvicorn.Server):
    """A server that lets nobody in while it ends; running turns get `serving.drain_s` seconds."""

    def __init__(self, config: uvicorn.Config, service: ChatService, on_start: Callable[[str], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does and tell the address."""
        await super().startup(sockets)
        if self.started:
            host = self.config.host if ":" not in self.config.host else f"[{self.config.host}]"
            self._on_start(f"{'https' if self.config.is_ssl else 'http'}://{host}:{self.port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse those who wait, then end as uvicorn does."""
        self._service.turnstile.close()
        await super().shutdown(sockets)

    @property
    def port(self) -> int:
        """The port that it listens on, once it has started."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


def make_server(
    service: ChatService,
    routers: Sequence[APIRouter] = (),
    *,
    password: str | None = None,
    on_start: Callable[[str], None] = lambda address: None,
) -> Server:
    """The server of a service; `routers` are the routes of pages beside the API. `on_start` is told its address.

    Raises ConfigError for an address of other machines without password and TLS, for a password that is too short, and
    for a certificate or key that TLS cannot use; MissingInput where one of them is no file.
    """
    config = service.serving
    _refuse_unsafe(config, password)
    quiet = logging.getLogger("uvicorn.error")
    if not any(isinstance(known, _WithoutTracebacks) for known in quiet.filters):
        quiet.addFilter(_WithoutTracebacks())
    return Server(
        uvicorn.Config(
            create_app(service, routers, password=password),
            host=config.host,
            port=config.port,
            http=patient_for(config.receive_s),
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=config.connections,
            timeout_graceful_shutdown=max(1, round(config.drain_s)),
            h11_max_incomplete_event_size=_HEAD_BYTES,
            ssl_certfile=config.certificate,
            ssl_keyfile=config.key,
        ),
        service,
        on_start,
    )


def check_listening(config: ServingConfig, password: str | None) -> None:
    """Whether the server may and can listen there, asked before a model is loaded.

    Raises as `make_server`, and RequestError where another program listens there or the address is not of this machine.
    """
    _refuse_unsafe(config, password)
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise RequestError(f"port {config.port} of {config.host}: {reason}: choose another with --port") from None


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach the address. A name other than localhost counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _refuse_unsafe(config: ServingConfig, password: str | None) -> None:
    if password is not None and len(password) < SHORTEST_PASSWORD:
        raise ConfigError(f"SERVE_PASSWORD needs at least {SHORTEST_PASSWORD} characters")
    for name, file in (("certificate", config.certificate), ("key", config.key)):
        if file is not None and not Path(file).is_file():
            raise MissingInput(f"serving.{name}: {file} is no file")
    if (config.certificate is None) != (config.key is None):
        raise ConfigError("serving.certificate and serving.key go together")
    if config.certificate is not None and config.key is not None:
        _refuse_unusable(config.certificate, config.key)
    if config.media_root is not None and not Path(config.media_root).is_dir():
        raise MissingInput(f"serving.media_root: {config.media_root} is no folder")
    if not is_loopback(config.host) and (password is None or config.certificate is None):
        raise ConfigError(
            f"serving.host {config.host!r} can be reached from other machines: set SERVE_PASSWORD in the environment, "
            "and serving.certificate and serving.key; or listen on 127.0.0.1"
        )


def _refuse_unusable(certificate: str, key: str) -> None:
    """Raises ConfigError for a certificate or a key that TLS cannot use, a key behind a passphrase among them."""
    try:
        # An empty passphrase, or OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ConfigError(_unusable(certificate, key, error)) from None


def _unusable(certificate: str, key: str, error: OSError) -> str:
    """Which of the two is at fault, as a line for the user."""
    if not isinstance(error, ssl.SSLError):
        return f"serving.certificate or serving.key: {error.strerror or type(error).__name__}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except OSError:
        return f"serving.certificate: {certificate} is no certificate chain in PEM"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"serving.key: {key} is not the key of serving.certificate"
    return f"serving.key: {key} is no private key in PEM without a passphrase"


class _WithoutTracebacks(logging.Filter):
    """Keeps tracebacks out of the log: their messages may quote what people said."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line through, an exception as the name of its type."""
        if record.exc_info:
            kind = record.exc_info[0]
            record.msg, record.args = f"{record.getMessage().strip()}: {kind.__name__ if kind else 'unknown'}", ()
            record.exc_info = record.exc_text = None
        return True

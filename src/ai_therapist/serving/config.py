"""Settings of the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig


class ServingConfig(StageConfig):
    """Where the server listens, whom it answers, and how much it takes on."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than the loopback ones needs SERVE_PASSWORD, a certificate and a key."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_000
    """Port to listen on; 0 takes a free one."""
    certificate: str | None = None
    """File with the TLS certificate chain in PEM."""
    key: str | None = None
    """File with the private key of the certificate in PEM."""
    hosts: tuple[str, ...] = ()
    """Names, beside the loopback ones and `host`, under which the server may be addressed."""
    origins: tuple[str, ...] = ()
    """Pages of other origins that may call the server, as https://study.example."""
    media_root: str | None = None
    """Folder below which requests may name local files; without it they bring clips as data URLs only."""
    body_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 32 << 20
    """Largest body of a request."""
    messages: Annotated[int, Field(ge=1, le=4_096)] = 512
    """Most messages of a request."""
    message_chars: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    """Longest message of a request."""
    clips: Annotated[int, Field(ge=0, le=256)] = 32
    """Most clips, pictures and sounds of a request; only that of the last message is looked at."""
    concurrent: Annotated[int, Field(ge=1, le=256)] = 1
    """Turns that the model works on at once; a model on this machine takes one after the other anyway."""
    waiting: Annotated[int, Field(ge=0, le=4_096)] = 128
    """Requests that may wait for the model; one more is told to come again (429)."""
    wait_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0
    """Seconds that a request waits for the model at most; then it is told to come again (503)."""
    conversations: Annotated[int, Field(ge=1, le=4_096)] = 256
    """Conversations kept in memory; the one unused for longest makes room for a new one."""
    conversation_idle_s: Annotated[float, Field(gt=0, le=86_400)] = 3_600.0
    """Seconds without a message after which a conversation is forgotten."""
    connections: Annotated[int, Field(ge=1, le=65_536)] = 1_024
    """Most open connections."""
    receive_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds in which the head of a request, and then its body, must have arrived."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Seconds that running turns get to finish when the server is stopped."""

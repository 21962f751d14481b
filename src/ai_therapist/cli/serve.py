"""ai-therapist serve."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from ai_therapist.cli.options import load_settings, settings_options, workspace_option
from ai_therapist.errors import MissingExtra


@click.command(epilog="Example:  ai-therapist serve -w demo-workspace --port 8000")
@click.option("--model", metavar="SPEC", help="The model that replies; without it the last that was fine-tuned.")
@click.option("--host", help="Address to listen on; any but a loopback one needs a password and TLS.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 takes a free one.")
@workspace_option
@settings_options
def command(
    model: str | None,
    host: str | None,
    port: int | None,
    workspace: Path,
    config: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Serve the model inside the safety shell to OpenAI's clients, on this machine only.

    A password is taken from SERVE_PASSWORD in the environment or in .env; clients send it as their API key.
    """
    from ai_therapist.cli.console import announce_model, notes, say
    from ai_therapist.inference.run import open_speaker
    from ai_therapist.store.workspace import Workspace

    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        raise MissingExtra("serve", "fastapi", "web")
    from ai_therapist.serving.run import check_listening, make_server
    from ai_therapist.serving.service import ChatService

    settings = load_settings(config, assignments)
    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    serving = settings.serving.model_copy(update=given)
    password = os.environ.get("SERVE_PASSWORD") or None
    check_listening(serving, password)
    spec = model or settings.inference.model
    announce_model()
    with open_speaker(spec or Workspace.existing(workspace), settings.inference) as speaker:
        service = ChatService(speaker, settings.inference, serving)
        name = speaker.generator.name

        def tell(address: str) -> None:
            say(f"{name} on {address}/v1   (Ctrl-C ends it)")

        server = make_server(service, password=password, on_start=tell)
        try:
            server.run()
        except KeyboardInterrupt:
            notes.print("stopped; nothing was kept")

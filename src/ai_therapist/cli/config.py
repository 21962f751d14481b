"""ai-therapist config."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import click

from ai_therapist.cli.options import settings_options


@click.group(epilog="Example:  ai-therapist config show --set extraction.clips.min_clip_ms=2500")
def command() -> None:
    """Settings: what is in force, and where each value comes from."""


@command.command(epilog="Example:  ai-therapist config show --verbose")
@click.option("--json", "as_json", is_flag=True, help="Print the resolved settings as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Say what each setting means.")
@settings_options
def show(config: Path | None, assignments: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """Print every setting with its value and its origin; credentials only as set or not set."""
    from ai_therapist.cli.console import out, say
    from ai_therapist.cli.settings import CREDENTIALS, load_dotenv, resolve

    load_dotenv()
    resolved = resolve(config, assignments)
    if as_json:
        click.echo(json.dumps(_nested(resolved.rows()), indent=2))
        return
    table = ""
    for key, value, origin, text in resolved.rows():
        head, _, name = key.partition(".")
        if head != table:
            table = head
            out.print(f"\n\\[{head}]")
        shown = json.dumps(value, default=_plain)
        say(f"{name} = {shown}  # {origin}")
        if verbose and text:
            say(f"    {text}")
    out.print("\n# credentials, from the environment or .env")
    for name in CREDENTIALS:
        out.print(f"# {name}: {'set' if os.environ.get(name) else 'not set'}")


def _nested(rows: Iterable[tuple[str, object, str, str]]) -> dict[str, object]:
    """The settings as tables in tables. Their own form in JSON would leave out those that change no result."""
    whole: dict[str, object] = {}
    for key, value, _, _ in rows:
        *heads, name = key.split(".")
        table = whole
        for head in heads:
            table = cast(dict[str, object], table.setdefault(head, {}))
        table[name] = json.loads(json.dumps(value, default=_plain))
    return whole


def _plain(item: object) -> object:
    from pydantic import BaseModel

    if isinstance(item, BaseModel):
        return item.model_dump(mode="json")
    return sorted(item) if isinstance(item, frozenset) else str(item)

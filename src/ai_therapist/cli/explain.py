"""ai-therapist explain."""

from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option

_HIDDEN = ("text", "words", "context", "client", "reply", "outcome")
"""Fields that hold what people said; shown only on request."""


@click.command(epilog="Example:  ai-therapist explain exm_0123456789ab -w study")
@click.argument("record_id", metavar="ID")
@click.option("--content", is_flag=True, help="Show what was said as well.")
@workspace_option
def command(record_id: str, workspace: Path, content: bool) -> None:
    """Trace the record ID (ses_, utt_, clp_, ann_ or exm_ …) back to the recording it came from."""
    import json

    from ai_therapist.cli.console import say
    from ai_therapist.errors import RequestError
    from ai_therapist.records.ids import is_record_id
    from ai_therapist.store.lineage import find_record, trace
    from ai_therapist.store.workspace import Workspace

    if not is_record_id(record_id):
        raise RequestError(f"{record_id!r} is no record id: write a prefix and 12 hexadecimal digits, utt_0123456789ab")
    place = Workspace.existing(workspace)
    record = find_record(place, record_id)
    shown = {key: value for key, value in record.items() if content or key not in _HIDDEN}
    say(json.dumps(shown, indent=2, ensure_ascii=False))
    for step in trace(place, record_id):
        action = step.action
        tools = ", ".join(f"{name} {version}" for name, version in action.tools.items())
        indent = "  " * step.depth
        say(
            f"{indent}{action.stage} v{action.version} of {action.item} gave {step.output!r}"
            f" (action {action.key[:12]}{'; ' + tools if tools else ''})"
        )
        for name, digest in step.sources:
            say(f"{indent}  {name!r} came from outside: sha256 {digest}")

"""Rewrite the generated pages of docs/: python scripts/write_docs.py. A test compares them with what they should be."""

from pathlib import Path

import click

from ai_therapist.cli import COMMANDS, cli

DOCS = Path(__file__).parents[1] / "docs"


def command_reference() -> str:
    """docs/commands.md: the help of every command, as the command prints it at 100 columns."""
    root = cli.make_context("ai-therapist", [], resilient_parsing=True, terminal_width=100, max_content_width=100)
    parts = ["# Commands", "", "Generated from the commands themselves by `make docs`; do not edit.", ""]
    parts += ["## ai-therapist", "", *_help(root)]
    for name in COMMANDS:
        command = cli.get_command(root, name)
        if command is None:
            raise ValueError(f"no command {name!r}")
        context = _below(root, command, name)
        parts += [f"## {context.command_path}", "", *_help(context)]
        if isinstance(command, click.Group):
            for inner_name, inner in command.commands.items():
                inner_context = _below(context, inner, inner_name)
                parts += [f"### {inner_context.command_path}", "", *_help(inner_context)]
    return "\n".join(parts)


def _below(parent: click.Context, command: click.Command, name: str) -> click.Context:
    return command.make_context(name, [], parent, resilient_parsing=True, terminal_width=100, max_content_width=100)


def _help(context: click.Context) -> list[str]:
    return ["```", context.get_help(), "```", ""]


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    from ai_therapist.annotation.codebook_page import codebook_page
    from ai_therapist.inference.gated import FIXED_FAILED
    from ai_therapist.inference.reply import FIXED_IMMINENT
    from ai_therapist.safety.protocol_page import protocol_page

    return {
        DOCS / "commands.md": command_reference(),
        DOCS / "codebook.md": codebook_page(),
        DOCS / "SAFETY_PROTOCOL.md": protocol_page(FIXED_IMMINENT, FIXED_FAILED),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path}")

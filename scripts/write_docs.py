"""Rewrite the generated pages of docs/: python scripts/write_docs.py. A test compares them with what they should be."""

from pathlib import Path

import click

from ai_therapist.cli import COMMANDS, cli

DOCS = Path(__file__).parents[1] / "docs"


def command_reference() -> str:
    """docs/commands.md: the help of every command, as the command prints it at 100 columns."""
    parts = [
        "# Commands",
        "",
        "Generated from the commands themselves by `make docs`; do not edit.",
        "",
        "## ai-therapist",
        "",
        *_help(cli, "ai-therapist"),
    ]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        if command is None:
            raise ValueError(f"no command {name!r}")
        parts += [f"## ai-therapist {name}", "", *_help(command, f"ai-therapist {name}")]
        if isinstance(command, click.Group):
            for inner_name, inner in command.commands.items():
                path = f"ai-therapist {name} {inner_name}"
                parts += [f"### {path}", "", *_help(inner, path)]
    return "\n".join(parts)


def _help(command: click.Command, name: str) -> list[str]:
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    return ["```", command.get_help(context), "```", ""]


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    from ai_therapist.annotation.codebook_page import codebook_page

    return {DOCS / "commands.md": command_reference(), DOCS / "codebook.md": codebook_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path}")

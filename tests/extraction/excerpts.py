"""Folders of short recordings with real speech, cut from the sample sessions."""

from pathlib import Path
from shutil import copyfile

from ai_therapist.media.cut import cut

SAMPLES = Path(__file__).parents[2] / "samples" / "recordings"


def make_excerpts(folder: Path, seconds: int, *names: str) -> Path:
    """The first seconds of these sample sessions with their consent records, in a new folder."""
    folder.mkdir()
    for name in names:
        cut(SAMPLES / f"{name}.mp4", folder / f"{name}.mp4", range(16 * seconds))
        copyfile(SAMPLES / f"{name}.consent.json", folder / f"{name}.consent.json")
    return folder

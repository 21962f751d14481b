"""What the tests that kill things share: the bytes that must stay the same."""

from pathlib import Path

from ai_therapist.store.blobs import hash_file


def contents(root: Path) -> dict[str, str]:
    """Digest of every file of the store that is there to stay; tickets and intents are of the moment."""
    return {
        path.relative_to(root).as_posix(): hash_file(path)
        for kind in ("cas", "act", "bad")
        for path in sorted((root / "store" / kind).rglob("*"))
        if path.is_file() and path.suffix in ("", ".json")
    }

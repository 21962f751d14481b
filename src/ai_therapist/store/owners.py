"""Whose the private files of a store are: their names begin with the host and the process that made them."""

import os
import socket
from pathlib import Path


def writer() -> str:
    """What the names of this process's private files begin with."""
    return f"{socket.gethostname()}-{os.getpid()}"


def owner_of(folder: Path) -> tuple[str, int | None]:
    """Host and process that a private folder belongs to; no process where its name does not say."""
    host, _, pid = folder.name.rpartition("-")[0].rpartition("-")
    return host, int(pid) if pid.isdigit() else None


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

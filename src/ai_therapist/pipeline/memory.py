"""A ceiling on what a task may take of the memory of its process, where the system has one to set."""

from __future__ import annotations

import contextlib
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

_STATM = Path("/proc/self/statm")


@contextlib.contextmanager
def limited_memory(megabytes: int) -> Iterator[None]:
    """Let this process take at most so much more address space inside the `with`; 0 sets no limit.

    Beyond it allocations fail, in Python with MemoryError. Only on Linux: elsewhere nothing is limited. For processes
    that do one task at a time, since the ceiling is the whole process's.
    """
    if not megabytes or sys.platform != "linux":
        yield
        return
    import resource

    taken = int(_STATM.read_text("ascii").split()[0]) * mmap.PAGESIZE
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = taken + megabytes * 1_000_000
    bounds = [bound for bound in (ceiling, soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

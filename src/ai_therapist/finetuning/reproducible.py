"""What makes a run give the same bits on machines with other numbers of cores."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with a single thread, then as before.

    Sums in several threads are rounded in another order. A tiny model loses nothing: its operations are too small to
    share, and beside other work on the machine two threads that wait for each other were five times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

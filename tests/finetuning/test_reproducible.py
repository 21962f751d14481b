"""A run computes with one thread and leaves the number as it was."""

import pytest
import torch

from ai_therapist.finetuning.reproducible import one_thread


def test_one_thread_inside_and_as_before_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with pytest.raises(RuntimeError), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)

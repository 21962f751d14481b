"""What we need of transformers' private names is there, and a line says so where it is not."""

import pytest
from transformers import processing_utils

from ai_therapist.videollama2 import transformers_internals
from ai_therapist.videollama2.processing_videollama2 import VideoLLaMA2Processor
from ai_therapist.videollama2.transformers_internals import INTERNALS, Internal, require


def test_every_internal_is_there() -> None:
    require()


def test_one_that_is_gone_is_named_with_its_reason() -> None:
    gone = Internal(processing_utils, "_GONE", "to show it")
    with pytest.raises(ImportError, match=r"processing_utils\._GONE, which VideoLLaMA2 needs to show it; install"):
        require((*INTERNALS, gone))


def test_a_switch_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_internals, "_MISSING_IS_NO_ERROR", "gone")
    with pytest.raises(ImportError, match=r"cached_files\(gone=\), which VideoLLaMA2 needs to tell"):
        require()


def test_what_is_overridden_is_overridden() -> None:
    for name in ("_multimodal_inputs_from_conversations", "_get_arguments_from_pretrained"):
        assert name in vars(VideoLLaMA2Processor)

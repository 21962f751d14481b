"""A request for a server that holds only the language model: the prompt as numbers, made where the recordings are.

Face and voice of a clip stay on this machine: frames and sound go through the towers here, and what leaves are the
vectors that the language model reads, in the form of vLLM's `prompt_embeds` (started with --enable-prompt-embeds).
Vectors are not anonymous: the words can be read back from them, and that nothing of a face can be is not shown.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import torch

from ai_therapist.models.local import TunedModel
from ai_therapist.records.message import Message


def completion_request(
    model: TunedModel,
    messages: Sequence[Message],
    *,
    served_as: str,
    max_tokens: int,
    prefix: str = "",
    dtype: torch.dtype = torch.bfloat16,
) -> dict[str, object]:
    """The body of a request to `/v1/completions` of a vLLM server that serves the adapter as `served_as`.

    `prefix` is the beginning of the answer that is fixed already; the reply is one line, so it stops at a newline.
    `dtype` must be the server's. The whole prompt is in the vectors: the server adds no template of its own there.
    Raises what `TunedModel.embed` raises.
    """
    vectors = model.embed(messages, prefix=prefix).to("cpu", dtype).contiguous()
    written = io.BytesIO()
    torch.save(vectors, written)
    return {
        "model": served_as,
        "prompt": "",
        "prompt_embeds": base64.b64encode(written.getvalue()).decode(),
        "max_tokens": max_tokens,
        "temperature": 0,
        "stop": ["\n"],
        "add_special_tokens": False,
    }

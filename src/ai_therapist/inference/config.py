"""Settings of a conversation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig


class InferenceConfig(StageConfig):
    """How much the model sees, how long it may take, and whose helplines are shown."""

    model: str | None = None
    """Spec of the model that replies, as tuned:FOLDER; without one the last that was fine-tuned in the workspace."""
    labels: str | None = None
    """Spec of a scorer that gives the labels where the model only writes, as embedded; without one there are none."""
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    """ISO 3166-1 code of the country whose helplines a card names; without one it names a few of large countries."""
    context_turns: Annotated[int, Field(ge=0, le=256)] | None = None
    """Most earlier turns that the model is shown, client's and its own; beyond them the older half is left out.
    None: as many as a tuned model was trained with, and 64 where that is not known."""
    read_ahead: bool = True
    """Whether a model that keeps what it has read goes over the turn that just ended while the client thinks."""
    message_chars: Annotated[int, Field(ge=100, le=20_000)] = 2_000
    """Characters of a message that the model is shown, counted from its end; the crisis check is not bound by it."""
    max_tokens: Annotated[int, Field(ge=1, le=2_048)] = 96
    """Tokens after which the model is stopped."""
    max_reply_chars: Annotated[int, Field(ge=50, le=8_000)] = 1_200
    """Characters after which a reply is stopped."""
    reply_timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """Seconds for labels and reply together; then a fixed sentence takes the model's place."""
    check_timeout_s: Annotated[float, Field(gt=0, le=10)] = 2.0
    """Seconds for the crisis check of one message; then the message counts as at risk."""
    max_clip_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """Longest clip that the model is shown, in seconds."""

"""How a model is reached, what it may cost and what it is shown of a clip: settings that every kind of model shares."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelOptions(BaseModel):
    """Settings of a model beside its spec. Those that change answers are part of the model's name.

    Frozen and strict; unknown keys are refused.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)

    requests_per_minute: Annotated[float, Field(gt=0)] = 60.0
    """Calls a minute to a model on a server, all processes together; where it allows less, that is found out."""
    requests_per_day: Annotated[int, Field(ge=1)] | None = None
    """Calls a day (UTC) to a model on a server, all processes together."""
    concurrent: Annotated[int, Field(ge=1)] = 8
    """Calls under way at the same time, all processes together."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """How often a call is tried that a server refuses or does not answer, 1 to 20."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 120.0
    """Seconds that one call may take, at most 600."""
    max_spend_usd: Annotated[float, Field(ge=0)] | None = None
    """Dollars that may be spent under `account` on one model; checked before every call. Needs the two prices."""
    account: Annotated[str, Field(min_length=1)] = "default"
    """Name under which spending is counted, such as that of a study."""
    usd_per_million_in: Annotated[float, Field(ge=0)] | None = None
    """Price of a million tokens that the model reads, in dollars."""
    usd_per_million_out: Annotated[float, Field(ge=0)] | None = None
    """Price of a million tokens that the model writes, its thoughts included, in dollars."""
    clips: Literal["none", "frames", "video"] | None = None
    """What a model on a server is shown of a clip: nothing, some frames as pictures, or the file. Where it is left
    out, the file for gemini and nothing for openai, since many such servers only read."""
    frames: Annotated[int, Field(ge=1, le=64)] = 8
    """Pictures of a clip where frames are shown, 1 to 64."""
    sound: bool = False
    """Whether the sound of a clip is sent beside frames, as input_audio; a file brings its own."""
    upload_above_mb: Annotated[float, Field(ge=0, le=15)] = 10.0
    """A clip of more megabytes is uploaded to Gemini's file store and deleted after the call; a smaller one is part of
    the call."""
    structured: bool = True
    """Whether a server is told the labels as a JSON schema; switch it off for a server that refuses it."""
    logprobs: bool = False
    """Whether labels of an OpenAI-compatible server are weighed by its log-probabilities instead of written."""
    thinking: Literal["minimal", "low", "medium", "high"] = "low"
    """How much a Gemini model thinks before it answers; its thoughts are paid like an answer."""
    four_bit: bool = False
    """Whether a local model is loaded in 4 bits (NF4), a quarter of the memory."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a local model runs; auto takes a GPU where there is one."""

    @model_validator(mode="after")
    def _a_ceiling_knows_the_prices(self) -> Self:
        if self.max_spend_usd is not None and None in (self.usd_per_million_in, self.usd_per_million_out):
            raise ValueError("max_spend_usd needs usd_per_million_in and usd_per_million_out")
        return self

    def cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        """What tokens cost in dollars; 0 where no price is known."""
        return (tokens_in * (self.usd_per_million_in or 0.0) + tokens_out * (self.usd_per_million_out or 0.0)) / 1e6


DEFAULTS = ModelOptions()
"""The settings that hold where nothing is said."""

"""Settings of the dataset."""

from typing import Annotated, Literal

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig


class DatasetConfig(StageConfig):
    """How turns become examples and how the split is kept clean."""

    context_turns: Annotated[int, Field(ge=0, le=200)] = 8
    """Turns before the client's current one that an example carries, oldest first; 0 to 200."""

    min_reply_words: Annotated[int, Field(ge=1, le=50)] = 3
    """A therapist turn of fewer words is a backchannel ("mm-hm", "I see") and no target; 1 to 50, 1 keeps all."""

    backchannels: Literal["drop", "merge"] = "drop"
    """"drop" gives a backchannel no example and leaves it in the context; "merge" takes it out of the talk and joins
    the client's turns around it into one."""

    max_overlap_ms: Annotated[int, Field(ge=0, le=10_000)] = 250
    """Longest stretch in milliseconds by which a clip may run into the reply; a longer one would let the model hear
    what it should predict, so the example goes without its clip; 0 to 10,000."""

    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of common three-word runs (Jaccard index) from which two replies count as the same; above 0, up to 1."""

    redact: bool = True
    """Whether the dataset folder holds stand-ins in place of names, places, numbers and addresses. What is trained on
    in this workspace stays as it was said."""

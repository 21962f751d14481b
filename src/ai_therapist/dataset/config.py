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

    labels_from: Literal["people_first", "people", "models"] = "people_first"
    """Whose answers make the labels. "people_first": where a person decided, only people count, also where they differ
    or cannot tell; elsewhere the models. "people": nobody but people. "models": nobody but models."""

    label_rule: Literal["unanimous", "majority"] = "unanimous"
    """When several answers make a label. "unanimous": all who gave one gave the same. "majority": more than half of
    them did. Abstentions do not vote; a tie is no label."""

    permitted_for: Literal["train", "publish"] = "train"
    """"train" takes every session that permits training here; "publish" leaves out those that may not be given away,
    so that `ai-therapist publish dataset` can be run."""

    redact: bool = True
    """Whether the dataset folder holds stand-ins in place of names, places, numbers and addresses. What is trained on
    in this workspace stays as it was said."""

    name_finder: str | None = None
    """A named-entity model beside the rules of redaction: presidio:MODEL with an installed spaCy model, or
    gliner:FOLDER; nothing is fetched. None: rules alone."""

"""Settings of the evaluation."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig

SystemName = Literal["tuned", "text-only", "majority"]


class Resampling(NamedTuple):
    """How 95 % intervals are computed."""

    resamples: int = 10_000
    seed: int = 0


class EvaluationConfig(StageConfig):
    """What is measured, and how sure the figures are."""

    systems: tuple[SystemName, ...] = ("tuned", "text-only", "majority")
    """Systems that predict on the held-out split, in the order of the tables. tuned: the tuned model. text-only:
    TF-IDF and logistic regression on words alone. majority: always the most frequent label of the train split."""

    reply_tokens: Annotated[int, Field(ge=0, le=1024)] = 48
    """Longest reply of the tuned model in tokens; 0 to 1,024, 0 asks for no reply."""

    resamples: Annotated[int, Field(ge=1000, le=1_000_000)] = 10_000
    """Resamples of whole sessions behind each 95 % interval; 1,000 to 1,000,000."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the resampling; 0 or more."""

    @property
    def resampling(self) -> Resampling:
        """The settings of the intervals."""
        return Resampling(self.resamples, self.seed)

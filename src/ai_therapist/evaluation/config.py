"""Settings of the evaluation."""

from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field

from ai_therapist.pipeline.stage import StageConfig

SystemName = Literal[
    "tuned",
    "tuned-text",
    "tuned-shuffled",
    "tuned-audio",
    "tuned-video",
    "base",
    "text-only",
    "copy-prediction",
    "random",
    "majority",
    "copy-gold",
]


OPTIONAL: tuple[SystemName, ...] = ("tuned-audio", "tuned-video")
"""Systems that must be asked for: each asks the tuned model of every held-out example once more."""


class Resampling(NamedTuple):
    """How 95 % intervals are computed."""

    resamples: int = 10_000
    seed: int = 0


class EvaluationConfig(StageConfig):
    """What is measured, and how sure the figures are."""

    systems: tuple[SystemName, ...] = tuple(name for name in get_args(SystemName) if name not in OPTIONAL)
    """Systems that predict on the held-out split, in the order of the tables. tuned: the tuned model; tuned-text:
    without the clip; tuned-shuffled: with the clip of another example; tuned-audio and tuned-video, which must be
    asked for: with the sound of the clip or with its pictures alone. base: the model before tuning. text-only:
    TF-IDF and logistic regression on words alone. copy-prediction: what text-only said of the previous example.
    random, majority: by the frequencies of the train split. copy-gold: the previous gold label, which is a leak."""

    models: tuple[str, ...] = ()
    """Other models that predict as well, named as KIND or KIND:WHERE, such as embedded or scripted:answers.json."""

    allow_leak: bool = False
    """Print figures although the leak audit failed, with a watermark; without it they are withheld."""

    quote: bool = False
    """Let the page quote the client's words of the worst cases, as they were said; without it only ids stand there."""

    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of three-word runs from which replies of two splits count as nearly the same; above 0, up to 1."""

    reply_tokens: Annotated[int, Field(ge=0, le=1024)] = 48
    """Longest reply of the tuned model in tokens; 0 to 1,024, 0 asks for no reply."""

    bertscore_model: str | None = None
    """Folder of an encoder of transformers, as roberta-large, with which BERTScore of replies is computed; none is
    fetched, and without one there is no BERTScore."""

    bertscore_layer: Annotated[int, Field(ge=1)] | None = None
    """Layer of that encoder whose vectors are compared, from 1; without it the last one."""

    resamples: Annotated[int, Field(ge=1000, le=1_000_000)] = 10_000
    """Resamples of whole sessions behind each 95 % interval; 1,000 to 1,000,000."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the resampling; 0 or more."""

    @property
    def resampling(self) -> Resampling:
        """The settings of the intervals."""
        return Resampling(self.resamples, self.seed)

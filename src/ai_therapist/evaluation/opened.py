"""Opens a system by its name, and counts what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol, cast, get_args

from ai_therapist.dataset.render import Field
from ai_therapist.evaluation.baselines import CopyGold, CopyPrediction, Majority, StratifiedRandom, TextOnly
from ai_therapist.evaluation.config import SystemName
from ai_therapist.evaluation.predictions import Prediction, Reply, System
from ai_therapist.evaluation.replies import ReplyRow, ReplyTable, count_reply, distinct
from ai_therapist.evaluation.systems import TUNINGS
from ai_therapist.evaluation.tuned import Listening, Tuned, TunedModel, Writing, turn_messages
from ai_therapist.media.probe import probe
from ai_therapist.models.catalogue import AnyModel, open_model
from ai_therapist.models.protocol import LabelScorer, TextGenerator
from ai_therapist.models.tuned_folder import TunedFolder
from ai_therapist.pipeline.stage import Job
from ai_therapist.records import Example, Split, Task, load_codebook

_ANSWER_TOKENS = 96
"""Room for the three labels of a written answer, beside the reply."""


@contextmanager
def opened(name: str, job: Job, examples: Sequence[Example], reply_tokens: int) -> Iterator[System]:
    """The system of that name, ready to predict the held-out examples.

    Raises MissingExtra without a package that it needs, and whatever opening its model raises.
    """
    held_out = [example for example in examples if example.split is Split.TEST]
    if name in TUNINGS:
        from ai_therapist.models.local import open_tuned

        tuning = TUNINGS[name]
        folder = job.scratch / "model"
        job.checkout("model", folder)
        model = open_tuned(folder, untuned=tuning.untuned)
        with model.few_threads():
            clip_of = clips_for(tuning.clips, job.blob, held_out)
            # Cues tell of the clip: a system that is shown another, a part or none of it is not told either.
            whole = tuning.clips == "own" and tuning.keeps is None
            about = TunedFolder.model_validate_json((folder / TunedFolder.FILE).read_bytes())
            yield Tuned(
                model,
                clip_of,
                reply_tokens if tuning.writes else 0,
                keeps=tuning.keeps,
                cues=whole and reads_cues(about),
                chained=about.labels_lead,
            )
    elif name in get_args(SystemName):
        yield _baseline(cast(SystemName, name), [each for each in examples if each.split is Split.TRAIN], held_out)
    else:
        yield system_of(open_model(name), clips_for("own", job.blob, held_out), reply_tokens)


def reads_cues(about: TunedFolder) -> bool:
    """Whether a tuned model was trained on written cues too."""
    return about.config.get("cues") is True


def system_of(model: AnyModel, clip_of: Callable[[Example], Path | None], reply_tokens: int) -> System:
    """A model as a system, by what it can do: weigh and write, write, or label what was said."""
    if isinstance(model, LabelScorer) and isinstance(model, TextGenerator):
        return Tuned(cast(TunedModel, model), clip_of, reply_tokens)
    if isinstance(model, TextGenerator):
        return Writing(model, clip_of, reply_tokens + _ANSWER_TOKENS)
    return Listening(model)


def clips_for(clips: str, blob: Callable[[str], Path], held_out: Sequence[Example]) -> Callable[[Example], Path | None]:
    """Which clip an example is shown: its "own", that if it is "sounding", "none", or another's, "shuffled".

    Shuffling hands every clip on by half the list of all examples with a clip, so that no example keeps its own and,
    with more than one session, hardly any keeps one of its session.
    """
    shown = {each.id: each.clip_sha256 for each in held_out if each.clip_sha256 is not None}
    if clips == "none":
        shown = {}
    elif clips == "shuffled":
        ids, step = list(shown), max(1, len(shown) // 2)
        shown = {each: shown[ids[(at + step) % len(ids)]] for at, each in enumerate(ids)} if len(ids) > 1 else {}
    fits = _has_sound(blob) if clips == "sounding" else lambda digest: True
    return lambda example: blob(shown[example.id]) if example.id in shown and fits(shown[example.id]) else None


def _has_sound(blob: Callable[[str], Path]) -> Callable[[str], bool]:
    return cache(lambda digest: probe(blob(digest), digest, digest).audio is not None)


class Encoder(Protocol):
    """What compares the words of two texts in context."""

    name: str

    def f_measure(self, written: str, reference: str) -> float:
        """0 or less where nothing is alike, 1 for the same text."""


def rate_replies(
    examples: Mapping[str, Example], predictions: Sequence[Prediction], encoder: Encoder | None = None
) -> ReplyTable:
    """Count every reply against the one that was given, and listen for the strategy that the system stated."""
    stated = {each.example: each.given for each in predictions if each.field is Field.STRATEGY}
    written = [(each, each.outcome.text) for each in predictions if isinstance(each.outcome, Reply)]
    rows = tuple(
        ReplyRow(
            example=each.example,
            session=each.session,
            bertscore=None if encoder is None else encoder.f_measure(text, examples[each.example].reply.text),
            consistent=_consistent(stated.get(each.example), examples[each.example], text),
            **count_reply(text, examples[each.example].reply.text),
        )
        for each, text in written
    )
    texts = [text for _, text in written]
    read = [(each.session, each.gold_likelihood) for each in predictions if each.gold_likelihood is not None]
    return ReplyTable(
        rows=rows,
        distinct=(distinct(texts, 1), distinct(texts, 2)),
        likelihoods=tuple(read),
        encoder=None if encoder is None else encoder.name,
    )


def _consistent(strategy: str | None, example: Example, reply: str) -> bool | None:
    """Whether the embedded classifier hears `strategy` in the reply; None where none was stated."""
    if strategy is None:
        return None
    classifier = cast(LabelScorer, open_model("embedded"))
    turns = (*example.context, example.client, example.reply.model_copy(update={"text": reply}))
    weights = classifier.score(turn_messages(turns), load_codebook().names(Task.STRATEGY))
    return max(weights, key=weights.__getitem__) == strategy


def _baseline(name: SystemName, train: Sequence[Example], held_out: Sequence[Example]) -> System:
    match name:
        case "text-only":
            return TextOnly(train)
        case "copy-prediction":
            return CopyPrediction(train, held_out)
        case "random":
            return StratifiedRandom(train)
        case "copy-gold":
            return CopyGold(held_out)
        case _:
            return Majority(train)

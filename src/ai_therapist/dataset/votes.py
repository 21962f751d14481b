"""Which label wins where several were given: people before models, agreement before a label, and never a default.

    people decided (standing decisions) ──▶ only they count: one label, or none where they differ or cannot tell
    nobody decided                      ──▶ the models count, by the same rule; where they sat as a panel, its outcome

The rule is `dataset.labels_from` and `dataset.label_rule`; which side a label came from stands beside it in every row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ai_therapist.dataset.config import DatasetConfig
from ai_therapist.errors import InvalidRecord
from ai_therapist.records import Annotation, Cues, LabelSource, Task, load_codebook


@dataclass(frozen=True)
class Verdict:
    """The label that a question ends with and whose it is, or why it has none."""

    label: str | None
    source: LabelSource | None
    reason: str | None


class Votes:
    """All answers about the turns of one session."""

    def __init__(
        self, annotations: Sequence[Annotation], decisions: Sequence[Annotation], config: DatasetConfig
    ) -> None:
        """Answers of models and standing answers of people. Raises InvalidRecord for a label outside the codebook."""
        self._config = config
        self._models = _by_question(_settled(annotations))
        self._people = _by_question(decisions)
        whose = {"people": (decisions,), "models": (annotations,), "people_first": (annotations, decisions)}
        # Later ones win, and people stand last.
        self._cues = {
            each.utterance: each.outcome.text
            for given in whose[config.labels_from]
            for each in given
            if isinstance(each.outcome, Cues)
        }

    def on(self, utterance: str, task: Task) -> Verdict:
        """The label of a turn, by the rule of the settings."""
        people = self._people.get((utterance, task), [])
        models = self._models.get((utterance, task), [])
        match self._config.labels_from:
            case "people":
                return self._decide(people, "people")
            case "models":
                return self._decide(models, "models")
            case "people_first":
                return self._decide(people, "people") if people else self._decide(models, "models")

    def cues_on(self, utterance: str) -> str | None:
        """What is seen and heard of a turn, as it was written last; a person's words come before a model's."""
        return self._cues.get(utterance)

    def _decide(self, answers: Sequence[str | None], source: LabelSource) -> Verdict:
        given = Counter(answer for answer in answers if answer is not None)
        if not given:
            reason = "abstention" if answers else "not_annotated"
            return Verdict(None, None, f"people_{reason}" if answers and source == "people" else reason)
        (label, most), *_ = given.most_common()
        enough = most == given.total() if self._config.label_rule == "unanimous" else 2 * most > given.total()
        if enough:
            return Verdict(label, source, None)
        return Verdict(None, None, "people_disagreement" if source == "people" else "disagreement")


def _settled(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The answers of models; where a panel has settled a question, what it came to in place of its members' votes."""
    given = list(annotations)
    settled = {(each.utterance, each.task) for each in given if each.provenance.is_panel}
    return [each for each in given if each.provenance.is_panel or (each.utterance, each.task) not in settled]


def _by_question(annotations: Iterable[Annotation]) -> dict[tuple[str, Task], list[str | None]]:
    answers: dict[tuple[str, Task], list[str | None]] = {}
    for annotation in annotations:
        if annotation.task is Task.CUES:
            continue
        if annotation.label is not None and annotation.label not in load_codebook().names(annotation.task):
            raise InvalidRecord(f"annotation {annotation.id}: its label is not in the codebook")
        answers.setdefault((annotation.utterance, annotation.task), []).append(annotation.label)
    return answers


def rule_of(config: DatasetConfig) -> str:
    """The rule in one sentence, for the card."""
    whose = {
        "people_first": "Where a person decided, only people count, also where they differ or cannot tell; elsewhere "
        "the models",
        "people": "Only people count",
        "models": "Only models count",
    }[config.labels_from]
    when = {"unanimous": "all who gave a label gave the same", "majority": "more than half gave the same"}
    return f"{whose}. A label stands where {when[config.label_rule]}; otherwise there is none."

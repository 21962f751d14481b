"""The dataset as it may leave the workspace: words that identify people are replaced, session by session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ai_therapist.privacy.redaction.models import finder_named
from ai_therapist.privacy.redaction.redactor import Redacted, SessionRedactor
from ai_therapist.privacy.redaction.report import ResidualRisk, residual_risk
from ai_therapist.records import Example, Transcript, Turn


class Redaction:
    """Replaces names and the like in all that is shown of some sessions, the same name by the same stand-in.

    The whole transcript decides what is a name, so that one said early or late is hidden everywhere.
    """

    def __init__(self, transcripts: Iterable[Transcript], name_finder: str | None = None) -> None:
        """`name_finder` names a model beside the rules. Raises ConfigError where it cannot be had."""
        finders = () if name_finder is None else (finder_named(name_finder),)
        self._redactors = {
            transcript.session: SessionRedactor((utterance.text for utterance in transcript.utterances), finders)
            for transcript in transcripts
        }
        self._rows: dict[str, Sequence[Redacted]] = {}

    def examples(self, examples: Iterable[Example]) -> tuple[Example, ...]:
        """The examples with stand-ins in all their turns."""
        return tuple(self._example(example) for example in examples)

    def turns(self, transcript: Transcript) -> Mapping[str, str]:
        """What may be shown of each utterance, by its id."""
        redactor = self._redactors[transcript.session]
        done = {utterance.id: redactor.redact(utterance.text) for utterance in transcript.utterances}
        self._rows |= {row: [text] for row, text in done.items()}
        return {row: text.text for row, text in done.items()}

    def risk(self) -> ResidualRisk:
        """What was replaced so far, and which rows a person should read."""
        return residual_risk(self._rows)

    def _example(self, example: Example) -> Example:
        redactor = self._redactors[example.session]
        turns = (*example.context, example.client, example.reply)
        done = [redactor.redact(turn.text) for turn in turns]
        self._rows[example.id] = done
        *context, client, reply = map(_with_text, turns, done)
        changed: dict[str, object] = {"context": tuple(context), "client": client, "reply": reply}
        if example.cues is not None:
            written = redactor.redact(example.cues)
            self._rows[example.id] = [*done, written]
            changed["cues"] = written.text
        return example.model_copy(update=changed)


def _with_text(turn: Turn, redacted: Redacted) -> Turn:
    return turn.model_copy(update={"text": redacted.text})

"""Examples as they may leave the workspace: words that identify people are replaced, session by session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ai_therapist.privacy.redaction.redactor import Redacted, SessionRedactor
from ai_therapist.privacy.redaction.report import ResidualRisk, residual_risk
from ai_therapist.records import Example, Transcript, Turn


def redact_examples(
    examples: Sequence[Example], transcripts: Mapping[str, Transcript]
) -> tuple[tuple[Example, ...], ResidualRisk]:
    """The examples with stand-ins in all their turns, and what may be left; `transcripts` by session id.

    The whole transcript decides what is a name, so that one said early or late is hidden everywhere.
    """
    redactors = {
        session: SessionRedactor(utterance.text for utterance in transcript.utterances)
        for session, transcript in transcripts.items()
    }
    redacted, texts = [], {}
    for example in examples:
        redactor = redactors[example.session]
        turns = (*example.context, example.client, example.reply)
        done = [redactor.redact(turn.text) for turn in turns]
        texts[example.id] = done
        *context, client, reply = map(_with_text, turns, done)
        redacted.append(example.model_copy(update={"context": tuple(context), "client": client, "reply": reply}))
    return tuple(redacted), residual_risk(texts)


def _with_text(turn: Turn, redacted: Redacted) -> Turn:
    return turn.model_copy(update={"text": redacted.text})

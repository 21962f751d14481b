"""The transcriber that needs no key, no download and no GPU: Silero VAD, voice clustering and PocketSphinx.

It is fit for the sample sessions and for trying the toolkit out. On real talk PocketSphinx misses most words, and the
voice clustering knows nothing of overlap: use another transcriber there.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_therapist.errors import MissingExtra
from ai_therapist.extraction.config import TranscribeConfig
from ai_therapist.extraction.transcribers.speakers import Voiced, find_speech, listen, tell_apart
from ai_therapist.media.sound import SPEECH_RATE_HZ
from ai_therapist.records import TimeSpan, Transcript, Utterance, Word

if TYPE_CHECKING:
    from pocketsphinx import Decoder

NAME = "embedded: silero-vad 6, voice clustering 2, pocketsphinx en-us"

TOOLS = ("faster-whisper", "kaldi-native-fbank", "onnxruntime", "pocketsphinx", "scikit-learn", "numpy")
"""Distributions whose version can change what is heard."""

_DECODER_FRAME_MS = 10

_MARGIN_MS = 100
"""Sound around a stretch that the recogniser hears as well; first and last words need it."""


def transcribe(samples: NDArray[np.float32], session: str, config: TranscribeConfig) -> Transcript:
    """What is said in 16 kHz mono sound: one utterance per stretch of one voice, labels "A", "B", … by appearance.

    The same samples give the same transcript. No speech gives a transcript without utterances.
    Raises MissingExtra where a package of the extra `speech` is missing.
    """
    speech = find_speech(samples, config.min_silence_ms, config.speech_pad_ms)
    stretches = _joined(tell_apart(listen([samples]), speech, config.speakers), config)
    heard = [
        (stretch, _words(samples, _with_margins(stretches, place, len(samples))))
        for place, stretch in enumerate(stretches)
    ]
    spoken = [(stretch.voice, words) for stretch, words in heard if words]
    order: dict[int, str] = {}
    utterances = []
    for index, (voice, words) in enumerate(spoken):
        label = order.setdefault(voice, chr(ord("A") + len(order)))
        span = TimeSpan(start_ms=words[0].span.start_ms, end_ms=words[-1].span.end_ms)
        text = " ".join(word.text for word in words)
        sure = [word.confidence for word in words if word.confidence is not None]
        confidence = sum(sure) / len(sure) if sure else None
        utterances.append(Utterance.of(session, index, label, span, text, words, confidence))
    return Transcript(session=session, transcriber=NAME, utterances=tuple(utterances))


def _joined(stretches: list[Voiced], config: TranscribeConfig) -> list[Voiced]:
    """Neighbouring stretches of one voice as one, up to `max_stretch_ms`: the recogniser lives on context."""
    joined: list[Voiced] = []
    for stretch in stretches:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.voice == stretch.voice
            and stretch.span.start_ms - last.span.end_ms <= config.join_pause_ms
            and stretch.span.end_ms - last.span.start_ms <= config.max_stretch_ms
        ):
            joined[-1] = Voiced(last.span.joined(stretch.span), last.voice)
        else:
            joined.append(stretch)
    return joined


def _with_margins(stretches: list[Voiced], place: int, samples: int) -> TimeSpan:
    """The stretch with its margins, which never reach into a neighbour."""
    span = stretches[place].span
    before = stretches[place - 1].span.end_ms if place else 0
    after = stretches[place + 1].span.start_ms if place + 1 < len(stretches) else samples * 1000 // SPEECH_RATE_HZ
    return TimeSpan(
        start_ms=max(min(before, span.start_ms), span.start_ms - _MARGIN_MS),
        end_ms=min(max(after, span.end_ms), span.end_ms + _MARGIN_MS),
    )


def _words(samples: NDArray[np.float32], heard: TimeSpan) -> tuple[Word, ...]:
    """The words that PocketSphinx hears in `heard`, with times in the session."""
    decoder = _decoder()
    part = heard.samples(SPEECH_RATE_HZ)
    sound = (samples[part.start : part.stop] * 32768).astype("<i2").tobytes()
    # The front end carries its normalisation over from what it heard before, so results would depend on order.
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    words = []
    for segment in decoder.seg() or ():
        text = re.sub(r"\(\d+\)$", "", segment.word)
        if text.startswith(("<", "[", "+")):
            continue
        start_ms = heard.start_ms + segment.start_frame * _DECODER_FRAME_MS
        end_ms = min(heard.end_ms, heard.start_ms + (segment.end_frame + 1) * _DECODER_FRAME_MS)
        confidence = min(1.0, max(0.0, float(decoder.get_logmath().exp(segment.prob))))
        if end_ms > start_ms:
            words.append(
                Word(text=text, span=TimeSpan(start_ms=start_ms, end_ms=end_ms), confidence=round(confidence, 4))
            )
    return tuple(words)


@cache
def _decoder() -> Decoder:
    """One recogniser per process; loading it takes longer than a sentence."""
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise MissingExtra("transcription", "pocketsphinx", "speech") from None
    return Decoder(samprate=SPEECH_RATE_HZ, loglevel="FATAL", cmn="batch", maxhmmpf=3000)

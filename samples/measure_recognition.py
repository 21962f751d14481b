"""Measure how well PocketSphinx hears the sample sessions when it is given each gold utterance separately.

    python samples/measure_recognition.py          # all sessions, about five minutes
    python samples/measure_recognition.py grief

It decodes the sound of the final mp4 files at 16 kHz mono with PocketSphinx's own en-us model and prints one word error
rate per session: (substitutions + deletions + insertions) / words of the gold text. This is the floor for the toolkit's
own transcription, which must find the utterances by itself.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
RATE_HZ = 16_000
MARGIN_MS = 60
"""Heard before and after each gold span, so that a recogniser finds an edge of silence."""


def main(names: list[str]) -> int:
    """Print a line for each session and one for the clean ones together."""
    paths = [path for path in sorted((HERE / "gold").glob("*.json")) if not names or path.stem in names]
    clean_errors = clean_words = 0
    with ProcessPoolExecutor() as pool:
        for gold, (errors, words, misheard) in zip(map(_read, paths), pool.map(measure, paths), strict=True):
            print(f"{gold['session']:14} WER {errors / words:.3f} ({errors}/{words})  {', '.join(gold['traits'])}")
            for line in misheard:
                print(f"    {line}", flush=True)
            if "clean" in gold["traits"]:
                clean_errors, clean_words = clean_errors + errors, clean_words + words
    if clean_words:
        print(f"clean sessions WER {clean_errors / clean_words:.3f} ({clean_errors}/{clean_words})")
    return 0


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def measure(path: Path) -> tuple[int, int, list[str]]:
    """Errors, words and the misheard utterances of the session with this gold file."""
    from pocketsphinx import Decoder

    gold = _read(path)
    sound = heard(HERE / "recordings" / f"{path.stem}.mp4")
    decoder = Decoder(samprate=RATE_HZ, loglevel="FATAL")
    errors = words = 0
    misheard = []
    for utterance in gold["utterances"]:
        first = max(0, utterance["start_ms"] - MARGIN_MS) * RATE_HZ // 1000
        last = (utterance["end_ms"] + MARGIN_MS) * RATE_HZ // 1000
        decoder.start_utt()
        decoder.process_raw(sound[first:last].tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        guess = decoder.hyp().hypstr.split() if decoder.hyp() else []
        said = [word["text"].lower() for word in utterance["words"]]
        missed = edit_distance(said, guess)
        errors, words = errors + missed, words + len(said)
        if missed:
            misheard.append(f"{missed}: {' '.join(said)} -> {' '.join(guess)}")
    return errors, words, misheard


def heard(path: Path) -> NDArray[np.int16]:
    """The sound of a recording at 16 kHz mono."""
    pieces = []
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(pieces)


def edit_distance(said: list[str], guess: list[str]) -> int:
    """The smallest number of substituted, missing and added words."""
    row = list(range(len(guess) + 1))
    for index, word in enumerate(said, start=1):
        above, row = row, [index, *([0] * len(guess))]
        for column, other in enumerate(guess, start=1):
            row[column] = min(above[column] + 1, row[column - 1] + 1, above[column - 1] + (word != other))
    return row[-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

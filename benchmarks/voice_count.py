"""How well the embedded diariser tells voices apart, and what hours cost: python benchmarks/voice_count.py [--quick].

On the sample sessions, whose voices are synthetic and on which its bounds were set: the number of voices it counts
(nobody tells it), and the share of the gold speech time under the right voice. Then the sound of one sample again and
again, for 12 and for 48 minutes: peak memory of a process that does only this, and whether each repetition is given to
the same voices as the first. `--quick` takes three samples and leaves the long sound out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import wave
from collections import Counter
from pathlib import Path

from reporting import finish

from ai_therapist.extraction.config import WhisperConfig
from ai_therapist.extraction.transcribers.diarisers import BLOCK_MS, Embedded
from ai_therapist.extraction.transcribers.speakers import Voiced, find_speech_in_blocks
from ai_therapist.media.sound import extract_speech, read_speech

SAMPLES = Path(__file__).parents[1] / "samples"
REPEATED = "exams"
SHORT_MIN, LONG_MIN = 12, 48
Gold = list[tuple[str, int, int]]


def gold_of(name: str) -> Gold:
    """Who really speaks when, in milliseconds."""
    value = json.loads((SAMPLES / "gold" / f"{name}.json").read_bytes())
    return [(one["speaker"], one["start_ms"], one["end_ms"]) for one in value["utterances"]]


def diarise(sound: Path) -> list[Voiced]:
    """Stretches of one voice each, with the settings of the transcriber whisper."""
    config = WhisperConfig()
    speech = find_speech_in_blocks(read_speech(sound, BLOCK_MS), config.min_silence_ms, config.speech_pad_ms)
    return Embedded().turns(sound, speech, 0)


def times(gold: Gold, found: list[Voiced], offset_ms: int = 0) -> dict[str, Counter[int]]:
    """Milliseconds of each gold speaker under each voice."""
    shared: dict[str, Counter[int]] = {}
    for speaker, start, end in gold:
        for piece in found:
            begin, stop = piece.span.start_ms - offset_ms, piece.span.end_ms - offset_ms
            shared.setdefault(speaker, Counter())[piece.voice] += max(0, min(end, stop) - max(start, begin))
    return shared


def right_share(shared: dict[str, Counter[int]]) -> float:
    """Share of the time under the voice that is each speaker's; a voice belongs to the speaker it mostly holds."""
    voices = {voice for counts in shared.values() for voice in counts}
    owner = {voice: max(shared, key=lambda speaker: shared[speaker][voice]) for voice in voices}
    right = sum(ms for speaker, counts in shared.items() for voice, ms in counts.items() if owner[voice] == speaker)
    return right / max(1, sum(sum(counts.values()) for counts in shared.values()))


def repeat(sound: Path, minutes: int, target: Path) -> int:
    """Write the sound again and again; returns the length of one repetition in milliseconds."""
    with wave.open(str(sound), "rb") as file:
        frames, data = file.getnframes(), file.readframes(file.getnframes())
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(minutes * 60 * 16_000 // frames):
            file.writeframes(data)
    return frames // 16


def long_run(sound: Path, length_ms: int) -> None:
    """Peak memory in MB and the share of repetitions with the voices of the first; a process of its own runs this."""
    found = diarise(sound)
    gold = gold_of(REPEATED)
    with wave.open(str(sound), "rb") as file:
        repetitions = file.getnframes() // 16 // length_ms
    owners = []
    for number in range(repetitions):
        offset = number * length_ms
        near = [one for one in found if one.span.end_ms > offset and one.span.start_ms < offset + length_ms]
        owners.append({who: counts.most_common(1)[0][0] for who, counts in times(gold, near, offset).items()})
    same = sum(one == owners[0] for one in owners) / len(owners)
    print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, same]))


def main() -> None:
    """Measure, and compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three samples, no long sound")
    parser.add_argument("--long", nargs=2, metavar=("WAV", "MS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.long:
        long_run(Path(options.long[0]), int(options.long[1]))
        return
    names = sorted(path.stem for path in (SAMPLES / "gold").glob("*.json"))
    counted, shares = 0, []
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        sounds = {name: Path(folder) / f"{name}.wav" for name in (names[:3] if options.quick else names)}
        for name, sound in sounds.items():
            extract_speech(SAMPLES / "recordings" / f"{name}.mp4", sound)
            gold, found = gold_of(name), diarise(sound)
            voices = len({one.voice for one in found})
            counted += voices == len({speaker for speaker, _, _ in gold})
            shares.append(right_share(times(gold, found)))
            print(f"{name:14} {voices} voices, {shares[-1]:.3f} of the time under the right one")
        mean = sum(shares) / len(shares)
        figures |= {"sessions": len(shares), "counted_right": counted, "time_right": round(mean, 3)}
        holds = counted == len(shares) and mean >= 0.95
        if not options.quick:
            peaks = {}
            for minutes in (SHORT_MIN, LONG_MIN):
                target = Path(folder) / f"{minutes}.wav"
                length_ms = repeat(sounds[REPEATED], minutes, target)
                command = [sys.executable, __file__, "--long", str(target), str(length_ms)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                peaks[minutes], same = json.loads(done.stdout)
                figures |= {f"peak_mb_{minutes}_min": peaks[minutes], f"same_voices_{minutes}_min": round(same, 3)}
                holds = holds and same == 1
            holds = holds and peaks[LONG_MIN] <= 1.25 * peaks[SHORT_MIN]
    bar = (
        "all sessions counted right, time >= 0.95, every repetition the same voices, memory of 48 min <= 1.25 x 12 min"
    )
    finish("voice_count", figures, bar, holds=holds)


if __name__ == "__main__":
    main()

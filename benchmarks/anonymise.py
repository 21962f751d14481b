"""What hiding faces and shifting voices costs on top of standardising: python benchmarks/anonymise.py [--quick].

Processor seconds for one generated recording, each variant in turn in the same run. It shows cost alone: NOT how well
a person is hidden (re-identification), nor what is left of emotion in a changed face or voice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from reporting import finish

from ai_therapist.media.anonymise import Anonymiser
from ai_therapist.media.probe import probe
from ai_therapist.media.standardise import standardise
from ai_therapist.testing import RecordingSpec, make_digest, make_recording

FACE = (0.35, 0.2, 0.65, 0.6)
VARIANTS = {
    "one_area": Anonymiser(boxes=(FACE,)),
    "two_areas": Anonymiser(boxes=(FACE, (0.0, 0.0, 0.3, 0.5))),
    "voice": Anonymiser(semitones=4),
    "area_and_voice": Anonymiser(boxes=(FACE,), semitones=4),
}


def main() -> None:
    """Standardise without and with each change, best of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten seconds of recording instead of 20, once")
    seconds, repeats = (10, 1) if parser.parse_args().quick else (20, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = RecordingSpec(duration_ms=seconds * 1000, size_px=(640, 360))
        source = make_recording(folder / "source.mp4", spec)
        media = probe(source, "recording", make_digest("benchmark"))
        spent: dict[str, list[float]] = {}
        for _ in range(repeats):
            for variant, anonymiser in {"plain": None, **VARIANTS}.items():
                start = time.process_time()
                standardise(source, folder / "video.mp4", media, [], anonymiser)
                spent.setdefault(variant, []).append(time.process_time() - start)
    best = {variant: min(times) for variant, times in spent.items()}
    ratios = {f"{variant}_ratio": round(best[variant] / best["plain"], 2) for variant in VARIANTS}
    for variant, cost in best.items():
        print(f"{variant:15} {cost:6.2f} s of processor for {seconds} s of 640x360")
    print("not measured: whether anybody is still known, and what is left of emotion")
    figures = {"recording_s": seconds, "plain_s": round(best["plain"], 2), **ratios}
    finish("anonymise", dict(figures), "costs at most 2 times the standardising", holds=max(ratios.values()) <= 2)


if __name__ == "__main__":
    main()

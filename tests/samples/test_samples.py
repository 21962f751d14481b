"""The committed sample sessions are what `samples/README.md` says: only files are read, nothing is made again."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import re
from collections import defaultdict
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
RECORDINGS = SAMPLES / "recordings"
NAMES = sorted(path.stem for path in (SAMPLES / "gold").glob("*.json"))
TRUNCATED = RECORDINGS / "truncated.mp4"

EMOTIONS = {"anger", "sadness", "disgust", "depression", "neutral", "joy", "fear"}
STRATEGIES = {
    "Open questions",
    "Approval",
    "Self-disclosure",
    "Restatement",
    "Interpretation",
    "Advisement",
    "Communication Skills",
    "Structuring the therapy",
    "Guiding the pace",
    "Others",
}
TRAITS = {"clean", "variable_frame_rate", "client_first", "third_voice", "overlap"}

AAC_FRAME_MS = 22
"""One AAC frame at 48 kHz, rounded up: a container's duration is right to one of these."""

each_session = pytest.mark.parametrize("name", NAMES)


@cache
def gold_of(name: str) -> dict[str, Any]:
    gold: dict[str, Any] = json.loads((SAMPLES / "gold" / f"{name}.json").read_text(encoding="utf-8"))
    return gold


@cache
def consent_of(name: str) -> dict[str, Any]:
    consent: dict[str, Any] = json.loads((RECORDINGS / f"{name}.consent.json").read_text(encoding="utf-8"))
    return consent


def split_of(group: str) -> str:
    number = int(hashlib.sha256(f"ai-therapist-splits-1:{group}".encode()).hexdigest(), 16) % 1000
    if number < 700:
        return "train"
    return "validation" if number < 850 else "test"


def turns_of(name: str) -> list[str]:
    """The roles of a session's turns: adjacent utterances of one speaker are one turn."""
    roles = [utterance["role"] for utterance in gold_of(name)["utterances"]]
    return [role for index, role in enumerate(roles) if index == 0 or roles[index - 1] != role]


def overlaps(name: str) -> int:
    utterances = gold_of(name)["utterances"]
    return sum(b["start_ms"] < a["end_ms"] for a, b in itertools.pairwise(utterances))


def test_there_are_ten_sessions_and_a_truncated_recording() -> None:
    assert len(NAMES) == 10
    assert {path.stem for path in RECORDINGS.glob("*.mp4")} == {*NAMES, "truncated"}
    assert {path.stem for path in (SAMPLES / "dialogues").glob("*.json")} == {*NAMES, "truncated"}


def test_the_media_stay_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) <= 12_000_000


@each_session
def test_a_recording_is_what_its_gold_file_declares(name: str) -> None:
    gold = gold_of(name)
    content = (RECORDINGS / f"{name}.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index comes first"
    with av.open(str(RECORDINGS / f"{name}.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.codec_context.layout.name) == ("aac", "mono")
        assert audio.codec_context.sample_rate == 48_000
        assert container.duration is not None
        assert abs(container.duration / 1000 - gold["duration_ms"]) <= AAC_FRAME_MS
        clock = video.time_base
        assert clock is not None
        times = sorted(packet.pts for packet in container.demux(video) if packet.pts is not None)
    lengths = {(after - before) * clock for before, after in itertools.pairwise(times)}
    assert times[0] == 0
    if gold["fps"] == "variable":
        assert len(lengths) >= 3
    else:
        assert gold["fps"] in ("25/1", "30/1")
        assert lengths == {1 / Fraction(gold["fps"])}
        assert len(times) == gold["duration_ms"] * Fraction(gold["fps"]) / 1000
    assert 45_000 <= gold["duration_ms"] <= 65_000


def test_both_frame_rates_occur() -> None:
    rates = [gold_of(name)["fps"] for name in NAMES]
    assert set(rates) == {"25/1", "30/1", "variable"}
    assert rates.count("variable") == 1


@each_session
def test_sound_and_picture_decode_to_the_end(name: str) -> None:
    with av.open(str(RECORDINGS / f"{name}.mp4")) as container:
        container.seek((gold_of(name)["duration_ms"] - 1500) * 1000)
        audio, video = container.streams.audio[0], container.streams.video[0]
        ends = {"audio": 0.0, "video": 0.0}
        for frame in container.decode(audio, video):
            assert isinstance(frame, av.AudioFrame | av.VideoFrame)
            assert frame.time is not None
            ends["audio" if isinstance(frame, av.AudioFrame) else "video"] = frame.time
    for end_s in ends.values():
        assert 0 <= gold_of(name)["duration_ms"] / 1000 - end_s <= 0.1


def test_the_truncated_recording_cannot_be_opened() -> None:
    assert TRUNCATED.stat().st_size > 10_000
    assert b"moov" not in TRUNCATED.read_bytes()
    with pytest.raises(av.error.InvalidDataError), av.open(str(TRUNCATED)):
        pass
    assert not (SAMPLES / "gold" / "truncated.json").exists()


@each_session
def test_spans_are_ordered_and_inside(name: str) -> None:
    gold = gold_of(name)
    starts = [utterance["start_ms"] for utterance in gold["utterances"]]
    assert starts == sorted(starts)
    for utterance in gold["utterances"]:
        assert 0 <= utterance["start_ms"] < utterance["end_ms"] <= gold["duration_ms"]
        words = utterance["words"]
        assert [word["text"] for word in words] == re.findall(r"[A-Za-z]+(?:'[A-Za-z]+)*", utterance["text"])
        assert words[0]["start_ms"] == utterance["start_ms"]
        assert words[-1]["end_ms"] == utterance["end_ms"]
        assert all(word["start_ms"] < word["end_ms"] for word in words)
        assert all(a["end_ms"] <= b["start_ms"] for a, b in itertools.pairwise(words))
    for before, after in zip(gold["utterances"], gold["utterances"][1:], strict=False):
        gap_ms = after["start_ms"] - before["end_ms"]
        if before["speaker"] == after["speaker"]:
            assert 600 <= gap_ms <= 900
        else:
            assert gap_ms >= 350 or "overlap" in gold["traits"]


@each_session
def test_labels_are_in_the_codebook(name: str) -> None:
    for utterance in gold_of(name)["utterances"]:
        assert utterance["emotion"] in EMOTIONS
        if utterance["role"] == "THERAPIST":
            assert utterance["strategy"] in STRATEGIES
        else:
            assert utterance["role"] in ("CLIENT", "OTHER")
            assert utterance["strategy"] is None


@each_session
def test_speaker_labels_follow_the_order_of_appearance(name: str) -> None:
    role_of: dict[str, str] = {}
    for utterance in gold_of(name)["utterances"]:
        assert role_of.setdefault(utterance["speaker"], utterance["role"]) == utterance["role"]
    assert list(role_of) == ["A", "B", "C"][: len(role_of)]


@each_session
def test_traits_are_true(name: str) -> None:
    gold = gold_of(name)
    traits, roles = set(gold["traits"]), [utterance["role"] for utterance in gold["utterances"]]
    assert traits and traits <= TRAITS
    assert ("variable_frame_rate" in traits) == (gold["fps"] == "variable")
    assert ("client_first" in traits) == (roles[0] == "CLIENT")
    assert ("third_voice" in traits) == ("OTHER" in roles)
    assert ("overlap" in traits) == (overlaps(name) > 0)
    assert ("clean" in traits) == ("OTHER" not in roles and overlaps(name) == 0)


def test_each_special_trait_occurs_once() -> None:
    counts = {trait: sum(trait in gold_of(name)["traits"] for name in NAMES) for trait in TRAITS}
    assert counts.pop("clean") >= 8
    assert set(counts.values()) == {1}


@each_session
def test_client_turns_are_answered(name: str) -> None:
    turns = turns_of(name)
    answered = sum(a == "CLIENT" and b == "THERAPIST" for a, b in itertools.pairwise(turns))
    assert 5 <= answered <= 7


def test_the_set_holds_enough_examples_and_varied_turns() -> None:
    pairs = sum("".join(role[0] for role in turns_of(name)).count("CT") for name in NAMES)
    assert 55 <= pairs <= 70
    therapist_share, short, repeated = [], 0, 0
    for name in NAMES:
        utterances = gold_of(name)["utterances"]
        said: dict[str, int] = defaultdict(int)
        for utterance in utterances:
            said[utterance["role"]] += utterance["end_ms"] - utterance["start_ms"]
            short += utterance["end_ms"] - utterance["start_ms"] < 1000
        repeated += sum(a["role"] == b["role"] for a, b in itertools.pairwise(utterances))
        therapist_share.append(said["THERAPIST"] / sum(said.values()))
    assert min(therapist_share) < 0.4 and max(therapist_share) > 0.6
    assert short >= 2, "backchannels under a second"
    assert repeated >= 6, "two utterances of one speaker in a row"


def test_every_label_occurs_often_and_in_several_sessions() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for name in NAMES:
        for utterance in gold_of(name)["utterances"]:
            if utterance["role"] == "CLIENT":
                found[utterance["emotion"]].append(name)
            elif utterance["role"] == "THERAPIST":
                found[utterance["strategy"]].append(name)
    assert set(found) == EMOTIONS | STRATEGIES
    for label, where in found.items():
        assert len(where) >= 4, label
        assert len(set(where)) >= 3, label


@pytest.mark.parametrize("name", [*NAMES, "truncated"])
def test_consent_is_recorded(name: str) -> None:
    record = consent_of(name)
    assert record["group"]
    assert record["consent"] == {
        "basis": "fictional_role_play",
        "permitted_uses": ["transcribe", "annotate", "annotate_cloud", "emotion_from_media", "train", "publish"],
        "evidence": record["consent"]["evidence"],
        "recorded_on": "2026-11-22",
        "expires_on": None,
        "revocation_contact": None,
        "subject": "role_play",
        "adults_only": True,
    }
    assert record["consent"]["evidence"].endswith(".")


def test_groups_give_every_split_something() -> None:
    groups = {name: consent_of(name)["group"] for name in NAMES}
    assert len(set(groups.values())) == 9, "one client comes twice"
    splits: dict[str, list[str]] = defaultdict(list)
    for name, group in groups.items():
        splits[split_of(group)].append(name)
    assert len(splits["test"]) == 2
    assert len({groups[name] for name in splits["test"]}) == 2
    assert all("clean" in gold_of(name)["traits"] for name in splits["test"])
    assert 1 <= len(splits["validation"]) <= 2


@pytest.mark.skipif(
    importlib.util.find_spec("pocketsphinx") is None,
    reason="pocketsphinx, whose word list is asked, is missing",
)
def test_every_word_is_in_the_recognisers_dictionary() -> None:
    from pocketsphinx import get_model_path

    entries = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines()
    known = {entry.split(maxsplit=1)[0] for entry in entries if entry.strip()}
    said = {
        word["text"].lower()
        for name in NAMES
        for utterance in gold_of(name)["utterances"]
        for word in utterance["words"]
    }
    assert said - known == set()

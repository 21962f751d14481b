"""MESC from the user's own files: the published split of dialogues, and one that shares no episode.

The split files glue descriptions of the picture onto what was said, without a separator, so the words come from the
table, and a dialogue of a split is found in it by its first words. Published systems are told the labels of earlier
turns, which copy-gold shows to be most of the answer; here no label is in what a system is shown.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ai_therapist.errors import MissingInput, RequestError
from ai_therapist.evaluation.suites.layout import Row, read_table
from ai_therapist.records import Task, load_codebook

COLUMNS = ("Utterance", "Speaker", "Emotion", "Strategy", "Dialogue_ID", "Utterance_ID", "Season", "Episode")
LAYOUT = f"the table of all dialogues, a CSV with {', '.join(COLUMNS)}"
_SPEAKERS = {"client": True, "patient": True, "user": True, "therapist": False, "sys": False, "system": False}
"""Whether a speaker is the client."""
_CONTEXT = 3
_HELD_OUT_EVERY = 5
_SPLITS = ("train", "dev", "test")


class Said(NamedTuple):
    """One utterance of a dialogue."""

    text: str
    client: bool
    emotion: str
    strategy: str
    episode: str


Dialogues = Mapping[str, Sequence[Said]]


def emotions(paths: Sequence[Path]) -> list[Row]:
    """Client emotion of the utterance that is shown, after the three before it; published split of dialogues."""
    dialogues = _dialogues(paths[0] if paths else None)
    return list(_emotion_rows(dialogues, _published_split(dialogues, paths)))


def emotions_by_episode(paths: Sequence[Path]) -> list[Row]:
    """The same, every fifth episode held out: no episode is on both sides."""
    dialogues = _dialogues(_only(paths))
    return list(_emotion_rows(dialogues, _episode_split(dialogues)))


def strategies(paths: Sequence[Path]) -> list[Row]:
    """Strategy of the therapist's next utterance from the three before it; published split of dialogues."""
    dialogues = _dialogues(paths[0] if paths else None)
    return list(_strategy_rows(dialogues, _published_split(dialogues, paths)))


def strategies_by_episode(paths: Sequence[Path]) -> list[Row]:
    """The same, every fifth episode held out."""
    dialogues = _dialogues(_only(paths))
    return list(_strategy_rows(dialogues, _episode_split(dialogues)))


def _emotion_rows(dialogues: Dialogues, splits: Mapping[str, str]) -> Iterator[Row]:
    for name, split in splits.items():
        for place, said in enumerate(dialogues[name]):
            if said.client:
                gold = _known(Task.EMOTION, said.emotion, name, place)
                yield Row(f"{name}-{place}", split, name, _shown(dialogues[name][: place + 1]), gold, place)


def _strategy_rows(dialogues: Dialogues, splits: Mapping[str, str]) -> Iterator[Row]:
    for name, split in splits.items():
        for place, said in enumerate(dialogues[name]):
            # What comes next is told from what came before: the first utterance of a dialogue has nothing before it.
            if not said.client and place:
                gold = _known(Task.STRATEGY, said.strategy, name, place)
                yield Row(f"{name}-{place}", split, name, _shown(dialogues[name][:place]), gold, place)


def _known(task: Task, label: str, dialogue: str, place: int) -> str:
    """The label as the codebook writes it."""
    name = load_codebook().canonical(task, label)
    if name is None:
        raise RequestError(f"dialogue {dialogue}, utterance {place + 1}: the {task} is none of the codebook's")
    return name


def _shown(before: Sequence[Said]) -> str:
    shown = before[-_CONTEXT - 1 :] if before[-1].client else before[-_CONTEXT:]
    return "\n".join(f"{'client' if said.client else 'therapist'}: {said.text}" for said in shown)


def _dialogues(path: Path | None) -> Dialogues:
    if path is None:
        raise RequestError(f"this suite reads {LAYOUT}")
    found: dict[str, list[tuple[int, Said]]] = defaultdict(list)
    for number, row in enumerate(read_table(path, COLUMNS), start=1):
        where = f"{path.name}, row {number}"
        speaker = _SPEAKERS.get(row["Speaker"].strip().casefold())
        if speaker is None:
            raise RequestError(f"{where}: the speaker is none of {', '.join(_SPEAKERS)}")
        if not row["Utterance_ID"].strip().isdecimal():
            raise RequestError(f"{where}: Utterance_ID must be a number")
        episode = f"{row['Season'].strip()}-{row['Episode'].strip()}"
        said = Said(" ".join(row["Utterance"].split()), speaker, row["Emotion"], row["Strategy"], episode)
        # The table holds rows twice: the first of one place stands.
        found[row["Dialogue_ID"].strip()].append((int(row["Utterance_ID"]), said))
    return {name: [said for _, said in sorted(dict(reversed(each)).items())] for name, each in found.items()}


def _episode_split(dialogues: Dialogues) -> dict[str, str]:
    episodes = sorted({said.episode for said_in in dialogues.values() for said in said_in})
    held_out = set(episodes[::_HELD_OUT_EVERY])
    return {
        name: "test" if any(said.episode in held_out for said in said_in) else "train"
        for name, said_in in dialogues.items()
    }


def _published_split(dialogues: Dialogues, paths: Sequence[Path]) -> dict[str, str]:
    if len(paths) != 1 + len(_SPLITS):
        raise RequestError(f"this suite reads {LAYOUT}, then train.json, valid.json, test.json of its split")
    by_opening: dict[str, list[str]] = defaultdict(list)
    for name, said in dialogues.items():
        by_opening[said[0].text].append(name)
    splits: dict[str, str] = {}
    for split, path in zip(_SPLITS, paths[1:], strict=True):
        for number, texts in enumerate(_split_file(path), start=1):
            names = [
                name
                for opening, named in by_opening.items()
                if texts[0].startswith(opening)
                for name in named
                if name not in splits and _is_of(dialogues[name], texts)
            ]
            if not names:
                raise RequestError(f"{path.name}: dialogue {number} is not in the table, or stands in two splits")
            splits[max(names, key=lambda name: len(dialogues[name]))] = split
    return splits


def _is_of(said: Sequence[Said], texts: Sequence[str]) -> bool:
    """Whether the texts of a split's dialogue begin with the utterances of the table's."""
    return len(said) == len(texts) and all(text.startswith(one.text) for one, text in zip(said, texts, strict=True))


def _split_file(path: Path) -> Iterator[list[str]]:
    expected = "expected a JSON list of dialogues, each with the key dialog: a list of objects with the key text"
    try:
        dialogues = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror or 'cannot be read'}; {expected}") from None
    except (ValueError, RecursionError):
        raise RequestError(f"{path.name} is no JSON; {expected}") from None
    try:
        for dialogue in dialogues:
            texts = [" ".join(str(said["text"]).split()) for said in dialogue["dialog"]]
            if texts:
                yield texts
    except (TypeError, KeyError):
        raise RequestError(f"{path.name} has another layout; {expected}") from None


def _only(paths: Sequence[Path]) -> Path:
    if len(paths) != 1:
        raise RequestError(f"this suite reads one file: {LAYOUT}; {len(paths)} were given")
    return paths[0]

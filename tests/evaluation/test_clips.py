"""A clip is exact when it holds the frames of its span, no more and no less."""

from pathlib import Path

from ai_therapist.evaluation.clips import count_clips, is_exact
from ai_therapist.records import Clip, Fault
from tests.evaluation.arc import FPS, clip_of, heard_as, make_gold, write_clip

TURN = heard_as(make_gold("one")).utterances[0]
FRAMES = len(TURN.span.frames(FPS))


def test_every_frame_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, FRAMES)
    assert is_exact(path, FRAMES)
    assert not is_exact(path, FRAMES - 1)
    assert not is_exact(path, FRAMES + 1)


def test_a_missing_frame_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, FRAMES, gap=3)
    assert not is_exact(path, FRAMES)


def test_a_clip_that_begins_in_the_middle_of_a_scene_is_not_exact(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, FRAMES)
    tail = tmp_path / "tail.mp4"
    copy_packets(path, tail, skip=2)
    assert not is_exact(tail, FRAMES - 2)


def test_what_is_no_clip_is_not_exact(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video")
    assert not is_exact(path, FRAMES)


def test_clips_are_counted_with_those_that_go_by_their_words(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, FRAMES)
    short = tmp_path / "short.mp4"
    write_clip(short, FRAMES - 5)
    turns = heard_as(make_gold("one")).utterances
    exact, inexact = clip_of(turns[0], path), clip_of(turns[2], short)
    silent = Clip.of(TURN.session, (turns[1].id,), turns[1].span, None, frozenset({Fault.TOO_SHORT}))
    found = count_clips((exact, inexact, silent), {exact.id: path, inexact.id: short})
    assert (found.cut, found.exact, found.text_only) == (2, 1, 1)
    assert found.inexact == (inexact.id,)


def copy_packets(source: Path, target: Path, skip: int) -> None:
    """Copy a video without its first packets, as a careless cut does."""
    import av

    with av.open(str(source)) as reader, av.open(str(target), "w", format="mp4") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for number, packet in enumerate(reader.demux(stream)):
            if packet.size and number >= skip:
                packet.stream = copy
                writer.mux(packet)

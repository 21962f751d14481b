"""Transcripts at random, as hypothesis makes them."""

from hypothesis import strategies as st

from ai_therapist.formats.cues import _SRT_MARKUP
from ai_therapist.formats.passages import NO_SPEAKER, Passage
from ai_therapist.formats.text import clean
from ai_therapist.formats.tiers import KIND_MARK
from ai_therapist.records import TimeSpan, Word

TEXTS = st.one_of(
    st.sampled_from(
        [
            'he said "so", and left',
            "a <b & c> --> d",
            "Note: this is no label",
            "[later]: nor this",
            "intervals [1]: item [2]: xmin = 3",
            "1",
            "äöü 你好 🙂",
            "]]> <!-- x -->",
        ]
    ),
    st.text(max_size=30),
).map(clean)
SAID = TEXTS.filter(lambda text: bool(text) and not _SRT_MARKUP.search(text))
LABELS = st.one_of(
    st.sampled_from(["A", "B", "SPEAKER_00", "Dr. Meier", "50 % of us"]),
    st.text(min_size=1, max_size=20)
    .map(clean)
    .filter(lambda text: bool(text) and not set(text) & set("[]") and KIND_MARK not in f" {text} "),
).filter(lambda text: text not in {NO_SPEAKER, "<NA>"})


@st.composite
def passages(draw: st.DrawFn, words: bool = True) -> tuple[Passage, ...]:
    """Passages that do not overlap, some without a speaker, some with words at gaps and some without."""
    labels = draw(st.lists(LABELS, min_size=1, max_size=3))
    now_ms = draw(st.integers(0, 5_000_000))
    made = []
    for _ in range(draw(st.integers(1, 5))):
        start_ms = now_ms + draw(st.integers(0, 2000))
        timed = []
        now_ms = start_ms
        for text in draw(st.lists(SAID, max_size=3 if words else 0)):
            begin_ms = now_ms + draw(st.integers(0, 300))
            now_ms = begin_ms + draw(st.integers(1, 300))
            timed.append(
                Word(
                    text=text,
                    span=TimeSpan(start_ms=begin_ms, end_ms=now_ms),
                    confidence=draw(st.one_of(st.none(), st.floats(0, 1))),
                )
            )
        now_ms += draw(st.integers(1, 3000))
        made.append(
            Passage(
                span=TimeSpan(start_ms=start_ms, end_ms=now_ms),
                speaker=draw(st.one_of(st.none(), st.sampled_from(labels))),
                text=draw(SAID),
                words=tuple(timed),
                confidence=draw(st.one_of(st.none(), st.floats(0, 1))),
            )
        )
    return tuple(made)

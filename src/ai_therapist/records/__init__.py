"""What exists: frozen record types without any input or output.

Times are integer milliseconds from the start of the session, spans are half-open, ids derive from content.
"""

from ai_therapist.records.annotation import (
    Abstention,
    Annotation,
    Cues,
    Label,
    Modality,
    Outcome,
    Provenance,
    RaterId,
    Task,
    annotator_of,
)
from ai_therapist.records.clip import Clip, Fault
from ai_therapist.records.codebook import Codebook, load_codebook
from ai_therapist.records.example import Example, Labels, LabelSource, LabelSources, Split, Turn
from ai_therapist.records.score import Score, Scored, Unscored
from ai_therapist.records.session import (
    AudioStream,
    Basis,
    Consent,
    Media,
    Role,
    Session,
    SourceRecord,
    Speaker,
    Subject,
    Use,
    VideoStream,
)
from ai_therapist.records.timespan import TimeSpan
from ai_therapist.records.transcript import Transcript, Utterance, Word

__all__ = [
    "Abstention",
    "Annotation",
    "AudioStream",
    "Basis",
    "Clip",
    "Codebook",
    "Consent",
    "Cues",
    "Example",
    "Fault",
    "Label",
    "LabelSource",
    "LabelSources",
    "Labels",
    "Media",
    "Modality",
    "Outcome",
    "Provenance",
    "RaterId",
    "Role",
    "Score",
    "Scored",
    "Session",
    "SourceRecord",
    "Speaker",
    "Split",
    "Subject",
    "Task",
    "TimeSpan",
    "Transcript",
    "Turn",
    "Unscored",
    "Use",
    "Utterance",
    "VideoStream",
    "Word",
    "annotator_of",
    "load_codebook",
]

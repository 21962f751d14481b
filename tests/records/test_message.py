"""What a message shows."""

from ai_therapist.records.annotation import Modality
from ai_therapist.records.message import AudioPart, ImagePart, Message, TextPart, VideoPart


def test_modalities_follow_from_the_parts() -> None:
    silent = Message(role="user", parts=(VideoPart(path="a.mp4", sound=False), TextPart(text="one")))
    assert silent.modalities == {Modality.VIDEO, Modality.TEXT}
    assert Message(role="user", parts=(VideoPart(path="a.mp4"),)).modalities == {Modality.VIDEO, Modality.AUDIO}
    assert Message(role="user", parts=(ImagePart(path="a.png"), AudioPart(path="a.wav"))).modalities == {
        Modality.VIDEO,
        Modality.AUDIO,
    }


def test_text_joins_its_parts_and_stays_out_of_repr() -> None:
    message = Message(role="user", parts=(TextPart(text="one"), VideoPart(path="a.mp4"), TextPart(text="two")))
    assert message.text == "one\ntwo"
    assert "one" not in repr(message)

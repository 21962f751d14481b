"""Generation: cache, streaming, beams and several answers, attention implementations, both precisions."""

from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TextIteratorStreamer

from tests.videollama2.conftest import tiny_model
from tests.videollama2.test_features import _FRAMES, _SOUND, _cached, _inputs

_GREEDY: dict[str, Any] = {
    "max_new_tokens": 6,
    "min_new_tokens": 6,
    "do_sample": False,
    "repetition_penalty": 1.0,
}


def _batch(processor: Any) -> Any:
    """Two rows that own two clips and one clip, with and without sound."""
    other = np.ascontiguousarray(_FRAMES[:, ::-1])
    rows = [
        [{"type": "video", "video": _FRAMES, "sound": _SOUND}, {"type": "video", "video": other}],
        [{"type": "video", "video": other, "sound": _SOUND[:9_000]}],
    ]
    conversations = [[{"role": "user", "content": [*row, {"type": "text", "text": "What is it?"}]}] for row in rows]
    return processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True},
    )


def test_the_cache_changes_no_token_and_media_run_once() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    calls: list[int] = []
    handle = model.model.connector.register_forward_hook(lambda *_: calls.append(1))
    with_cache = model.generate(**inputs, **_GREEDY)
    assert len(calls) == 2, "one clip and one picture, at prefill only"
    handle.remove()
    without = model.generate(**inputs, **_GREEDY, use_cache=False)
    assert torch.equal(with_cache, without)


def test_cached_features_generate_the_same() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    assert torch.equal(model.generate(**_cached(model, inputs), **_GREEDY), model.generate(**inputs, **_GREEDY))


def test_a_reply_streams() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60)
    thread = Thread(target=model.generate, kwargs={**inputs, **_GREEDY, "streamer": streamer})
    thread.start()
    streamed = "".join(streamer)
    thread.join()
    assert streamed == processor.decode(model.generate(**inputs, **_GREEDY)[0, -6:])


@pytest.mark.parametrize("raw", [True, False])
def test_repeated_rows_keep_their_own_clips(raw: bool) -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    batch = _batch(processor)
    if not raw:
        with torch.no_grad():
            video = model.get_video_features(batch.pop("pixel_values_videos")).pooler_output
            sound = model.get_audio_features(
                batch.pop("input_features"), batch.pop("input_features_mask")
            ).pooler_output
        batch.update({"video_features": video, "audio_features": sound})
    greedy = model.generate(**batch, **_GREEDY)
    ids, expanded = model._expand_inputs_for_generation(2, **batch)
    doubled = {"input_ids": ids, **expanded}
    with torch.no_grad():
        single, repeated = model(**batch).logits, model(**doubled).logits
    torch.testing.assert_close(repeated[0::2], single)
    torch.testing.assert_close(repeated[1::2], single)
    beams = model.generate(**batch, **_GREEDY, num_beams=2, num_return_sequences=2)
    assert beams.shape == (4, greedy.shape[1])


def test_eager_and_sdpa_attention_agree() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    with torch.no_grad():
        assert model.config._attn_implementation == "sdpa"
        fast = model(**inputs).logits
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(**inputs).logits, fast, atol=1e-5, rtol=1e-4)


def test_bfloat16_runs_and_stays_close() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    inputs = _inputs(processor)
    with torch.no_grad():
        exact = model(**inputs).logits
        rounded = model.to(torch.bfloat16)(**inputs).logits
    assert rounded.dtype == torch.bfloat16
    assert torch.isfinite(rounded).all()
    assert (rounded.float() - exact).abs().mean() < 0.05
    assert model.generate(**inputs, **_GREEDY).shape[1] == inputs["input_ids"].shape[1] + 6


def test_placeholders_are_never_generated() -> None:
    model, processor = tiny_model()
    inputs = processor(text="I feel tired", return_tensors="pt")
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all scores tie, and the smallest id wins
    assert model.generate(**inputs, **_GREEDY)[0, -6:].tolist() == [0] * 6
    model.config.video_token_id = 0
    assert model.generate(**inputs, **_GREEDY)[0, -6:].tolist() == [1] * 6


def test_a_conversation_goes_on_from_its_cache() -> None:
    model, processor = tiny_model(tokens_per_clip=4, audio_tokens_per_clip=6)
    other = np.ascontiguousarray(_FRAMES[:, ::-1])
    first: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "video", "video": _FRAMES}, {"type": "text", "text": "First?"}]}
    ]
    settings: dict[str, Any] = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    start = processor.apply_chat_template(first, **settings, add_generation_prompt=True)
    opened = model.generate(**start, **_GREEDY, return_dict_in_generate=True)
    second = {
        "role": "user",
        "content": [{"type": "video", "video": other, "sound": _SOUND}, {"type": "text", "text": "And now?"}],
    }
    rest = processor.apply_chat_template([second], **settings, add_generation_prompt=True)
    ids = torch.cat([opened.sequences, rest["input_ids"]], dim=1)
    new = {name: rest[name] for name in ("input_features", "input_features_mask")}
    goes_on = model.generate(
        input_ids=ids,
        pixel_values_videos=rest["pixel_values_videos"],
        **new,
        past_key_values=opened.past_key_values,
        **_GREEDY,
    )
    clips = torch.cat([start["pixel_values_videos"], rest["pixel_values_videos"]])
    afresh = model.generate(input_ids=ids, pixel_values_videos=clips, **new, **_GREEDY)
    assert torch.equal(goes_on, afresh)

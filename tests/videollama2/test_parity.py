"""Equality with the original code's outputs on three tiny models, stage by stage.

Bars: 1e-4 for activations and logits, 2e-5 for connector and audio projector, 1e-5 for loss and gradients, exact
for ids, labels, masks, frame indices, pixel values and greedy tokens.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ai_therapist.videollama2.layout_videollama2 import RENAMINGS
from tests.videollama2.conftest import Golden

_CASES = [
    ("a", "video"),
    ("a", "image"),
    ("a", "text"),
    ("b", "video"),
    ("b", "image"),
    ("b", "text"),
    ("c", "video_audio"),
    ("c", "audio"),
    ("c", "video_only"),
]


@contextmanager
def _watched(**modules: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Outputs of `modules` by name, filled while the block runs."""
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output.detach()))
        for name, module in modules.items()
    ]
    yield seen
    for handle in handles:
        handle.remove()


def _close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def test_vision_tower_and_connector_stage_by_stage(golden: Golden) -> None:
    case = "video_audio" if golden.name == "c" else "video"
    expected = {
        name.removeprefix(f"{case}."): tensor
        for name, tensor in golden.outputs.items()
        if name.startswith((f"{case}.connector", f"{case}.vision"))
    }
    connector = golden.model.model.connector
    with (
        torch.no_grad(),
        _watched(block=connector.s1[0], s1=connector.s1, sampler=connector.sampler, s2=connector.s2) as seen,
    ):
        features = golden.model.get_video_features(golden.inputs["pixel_values.landscape.none"][None])
    _close(features.last_hidden_state[0], expected["vision_features"])
    _close(seen["block"], expected["connector.s1.b1"], 2e-5)
    _close(seen["s1"], expected["connector.s1"], 2e-5)
    _close(nn.functional.silu(seen["sampler"]), expected["connector.sampler"], 2e-5)
    _close(seen["s2"], expected["connector.s2"], 2e-5)
    _close(features.pooler_output, expected["connector.out"], 2e-5)


def test_audio_tower_and_projector_stage_by_stage(golden_av: Golden) -> None:
    tower = golden_av.model.model.audio_tower
    with (
        torch.no_grad(),
        _watched(
            patch_embedding=tower.patch_embedding,
            layer_norm=tower.layer_norm,
            post_extract_proj=tower.post_extract_proj,
            pos_conv=tower.pos_conv,
            encoder_layer_norm=tower.encoder_layer_norm,
            **{f"layer{index}": layer for index, layer in enumerate(tower.layers)},
        ) as seen,
    ):
        fbank = golden_av.inputs["audio_from_video.fbank_bf16"].float()
        features: Any = golden_av.model.get_audio_features(fbank)
    expected = golden_av.outputs
    for name in ("patch_embedding", "layer_norm", "post_extract_proj"):
        _close(seen[name], expected[f"video_audio.beats.{name}"])
    _close(seen["pos_conv"].transpose(1, 2), expected["video_audio.beats.pos_conv"])
    _close(seen["encoder_layer_norm"], expected["video_audio.beats.encoder.layer_norm"])
    for index in range(3):
        _close(seen[f"layer{index}"], expected[f"video_audio.beats.encoder.layers.{index}"])
    _close(features.pooler_output[0], expected["video_audio.audio_projector.out"][0], 2e-5)


def _golden_ids(golden: Golden, case: str) -> list[int]:
    """The reference's ids with their one placeholder per medium expanded as our processor does."""
    processor, video = golden.processor, golden.model.config.num_video_tokens()
    expanded = {
        -200: [processor.image_token_id] * video,
        -201: [processor.video_token_id] * video,
        -202: [processor.audio_token_id] * 1496,
    }
    if case == "video_audio":
        expanded[-201] = expanded[-201] + expanded[-202]
    ids = golden.inputs[f"{case}.input_ids"][0].tolist()
    return [token for stored in ids for token in expanded.get(stored, [stored])]


@pytest.mark.parametrize(("name", "case"), _CASES)
def test_prompts_splice_logits_and_greedy_tokens(golden_folder: Any, name: str, case: str) -> None:
    from tests.videollama2.conftest import load_golden

    golden = load_golden(name)
    inputs = golden.case(case)
    assert inputs["input_ids"][0].tolist() == _golden_ids(golden, case)
    assert torch.equal(inputs["attention_mask"], golden.outputs[f"{case}.expanded_attention_mask"])
    for kind in ("pixel_values_videos", "pixel_values"):
        if kind in inputs:
            stored = "pixel_values.landscape.none" if kind.endswith("videos") else "image_pixel_values.none"
            assert torch.equal(inputs[kind].reshape(golden.inputs[stored].shape), golden.inputs[stored])
    if "input_features" in inputs:
        stored = "audio_from_video.fbank_bf16" if case == "video_audio" else "audio_file.fbank_bf16"
        inputs["input_features"] = golden.inputs[stored].float()
    model = golden.model
    with torch.no_grad(), _watched(hidden=model.model.language_model.norm) as seen:
        media = {
            kind: getattr(model, f"get_{kind}_features")(inputs[raw]).pooler_output
            for kind, raw in (
                ("image", "pixel_values"),
                ("video", "pixel_values_videos"),
                ("audio", "input_features"),
            )
            if raw in inputs
        }
        _close(model.model.embed(inputs["input_ids"], media), golden.outputs[f"{case}.inputs_embeds"])
        logits = model(**inputs).logits
    _close(seen["hidden"], golden.outputs[f"{case}.last_hidden_state"])
    expected = golden.outputs.get(f"{case}.logits", golden.outputs.get(f"{case}.logits_last16"))
    assert expected is not None
    _close(logits[:, -expected.shape[1] :], expected)
    new = model.generate(**inputs, max_new_tokens=8, min_new_tokens=8, do_sample=False, repetition_penalty=1.0)
    assert new[0, -8:].tolist() == golden.outputs[f"{case}.greedy_new_tokens"][0].tolist()


def _train_batch(golden: Golden) -> tuple[Any, Tensor]:
    """The reference's training batch through our chat template, right padded; labels from assistant masks."""
    conversations = [
        [
            {
                "role": "user" if turn["from"] == "human" else "assistant",
                "content": golden.turn(turn["value"], track=golden.name == "c" and row == 0),
            }
            for turn in conversation
        ]
        for row, conversation in enumerate(golden.texts["train"]["conversations"])
    ]
    batch = golden.processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
        processor_kwargs={
            "padding": True,
            "padding_side": "right",
            "audio_kwargs": {"audio_mode": "windows"},
        },
    )
    labels = torch.where(batch.pop("assistant_masks").bool(), batch["input_ids"], -100)
    return batch, labels


def test_labels_loss_and_gradients(golden: Golden) -> None:
    batch, labels = _train_batch(golden)
    assert torch.equal(labels, golden.outputs["train.expanded_labels"])
    assert torch.equal(batch["attention_mask"], golden.outputs["train.expanded_attention_mask"])
    assert torch.equal(batch["pixel_values_videos"][0], golden.inputs["pixel_values.landscape.pad"])
    clips = [golden.inputs["pixel_values.landscape.pad"]]
    if golden.name == "c":  # the portrait clip carries the original's black frames: feed it, do not rebuild it
        clips.append(golden.inputs["pixel_values.portrait.pad"])
        sounds = [golden.inputs["audio_from_video.fbank_bf16"], golden.inputs["audio_file.fbank_bf16"]]
        batch["input_features"] = torch.cat(sounds).float()
    batch["pixel_values_videos"] = torch.stack(clips)
    golden.model.zero_grad()
    output = golden.model(**batch, labels=labels)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(golden.outputs["train.loss"].item(), abs=1e-5)
    weights = dict(golden.model.named_parameters())
    compared = 0
    for stored, expected in golden.outputs.items():
        if stored.startswith("train.grad."):
            name = stored.removeprefix("train.grad.")
            for source, target in RENAMINGS:
                name = re.sub(source, target, name)
            assert (weights[name].grad - expected).abs().max() <= 1e-5, stored
            compared += 1
    golden.model.zero_grad()
    assert compared == (8 if golden.name == "c" else 5)
    assert all(weight.grad is None for weight in golden.model.model.vision_tower.parameters())


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_left_padded_batch_equals_its_rows(golden_folder: Any, name: str) -> None:
    from tests.videollama2.conftest import load_golden

    golden = load_golden(name)
    rows = [
        golden.turn("<video>\nWhat does the client feel?"),
        golden.turn("Which strategy is it, and why so?"),
    ]
    conversations = [[{"role": "user", "content": row}] for row in rows]
    settings: Any = {
        "tokenize": True,
        "return_dict": True,
        "return_tensors": "pt",
        "add_generation_prompt": True,
    }
    padded = golden.processor.apply_chat_template(conversations, **settings, processor_kwargs={"padding": True})
    assert padded["attention_mask"][1, 0] == 0, "the shorter row is padded on the left"
    greedy: Any = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "repetition_penalty": 1.0}
    together = golden.model.generate(**padded, **greedy)[:, -6:]
    for row, conversation in enumerate(conversations):
        single = golden.processor.apply_chat_template(conversation, **settings)
        alone = golden.model.generate(**single, **greedy)[0, -6:]
        assert together[row].tolist() == alone.tolist()
        with torch.no_grad():
            last = golden.model(**single).logits[0, -1]
            position = (padded["attention_mask"].cumsum(1) - 1).clamp(min=0)
            batch_last = golden.model(**padded, position_ids=position).logits[row, -1]
        _close(batch_last, last, 1e-4)

"""The plan counts what a real pass computes, and its times follow from that."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from ai_therapist.dataset.trunk import gather_conversations
from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.attention import dense_mask, plant
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.loss import ForestLoss
from ai_therapist.finetuning.plan import (
    attention_flops,
    cpu_tflops,
    make_plan,
    pass_flops,
    peak_tflops_here,
    seconds_on,
    shape_of,
)
from ai_therapist.finetuning.published import PUBLISHED, shape_from
from ai_therapist.finetuning.tree import Tree, encode_all
from ai_therapist.models.base import open_base
from tests.finetuning.builders import QUICK, make_chat, make_examples, make_features, placeholders

EXAMPLES = make_examples(turns=12)
FEATURES = make_features(EXAMPLES)


@pytest.fixture(scope="module")
def trees() -> tuple[Tree, ...]:
    return encode_all(gather_conversations(EXAMPLES), make_chat(EXAMPLES), placeholders(FEATURES), 1000, 4).trees


def product_flops(onto: Sequence[int], one: Sequence[int], other: Sequence[int], **_: object) -> int:
    """Operations of a product of matrices, from the three shapes."""
    return 2 * one[0] * one[1] * other[1]


@pytest.mark.parametrize("whole", [True, False])
def test_operations_are_those_of_a_real_pass(base: Path, trees: tuple[Tree, ...], whole: bool) -> None:
    model = with_adapter(open_base(base, towers=False).model, QUICK.model_copy(update={"train_embeddings": whole}))
    loss = ForestLoss(model.get_base_model(), "dense", 64)
    # The counter does not know the product that is added in place.
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: product_flops})
    with counter:
        loss(plant(trees), FEATURES).backward()
    estimated, again = pass_flops(shape_of(loss), trees)
    # The counter does not see the kernel that a processor uses for attention; the next test counts its pairs.
    attention = attention_flops(shape_of(loss), trees)
    # The plan leaves out that the input of the first layer needs no gradient, which is much of two layers.
    assert estimated - 3 * attention == pytest.approx(counter.get_total_flops(), rel=0.07)
    assert attention < again < estimated


def test_attention_is_counted_over_pairs_that_see_each_other(base: Path, trees: tuple[Tree, ...]) -> None:
    shape = shape_of(ForestLoss(open_base(base, towers=False).model, "segments", 64))
    seen = (dense_mask(plant(trees).segments, torch.float32, torch.device("cpu")) == 0).sum().item()
    assert attention_flops(shape, trees) == pytest.approx(4 * 2 * 128 * seen, rel=0.01)


def test_the_plan_adds_up(base: Path, trees: tuple[Tree, ...]) -> None:
    config = FinetuningConfig(epochs=3, max_tokens=1000, batch_tokens=1000, accumulation=2)
    model = with_adapter(open_base(base, towers=False).model, config)
    loss = ForestLoss(model.get_base_model(), "segments", config.loss_chunk)
    plan = make_plan(shape_of(loss), trees, config)
    assert plan.examples == len(EXAMPLES)
    assert plan.tokens == 3 * sum(tree.tokens for tree in trees)
    assert plan.tokens_one_by_one > 1.5 * plan.tokens
    assert plan.learned == 3 * sum(tree.learned for tree in trees)
    assert plan.largest_pass <= 1000
    assert plan.steps == -(-3 * len(trees) // 2) or plan.steps < 3 * len(trees)
    assert plan.memory["weights"] == sum(weight.numel() * 4 for weight in loss.parameters())
    assert plan.memory["activations, recomputed"] < plan.memory["activations"]
    assert seconds_on(plan, 2.0, 0.5) == pytest.approx(plan.flops / 1e12)


@pytest.mark.parametrize("whole", [True, False])
def test_the_sizes_of_a_published_model_are_those_of_the_model(whole: bool) -> None:
    decoder = PUBLISHED["Qwen/Qwen2.5-7B-Instruct"]
    config = FinetuningConfig(
        preset="text", quantisation="none", train_embeddings=whole, lora_targets=("q_proj", "v_proj", "up_proj")
    )
    with torch.device("meta"):
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=decoder.vocabulary,
                hidden_size=decoder.width,
                intermediate_size=decoder.inner,
                num_hidden_layers=decoder.layers,
                num_attention_heads=decoder.heads,
                num_key_value_heads=decoder.key_heads,
                tie_word_embeddings=False,
            )
        )
        for weight in model.parameters():
            weight.data = weight.data.bfloat16()
        tuned = with_adapter(model, config)
    found = shape_of(ForestLoss(tuned.get_base_model(), "segments", 64))
    expected = shape_from(decoder, config)
    # Trained whole, embedding and head are there twice: as they were, and in 32 bits.
    twice = 2 * decoder.vocabulary * decoder.width * 4 if whole else 0
    assert found == replace(expected, bytes_of_base=expected.bytes_of_base + twice)


def test_a_7b_model_in_four_bits_takes_the_room_that_its_weights_need() -> None:
    """6.525 billion weights in 4 bits with double quantisation: 3.37 GB; embedding and head: 2.18 GB."""
    shape = shape_from(PUBLISHED["Qwen/Qwen2.5-7B-Instruct"], FinetuningConfig(preset="text"))
    assert shape.layer_weights == pytest.approx(6.525e9, rel=1e-3)
    assert shape.trained == pytest.approx(40.4e6, rel=1e-2)
    assert shape.bytes_of_base == pytest.approx(3.37e9 + 2.18e9 + 4 * 40.4e6, rel=5e-3)


def test_no_peak_is_invented_for_a_processor() -> None:
    assert (peak_tflops_here() is None) is (not torch.cuda.is_available())
    assert cpu_tflops(64, 2) > 0

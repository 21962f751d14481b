"""One pass over a tree gives the loss and every gradient of separate examples; no branch sees another."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import cross_entropy

from ai_therapist.dataset.trunk import gather_conversations
from ai_therapist.errors import ConfigError
from ai_therapist.finetuning.adapter import with_adapter
from ai_therapist.finetuning.attention import SEGMENTS, dense_mask, flex_mask, plant, tree_attention
from ai_therapist.finetuning.config import FinetuningConfig
from ai_therapist.finetuning.fused import FusedLinear
from ai_therapist.finetuning.loss import Attention, ForestLoss, LossOf, chunked_loss
from ai_therapist.finetuning.pieces import Segment, pieces_of
from ai_therapist.finetuning.tree import AnswerTokens, BranchTokens, Targets, Tree, encode_all
from ai_therapist.models.base import open_base
from tests.finetuning.builders import (
    QUICK,
    TEXT_ONLY,
    make_chat,
    make_examples,
    make_features,
    placeholders,
    randomise_adapter,
    save_base,
)

EXAMPLES = make_examples(sessions=2, turns=12)
FEATURES = make_features(EXAMPLES)
CHAT = make_chat(EXAMPLES)
TREES, APART = (
    encode_all(gather_conversations(EXAMPLES), CHAT, placeholders(FEATURES), 2000, 4, targets=targets).trees
    for targets in get_args(Targets)
)
LAYOUTS = {"together": TREES, "apart": APART}


class Separate(NamedTuple):
    """What the answers of `trees` give one by one."""

    trees: tuple[Tree, ...]
    nats: Tensor
    gradients: dict[str, Tensor]


def make_loss(base: Path, attention: Attention = "segments", config: FinetuningConfig = QUICK) -> ForestLoss:
    """A base with random weights in both factors of its adapter."""
    model = with_adapter(open_base(base, towers=False).model, config)
    randomise_adapter(model)
    return ForestLoss(model.get_base_model(), attention, config.loss_chunk)


def gradients(loss: ForestLoss) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in loss.named_parameters() if weight.grad is not None}


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp_min(1e-12))


@pytest.fixture(scope="module", params=list(LAYOUTS))
def separate(base: Path, request: pytest.FixtureRequest) -> Separate:
    """Loss and gradients of the answers one by one, through PEFT's own layers and transformers' own attention."""
    model = with_adapter(open_base(base, towers=False).model, QUICK)
    randomise_adapter(model)
    causal = model.get_base_model()
    trees = LAYOUTS[request.param]
    total = torch.zeros(())
    for one in (example for tree in trees for example in tree.apart()):
        (branch,) = one.branches
        ids = one.row
        clip = None if branch.clip is None else FEATURES[branch.clip]
        media = {} if clip is None else {"video_features": [clip.video]}
        if clip is not None and clip.audio is not None:
            media["audio_features"] = [clip.audio]
        logits = causal(input_ids=torch.tensor([ids]), use_cache=False, **media).logits[0]
        learned = torch.tensor(ids[-branch.learned :])
        nats = cross_entropy(logits[-branch.learned - 1 : -1], learned, reduction="sum")
        nats.backward()
        total = total + nats.detach()
    wanted = {f"causal.{name}": weight.grad for name, weight in causal.named_parameters() if weight.grad is not None}
    return Separate(trees, total, wanted)


@pytest.mark.parametrize("attention", ["segments", "dense"])
def test_one_pass_equals_separate_examples_in_loss_and_every_gradient(
    base: Path, separate: Separate, attention: Attention
) -> None:
    loss = make_loss(base, attention)
    nats = loss(plant(separate.trees), FEATURES)
    nats.backward()
    wanted = separate.gradients
    found = gradients(loss)
    assert relative(nats.detach(), separate.nats) <= 1e-6
    assert found.keys() == wanted.keys()
    assert sum("lora_A" in name for name in found) == sum("lora_B" in name for name in found) == 14
    assert max(relative(found[name], wanted[name]) for name in wanted) <= 1e-5


def test_answers_of_one_prompt_are_told_apart_and_read_their_clip_once() -> None:
    together, apart = (plant(trees) for trees in (TREES, APART))
    assert together.clips == apart.clips
    assert any(len(segment.answers) == 4 for segment in apart.segments)
    assert sum(tree.tokens for one in APART for tree in one.apart()) > 3 * apart.input_ids.numel()


def test_several_conversations_in_a_row_equal_one_each(base: Path) -> None:
    loss = make_loss(base)
    with torch.no_grad():
        together = loss(plant(TREES), FEATURES)
        apart = sum(loss(plant([tree]), FEATURES) for tree in TREES)
    assert relative(together, torch.as_tensor(apart)) <= 1e-6


def test_flex_attention_gives_the_same_numbers() -> None:
    """Its compiled kernel and its backward pass need a CUDA device; the mask and the forward pass are real here."""
    segments = plant(APART[:1]).segments
    length = sum(segment.length + sum(segment.answers) for segment in segments)
    query, key, value = torch.randn(3, 1, 2, length, 16, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*flex_attention called without torch.compile.*")
        flex = flex_attention(query, key, value, block_mask=flex_mask(segments, query.device))
        ours, _ = tree_attention(None, query, key, value, None, segments=segments)
    assert isinstance(flex, Tensor)
    assert torch.allclose(flex.transpose(1, 2), ours, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the compiled kernel needs a CUDA device")
@pytest.mark.parametrize("trees", [TREES, APART])
def test_compiled_flex_attention_gives_the_same_loss_and_gradients(base: Path, trees: tuple[Tree, ...]) -> None:
    found = []
    for attention in get_args(Attention):
        loss = make_loss(base, attention).to("cuda")
        shown = {clip: one.to("cuda") for clip, one in FEATURES.items()}
        nats = loss(plant(trees, "cuda"), shown)
        nats.backward()
        found.append((nats.detach(), gradients(loss)))
    (expected, wanted), *others = found
    for total, own in others:
        assert relative(total, expected) <= 1e-5
        assert max(relative(own[name], wanted[name]) for name in wanted) <= 1e-4


def test_activation_checkpointing_changes_no_gradient(base: Path) -> None:
    found = []
    for again in (False, True):
        loss = make_loss(base)
        if again:
            loss.causal.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
            loss.train()
        loss(plant(TREES), FEATURES).backward()
        found.append(gradients(loss))
    assert max(relative(found[1][name], found[0][name]) for name in found[0]) <= 1e-6


def test_a_text_only_base_is_exact_too(tmp_path: Path) -> None:
    config = FinetuningConfig(base=TEXT_ONLY)
    base = save_base(tmp_path / "text", TEXT_ONLY)
    trees = encode_all(gather_conversations(EXAMPLES), CHAT, {}, 2000, 4).trees
    loss = make_loss(base, config=config)
    loss(plant(trees), {}).backward()
    together = gradients(loss)
    apart = make_loss(base, config=config)
    for tree in trees:
        for one in tree.apart():
            apart(plant([one]), {}).backward()
    wanted = gradients(apart)
    assert max(relative(together[name], wanted[name]) for name in wanted) <= 1e-5


def test_a_label_in_an_earlier_branch_changes_no_later_logit(base: Path) -> None:
    loss = make_loss(base)
    tree = max(TREES, key=lambda one: len(one.branches))
    first = tree.branches[0]
    changed = BranchTokens(
        first.example,
        first.fork,
        first.prompt,
        (AnswerTokens(tuple(reversed(first.answers[0].ids)), first.learned),),
        first.clip,
    )
    assert changed != first
    with torch.no_grad():
        before = loss.logits(plant([tree]), FEATURES)
        after = loss.logits(plant([Tree(tree.trunk, (changed, *tree.branches[1:]))]), FEATURES)
    assert not torch.equal(before[: first.learned], after[: first.learned])
    assert torch.equal(before[first.learned :], after[first.learned :])


def test_a_label_that_is_an_answer_of_its_own_changes_no_other_logit(base: Path) -> None:
    loss = make_loss(base)
    tree = max(APART, key=lambda one: len(one.branches))
    first = tree.branches[0]
    emotion, strategy, *others = first.answers
    changed = AnswerTokens((*strategy.ids[:-2], *reversed(strategy.ids[-2:])), strategy.learned)
    assert changed != strategy
    perturbed = replace(first, answers=(emotion, changed, *others))
    with torch.no_grad():
        before = loss.logits(plant([tree]), FEATURES)
        after = loss.logits(plant([Tree(tree.trunk, (perturbed, *tree.branches[1:]))]), FEATURES)
    own = slice(emotion.learned, emotion.learned + strategy.learned)
    assert not torch.equal(before[own], after[own])
    assert torch.equal(before[: own.start], after[: own.start])
    assert torch.equal(before[own.stop :], after[own.stop :])


def test_a_clip_is_seen_by_its_own_branch_alone(base: Path) -> None:
    loss = make_loss(base)
    tree = TREES[0]
    first = tree.branches[0]
    assert first.clip is not None
    other = FEATURES[first.clip]._replace(video=FEATURES[first.clip].video + 1)
    with torch.no_grad():
        before = loss.logits(plant([tree]), FEATURES)
        after = loss.logits(plant([tree]), FEATURES | {first.clip: other})
    assert not torch.allclose(before[: first.learned], after[: first.learned], atol=1e-3)
    assert torch.equal(before[first.learned :], after[first.learned :])


def test_packed_positions_with_a_cache_leak_in_transformers_and_not_here(base: Path) -> None:
    """Why masks here are explicit: with a cache transformers takes a packed row for one sequence, without a word."""
    loss = make_loss(base, "dense")
    first, second = (tuple(tree.trunk) for tree in TREES[:2])
    ids = torch.tensor([[*first, *second]])
    positions = torch.tensor([[*range(len(first)), *range(len(second))]])
    with torch.no_grad():
        alone = loss.causal.model(input_ids=torch.tensor([list(second)]), use_cache=False).last_hidden_state
        packed, cached = (
            loss.causal.model(input_ids=ids, position_ids=positions, use_cache=cache).last_hidden_state
            for cache in (False, True)
        )
        forest = plant([Tree(first, TREES[0].branches[:1]), Tree(second, TREES[1].branches[:1])])
        start = len(first) + TREES[0].branches[0].tokens
        ours = loss.hidden(forest, FEATURES)[start : start + len(second)]
    assert torch.allclose(packed[:, len(first) :], alone, atol=1e-4)
    assert not torch.allclose(cached[:, len(first) :], alone, atol=1e-2)
    assert torch.allclose(ours, alone[0], atol=1e-4)


def test_attention_without_its_trees_is_refused() -> None:
    states = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match="segments"):
        tree_attention(None, states, states, states, None)


def test_sliding_windows_are_refused(base: Path) -> None:
    model = open_base(base, towers=False).model
    model.config.text.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(ConfigError, match="sliding window"):
        ForestLoss(model, "segments", 8)


def test_only_the_language_model_gets_the_tree_attention(base: Path) -> None:
    model = open_base(base).model
    ForestLoss(model, "segments", 8)
    assert model.model.language_model.config._attn_implementation == SEGMENTS
    assert model.model.vision_tower.config._attn_implementation != SEGMENTS


@pytest.mark.parametrize("trees", [TREES, APART])
def test_pieces_on_the_cpu_are_the_kernel_of_torch(trees: tuple[Tree, ...]) -> None:
    """Forward and backward, runs longer than a piece among them; dropout of nothing in 64 bits takes torch's kernel."""
    segments = plant(trees).segments
    length = sum(segment.length + sum(segment.answers) for segment in segments)
    assert max(segment.length for segment in segments) > 256
    start = torch.randn(3, 1, 4, length, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for dtype in (torch.float32, torch.float64):
        query, key, value = (one.to(dtype).requires_grad_() for one in (start[0], start[1, :, :2], start[2, :, :2]))
        output, _ = tree_attention(None, query, key, value, None, segments=segments)
        (output * torch.arange(output.numel(), dtype=dtype).view(output.shape).sin()).sum().backward()
        found.append([output.detach(), query.grad, key.grad, value.grad])
    for ours, kernel in zip(*found, strict=True):
        assert ours is not None
        assert kernel is not None
        assert relative(ours.double(), kernel) <= 1e-6


def test_the_last_layer_is_whole_where_its_states_are_asked_for(base: Path) -> None:
    loss = make_loss(base)
    forest = plant(TREES)
    with torch.no_grad():
        whole = loss.hidden(forest, FEATURES)
        predicted = loss.causal.get_output_embeddings()(whole[forest.sources])
        assert torch.allclose(loss.logits(forest, FEATURES), predicted, atol=1e-5)
        assert torch.equal(loss.hidden(forest, FEATURES), whole)


def test_pefts_own_way_is_taken_where_more_is_asked(base: Path) -> None:
    """Dropout, an adapter that is switched off, and weights that are not in 32 bits."""
    rows = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    loss = make_loss(base)
    layer = loss.causal.model.language_model.layers[0].self_attn.q_proj
    assert isinstance(layer, FusedLinear)
    fused, plain = layer(rows), Linear.forward(layer, rows)
    assert torch.allclose(fused, plain, atol=1e-5)
    layer.enable_adapters(False)
    assert torch.equal(layer(rows), layer.base_layer(rows))
    half = make_loss(base).to(torch.bfloat16).causal.model.language_model.layers[0].self_attn.q_proj
    assert half(rows.bfloat16()).dtype == torch.bfloat16
    dropping = make_loss(base, config=QUICK.model_copy(update={"lora_dropout": 0.5})).train()
    layer = dropping.causal.model.language_model.layers[0].self_attn.q_proj
    assert not torch.equal(layer(rows), layer(rows))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_the_masks_say_what_the_picture_says(data: st.DataObject) -> None:
    segments: list[Segment] = []
    seen: list[set[int]] = []
    """By the place of a token: the places of all that it sees, drawn from the trees themselves."""
    for _ in range(data.draw(st.integers(1, 3))):
        root, length = len(seen), data.draw(st.integers(1, 6))
        segments.append(Segment(root, length, root, 0, ()))
        seen += [set(range(root, root + at + 1)) for at in range(length)]
        for _ in range(data.draw(st.integers(0, 3))):
            fork, prompt = data.draw(st.integers(0, length)), data.draw(st.integers(1, 4))
            answers = tuple(data.draw(st.lists(st.integers(1, 3), max_size=3)))
            start = len(seen)
            segments.append(Segment(start, prompt, root, fork, answers))
            above = set(range(root, root + fork))
            seen += [above | set(range(start, start + at + 1)) for at in range(prompt)]
            above |= set(range(start, start + prompt))
            for answer in answers:
                first = len(seen)
                seen += [above | set(range(first, first + at + 1)) for at in range(answer)]
    tokens = range(len(seen))
    expected = torch.tensor([[key in seen[query] for key in tokens] for query in tokens])
    for piece in pieces_of(segments, data.draw(st.sampled_from([None, 1, 2]))):
        above = {at for start, end in piece.above for at in range(start, end)}
        assert all(seen[at] == above | set(range(piece.start, at + 1)) for at in range(piece.start, piece.end))
    device = torch.device("cpu")
    assert torch.equal(dense_mask(segments, torch.float32, device)[0, 0] == 0, expected)
    blocks = flex_mask(segments, device)
    mask_mod, at = blocks.mask_mod, torch.arange(len(tokens))
    assert torch.equal(mask_mod(at, at, at[:, None], at[None, :]), expected)


@settings(deadline=None, max_examples=20)
@given(tokens=st.integers(0, 9), chunk=st.integers(1, 5))
def test_the_chunked_loss_is_the_whole_loss(tokens: int, chunk: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    head = torch.nn.Linear(8, 11)
    learned = torch.randint(0, 11, (tokens,), generator=generator)
    start = torch.randn(tokens, 8, generator=generator)
    found = []
    for whole in (True, False):
        hidden = start.clone().requires_grad_()
        loss = (
            cross_entropy(head(hidden), learned, reduction="sum")
            if whole
            else chunked_loss(head, hidden, learned, chunk)
        )
        if tokens:
            loss.backward()
        found.append((loss.detach(), hidden.grad if tokens else torch.zeros(0)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert found[0][1] is not None
    assert found[1][1] is not None
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_the_mean_of_no_loss_is_not_zero() -> None:
    assert LossOf(6.0, 3).mean == 2.0
    with pytest.raises(ValueError, match="nothing"):
        _ = LossOf(0.0, 0).mean

"""Weighing labels against writing them, on the same tiny model: python benchmarks/labelling.py [--quick].

A random Llama of some millions of weights labels turns of a fictional talk. "Weighed" scores all 17 labels of the
codebook as continuations of one prompt, of which the part that the last prompt had as well (the instruction) is not
read again; "written" lets the model write a JSON object of 16 tokens in the usual way (transformers' generate, which
reads the whole prompt each time and keeps its own cache within one answer); "alone" scores each label in a pass of its
own over prompt and label, which is what weighing must agree with. Calibration is left out: it is computed once for
each instruction, not for each turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from reporting import finish
from transformers import LlamaConfig, LlamaForCausalLM

from ai_therapist.annotation.prompt import SpokenTurn, build_messages, load_prompt
from ai_therapist.annotation.route import Route
from ai_therapist.finetuning.tokenizer import TURN_END, train_tokenizer
from ai_therapist.models.causal import open_causal
from ai_therapist.models.options import ModelOptions
from ai_therapist.models.turn_lines import mark_for
from ai_therapist.models.weighing import WeighingModel
from ai_therapist.records import Modality, Role, Task, load_codebook
from ai_therapist.records.message import Message
from ai_therapist.videollama2.chat_templates import CHATML

PREFIX = '{"emotion": "'
SAID = (
    "I have not slept since the letter came.",
    "We used to walk by the river every Sunday.",
    "He never asks, and I never say.",
    "It was fine, I suppose.",
    "My hands shake when the phone rings.",
    "She laughed, and for a moment I did too.",
    "There is no point in getting up.",
    "I told my brother to leave.",
)
NEW_TOKENS = 16


def save_model(folder: Path) -> None:
    """A random model with a tokenizer that has learned the codebook's words."""
    torch.manual_seed(0)
    book = load_codebook()
    categories = [*book.categories(Task.EMOTION), *book.categories(Task.STRATEGY)]
    texts = [f"{each.name}: {each.definition} {' '.join(each.examples)}" for each in categories]
    tokenizer = train_tokenizer([*texts, *SAID], 2_000)
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def questions(turns: int) -> list[list[Message]]:
    """What is asked about each turn, as annotation asks it."""
    texts = [f"{SAID[place % len(SAID)]} {place}" for place in range(turns)]
    mark, shown = mark_for(texts), Route(frozenset({Modality.TEXT}), "benchmark")
    spoken = [SpokenTurn(Role.CLIENT, text) for text in texts]
    prompt, book = load_prompt(Task.EMOTION, Role.CLIENT), load_codebook()
    return [
        build_messages(prompt, book, spoken[max(0, place - 3) : place], turn, shown, None, mark)
        for place, turn in enumerate(spoken)
    ]


def weigh(model: WeighingModel, messages: Sequence[Message], labels: Sequence[str]) -> str:
    """The best label, from one reading of the prompt."""
    found = model.likelihoods(messages, labels, prefix=PREFIX)
    return labels[max(range(len(labels)), key=lambda place: found[place].mean)]


def weigh_alone(model: WeighingModel, messages: Sequence[Message], labels: Sequence[str]) -> str:
    """The best label, each label with its prompt in one plain pass."""
    network = model.network
    prompt = network.inputs(messages)["input_ids"]
    rows = [network.tokenizer(f'{PREFIX}{label}"', add_special_tokens=False)["input_ids"] for label in labels]
    shared = next(place for place in range(99) if len({row[place] for row in rows}) > 1)
    means = []
    for row in rows:
        whole = torch.cat([prompt, torch.tensor([row])], 1)
        with torch.inference_mode():
            logits = network.model(input_ids=whole, use_cache=False).logits[0].log_softmax(-1)
        first = prompt.shape[1] + shared
        places = torch.arange(first, whole.shape[1])
        means.append(float(logits[places - 1, whole[0, places]].mean()))
    return labels[max(range(len(labels)), key=means.__getitem__)]


def write(model: WeighingModel, messages: Sequence[Message]) -> None:
    """A JSON object's worth of tokens."""
    network = model.network
    inputs = network.inputs(messages)
    with torch.inference_mode():
        network.model.generate(
            **inputs,
            attention_mask=torch.ones_like(inputs["input_ids"]),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=network.end,
        )


def seconds(run: Callable[[Sequence[Message]], object], asked: Sequence[Sequence[Message]]) -> float:
    """Seconds a turn."""
    start_s = time.perf_counter()
    for messages in asked:
        run(messages)
    return (time.perf_counter() - start_s) / len(asked)


def main() -> None:
    """Measure, compare, and finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="6 turns instead of 24")
    turns = 6 if parser.parse_args().quick else 24
    torch.set_num_threads(1)
    labels = [*load_codebook().names(Task.EMOTION), *load_codebook().names(Task.STRATEGY)]
    asked = questions(turns)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        model = open_causal(folder, ModelOptions(device="cpu"))
        write(model, asked[0])
        weigh(model, asked[0], labels)
        # One of each in turn, so that a busy moment of the machine meets both.
        halves = [
            (seconds(lambda one: weigh(model, one, labels), part), seconds(lambda one: write(model, one), part))
            for part in (asked[place : place + 3] for place in range(0, turns, 3))
        ]
        weighed, written = (sum(pair[side] for pair in halves) / len(halves) for side in (0, 1))
        same = sum(weigh(model, one, labels) == weigh_alone(model, one, labels) for one in asked)
        tokens = int(model.network.inputs(asked[-1])["input_ids"].shape[1])
    print(f"weighed {weighed * 1000:.1f} ms a turn, written {written * 1000:.1f} ms a turn")
    finish(
        "labelling",
        {
            "n": turns,
            "labels": len(labels),
            "prompt_tokens": tokens,
            "written_tokens": NEW_TOKENS,
            "weighed_ms": round(weighed * 1000, 1),
            "written_ms": round(written * 1000, 1),
            "ratio": round(written / weighed, 2),
            "same_as_alone": same,
        },
        "weighing 17 labels at least 3 times as fast as writing JSON; the same best label as scoring each label alone",
        holds=written >= 3 * weighed and same == turns,
    )


if __name__ == "__main__":
    main()

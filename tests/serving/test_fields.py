"""Every field of OpenAI's request does what it says there, or is refused by name; a real model answers."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import openai
import pytest

from ai_therapist.models.local import open_tuned
from ai_therapist.models.protocol import Sampling
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.refusal import Refused
from ai_therapist.serving.request import read_request
from tests.finetuning.builders import save_untrained
from tests.serving.servers import CALM, RISK, Running, Slow, says, serve, user

MESSAGES: Any = [user(CALM)]
QUIET: Any = {"ai_therapist": {"notices": "field"}}
HARM = "You should kill yourself tonight."


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    model = open_tuned(save_untrained(tmp_path_factory.mktemp("tuned")))
    with serve(model, model) as server:
        yield server


@pytest.fixture(scope="module")
def scripted() -> Iterator[Running]:
    with serve(says("How was it? Tell me more. I listen.")) as server:
        yield server


def only(text: str) -> Any:
    return [user(text)]


def asked(running: Running, **fields: Any) -> Any:
    return running.client().chat.completions.create(model="any", messages=MESSAGES, extra_body=QUIET, **fields)


def words(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def pieces(chunks: Sequence[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def ending(answer: Any) -> str:
    return str(answer.choices[0].finish_reason)


def test_a_real_model_draws_the_same_words_for_a_seed_and_others_for_another(tuned: Running) -> None:
    first = asked(tuned, temperature=1.5, top_p=0.95, seed=11, max_tokens=12)
    again = asked(tuned, temperature=1.5, top_p=0.95, seed=11, max_tokens=12)
    assert words(first) == words(again)
    assert first.system_fingerprint == again.system_fingerprint
    assert len({words(asked(tuned, temperature=1.5, seed=seed, max_tokens=12)) for seed in range(4)}) > 1
    assert words(asked(tuned, max_tokens=12)) == words(asked(tuned, temperature=0, seed=3, max_tokens=12))
    assert len({words(asked(tuned, top_p=0.99, max_tokens=12)) for _ in range(4)}) > 1, "top_p asks for a draw"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_real_model_stops_at_the_limit_of_tokens_and_counts_them(tuned: Running, name: str) -> None:
    answer = asked(tuned, **{name: 3})
    assert ending(answer) == "length"
    usage = answer.usage
    assert (usage.completion_tokens, usage.total_tokens) == (3, usage.prompt_tokens + 3)
    longer = tuned.client().chat.completions.create(model="any", messages=only(CALM * 3), max_tokens=1)
    assert longer.usage is not None and longer.usage.prompt_tokens > usage.prompt_tokens > len(CALM.split())


def test_a_real_model_ends_before_a_stop_that_spans_tokens(tuned: Running) -> None:
    whole = words(asked(tuned, temperature=1.2, seed=5, max_tokens=24))
    stop = whole[len(whole) // 3 : len(whole) // 3 + 5]
    answer = asked(tuned, temperature=1.2, seed=5, max_tokens=24, stop=stop)
    assert stop in whole and stop not in words(answer)
    assert words(answer) == whole.partition(stop)[0].strip()
    assert ending(answer) == "stop"
    assert answer.usage.completion_tokens < 24


def test_a_stream_tells_the_tokens_in_a_last_chunk_where_it_is_asked_to(tuned: Running) -> None:
    fields: Any = {"max_tokens": 4, "stream": True}
    *chunks, last = asked(tuned, **fields, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage.completion_tokens == 4
    assert last.usage.total_tokens == last.usage.prompt_tokens + 4
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert chunks[-1].choices[0].finish_reason == "length"
    plain = list(asked(tuned, **fields))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("Tell", "How was it?"),
        (["more. I", "never"], "How was it? Tell me"),
        ("it? Tell me", "How was"),
        ("x", "How was it? Tell me more. I listen."),
        (["a", "b", "c", "w"], "Ho"),
        (None, "How was it? Tell me more. I listen."),
        ([], "How was it? Tell me more. I listen."),
    ],
)
def test_stops_end_the_text_across_words_and_sentences(
    scripted: Running, stop: Any, expected: str, stream: bool
) -> None:
    answer = asked(scripted, stop=stop, stream=stream)
    if stream:
        chunks = list(answer)
        assert pieces(chunks) == expected
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        assert (words(answer), ending(answer)) == (expected, "stop")


def test_a_stop_at_the_very_beginning_leaves_the_shell_s_own_sentence(scripted: Running) -> None:
    assert "listening" in words(asked(scripted, stop="How"))


@pytest.mark.parametrize("stream", [False, True])
def test_no_stop_leads_text_past_the_gate(stream: bool) -> None:
    """Cut or drawn, every sentence is judged as it would be shown, and what was withheld is counted."""
    with serve(says(f"I hear you. {HARM} There is more.")) as running:
        for stop in (None, ".", "tonight", "There", "self tonight. There"):
            answer = asked(running, stop=stop, stream=stream, temperature=2, seed=1)
            text = pieces(list(answer)) if stream else words(answer)
            assert "kill yourself" not in text, stop


def test_a_stop_cannot_hide_helplines(scripted: Running) -> None:
    answer = scripted.client().chat.completions.create(model="any", messages=only(RISK), stop=["f", "9", ">", "\n"])
    assert "findahelpline.com" in words(answer)


def test_a_turn_that_asks_no_model_counts_nothing(scripted: Running) -> None:
    answer = scripted.client().chat.completions.create(model="any", messages=only("/help"))
    assert answer.usage is not None and answer.usage.total_tokens == 0


def test_a_model_that_counts_nothing_tells_null_and_one_that_draws_nothing_says_so() -> None:
    with serve(Slow(0.0, 3)) as running:
        assert asked(running).usage is None
        assert words(asked(running, temperature=0, seed=4)) == "on on on"
        with pytest.raises(openai.BadRequestError, match="always takes the likeliest words") as refused:
            asked(running, temperature=0.7)
        assert refused.value.param == "temperature"


def test_what_only_tells_who_asks_is_taken(scripted: Running) -> None:
    answer = asked(
        scripted, user="ann", metadata={"study": "7"}, safety_identifier="a", prompt_cache_key="b", service_tier="auto"
    )
    assert ending(answer) == "stop"


def test_values_that_change_nothing_are_taken(scripted: Running) -> None:
    body = {
        "messages": [
            user(CALM),
            {"role": "assistant", "content": "Yes?", "refusal": None, "annotations": []},
            *MESSAGES,
        ],
        **dict.fromkeys(("tools", "response_format", "logit_bias", "stream_options", "stop", "seed", "n"), None),
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logprobs": False,
        "tool_choice": "none",
        "modalities": ["text"],
        "store": False,
    }
    assert httpx.post(f"{scripted.url}/v1/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"ai_therapist": None},
        {"ai_therapist": {"notices": None, "conversation": None}},
        {"stream": True, "stream_options": {"include_usage": None, "include_obfuscation": None}},
    ],
)
def test_null_is_the_same_as_leaving_it_out(fields: dict[str, Any]) -> None:
    asked = read_request(json.dumps({"messages": MESSAGES, **fields}).encode(), ServingConfig())
    left_out = read_request(json.dumps({"messages": MESSAGES}).encode(), ServingConfig())
    assert asked.ai_therapist == left_out.ai_therapist
    assert asked.wants_usage is left_out.wants_usage is False


def texts(count: int) -> list[Any]:
    return [{"type": "text", "text": "x"}] * count


BIG: dict[str, tuple[dict[str, Any], str, str]] = {
    "messages": ({"messages": [user("x")] * 60_000}, "too_many_messages", "more than 512 messages"),
    "messages that are none": (
        {"messages": [7] * 600_000},
        "invalid_value",
        r"messages\[0\]: input should be an object",
    ),
    "messages and a few more": ({"messages": [user("x")] * 513}, "too_many_messages", "more than 512 messages"),
    "parts": ({"messages": [{"role": "user", "content": texts(20_000)}]}, "too_many_parts", "more than 512 parts"),
    "parts of many": (
        {"messages": [{"role": "user", "content": texts(200)}] * 400},
        "too_many_parts",
        "more than 8192",
    ),
    "parts that are none": (
        {"messages": [{"role": "user", "content": [7] * 600_000}]},
        "invalid_value",
        r"messages\[0\]\.content",
    ),
    "unknown fields": (
        {"ai_therapist": dict.fromkeys(map(str, range(20_000)), 7)},
        "invalid_request",
        "more than 1000 faults",
    ),
    "stops that are none": ({"stop": [7] * 600_000}, "invalid_value", r"stop\[0\]"),
}


@pytest.mark.parametrize("name", BIG)
def test_what_is_too_much_is_refused_before_all_of_it_is_built(name: str) -> None:
    fields, code, message = BIG[name]
    body = json.dumps({"messages": MESSAGES, **fields}).encode()
    assert len(body) > 10_000
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=message) as refused:
            read_request(body, ServingConfig())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.code == code
    assert most < 26 << 20


TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "n": ({"n": 2}, "n", "invalid_value"),
    "n of 0": ({"n": 0}, "n", "invalid_value"),
    "logprobs": ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    "top_logprobs": ({"top_logprobs": 2}, "top_logprobs", "unsupported_parameter"),
    "tools": ({"tools": [TOOL]}, "tools", "unsupported_parameter"),
    "tool_choice": ({"tool_choice": "auto"}, "tool_choice", "unsupported_parameter"),
    "json": ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    "logit_bias": ({"logit_bias": {"1": 2}}, "logit_bias", "unsupported_parameter"),
    "penalty": ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_parameter"),
    "store": ({"store": True}, "store", "unsupported_parameter"),
    "effort": ({"reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter"),
    "unknown": ({"extra_body": {"top_k": 3}}, "top_k", "unknown_parameter"),
    "five stops": ({"stop": list("abcde")}, "stop", "invalid_value"),
    "an empty stop": ({"stop": [""]}, "stop[0]", "invalid_value"),
    "a stop of another kind": ({"stop": 7}, "stop", "invalid_value"),
    "too hot": ({"temperature": 2.5}, "temperature", "invalid_value"),
    "cold": ({"temperature": -1}, "temperature", "invalid_value"),
    "warm": ({"temperature": "warm"}, "temperature", "invalid_value"),
    "top_p": ({"top_p": 1.5}, "top_p", "invalid_value"),
    "a broken seed": ({"seed": 0.5}, "seed", "invalid_value"),
    "a long seed": ({"seed": 1 << 70}, "seed", "invalid_value"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    "two limits": ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "contradiction"),
    "options of no stream": ({"stream_options": {"include_usage": True}}, "stream_options", "contradiction"),
    "an unknown option": (
        {"stream": True, "stream_options": {"tempo": 1}},
        "stream_options.tempo",
        "unknown_parameter",
    ),
    "a tool's answer": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "invalid_value"),
    "a call": (
        {"messages": [*MESSAGES, {"role": "assistant", "content": "x", "tool_calls": [TOOL]}, *MESSAGES]},
        "messages[1].tool_calls",
        "unknown_parameter",
    ),
    "a part of another kind": ({"messages": [*MESSAGES, 7]}, "messages[1]", "invalid_value"),
    "an extra of another kind": ({"extra_body": {"ai_therapist": 7}}, "ai_therapist", "invalid_value"),
    "a part": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]},
        "messages[0].content[0].text",
        "invalid_value",
    ),
    "a detail": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "low"}}]}
            ]
        },
        "messages[0].content[0].image_url.detail",
        "invalid_value",
    ),
    "much metadata": ({"metadata": {str(number): "x" for number in range(17)}}, "metadata", "invalid_value"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_by_name_in_openai_s_form(scripted: Running, name: str) -> None:
    fields, param, code = REFUSED[name]
    body = {"model": "any", "messages": MESSAGES, **fields}
    with pytest.raises(openai.BadRequestError) as refused:
        scripted.client().chat.completions.create(**body)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"
    assert param.partition("[")[0] in refused.value.message


def test_a_field_that_is_no_name_does_not_come_back(scripted: Running) -> None:
    answer = httpx.post(
        f"{scripted.url}/v1/chat/completions", json={"messages": MESSAGES, "I feel so ashamed of it": 1}
    )
    assert answer.status_code == 400
    assert "ashamed" not in answer.text


def test_the_likeliest_words_are_what_no_heat_means() -> None:
    assert Sampling(0.0, 0.3, 9).is_greedy and not Sampling(0.3).is_greedy

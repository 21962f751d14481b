"""What a kept conversation saves, what server and shell cost, and a load of good and bad clients.

python benchmarks/serving.py [--quick]

First token at turn 20, words only and with a clip in every turn: the session keeps keys, values and features; the
stateless one reads the whole prompt anew for each message, once as ours looks (the clip of the last turn only), once
as usual multimodal servers are fed (the clips of all turns). Random weights, one thread, the same process, in turns;
least processor time of the rounds, which other programs cannot spoil. What the chat reads between two turns, while the
client thinks, is not counted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from reporting import finish

from ai_therapist.safety.crisis import assess
from ai_therapist.safety.crisis_classifier import load_classifier
from ai_therapist.safety.crisis_encoder import load_encoder

SAMPLES = Path(__file__).parents[1] / "samples"
RATIO, OVERHEAD_MS, CLIENTS, GROWTH_MB = 10.0, 5.0, 64, 16.0
TURNS = 20
LANGUAGE_MODEL = {
    "model_type": "qwen2",
    "hidden_size": 768,
    "intermediate_size": 2_048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "max_position_embeddings": 8_192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "bos_token_id": None,
    "eos_token_id": None,
}
"""Large enough that reading costs more than calling; a model of seven billion has a hundred times the weights."""
REPLY = "How was it? Tell me more. I would like to understand that better."


def lines() -> list[tuple[str, str]]:
    """What clients say and what therapists answer, from the fictional samples."""
    said: list[tuple[str, str]] = []
    for path in sorted((SAMPLES / "dialogues").glob("*.json")):
        pending = ""
        for line in json.loads(path.read_text("utf-8"))["lines"]:
            if line["role"] == "CLIENT":
                pending = line["text"]
            elif pending:
                said.append((pending, line["text"]))
                pending = ""
    return said


def first_token_ms(quick: bool) -> dict[str, object]:
    """Processor milliseconds to the first token of the answer at the last turn, by way of answering."""
    import torch

    from ai_therapist.dataset.render import instructions
    from ai_therapist.finetuning.tokenizer import SPECIAL_TOKENS, train_tokenizer
    from ai_therapist.models.local import TunedModel
    from ai_therapist.records.message import Message, TextPart, VideoPart
    from ai_therapist.testing import RecordingSpec, make_recording
    from ai_therapist.videollama2 import VideoLLaMA2Processor, VideoLLaMA2Qwen2ForConditionalGeneration
    from ai_therapist.videollama2.tiny import tiny_config

    torch.set_num_threads(1)
    torch.manual_seed(0)
    talk = lines()[:TURNS]
    tokens = train_tokenizer([instructions(), *(text for pair in talk for text in pair)], 1_024)
    config = tiny_config(
        1_024,
        text_config={**LANGUAGE_MODEL, "vocab_size": 1_024},
        tokens_per_clip=8,
        audio_tokens_per_clip=8,
        **{f"{kind}_token_id": SPECIAL_TOKENS.index(f"<{kind}>") for kind in ("image", "video", "audio")},
    )
    network = VideoLLaMA2Qwen2ForConditionalGeneration(config)
    processor = VideoLLaMA2Processor.from_config(config, tokens)
    figures: dict[str, object] = {"weights_m": round(sum(each.numel() for each in network.parameters()) / 1e6, 1)}

    def kept() -> TunedModel:
        return TunedModel("bench", network, processor)

    def prompt(turn: int, clips: Sequence[Path], *, everywhere: bool) -> list[Message]:
        messages = [Message.of_text("system", instructions())]
        for number, (client, therapist) in enumerate(talk[:turn]):
            shown = clips and (everywhere or number == turn - 1)
            seen = (VideoPart(path=str(clips[number])),) if shown else ()
            messages += [Message(role="user", parts=(*seen, TextPart(text=client)))]
            messages += [Message.of_text("assistant", therapist)]
        return messages[:-1]

    def first(model: TunedModel, messages: list[Message]) -> float:
        start = time.process_time()
        list(model.generate(messages, max_tokens=1))
        return (time.process_time() - start) * 1000

    def session(clips: Sequence[Path]) -> Callable[[], float]:
        model = kept()
        for turn in range(1, TURNS):
            first(model, prompt(turn, clips, everywhere=False))
            # As the chat does when a turn is over.
            model.read_ahead(prompt(turn + 1, (), everywhere=False)[:-1])

        def last_turn() -> float:
            # The turn is new each time: only what was read before it is kept.
            model._last = None
            assert model._towers is not None
            model._towers._seen.clear()
            return first(model, prompt(TURNS, clips, everywhere=False))

        return last_turn

    def stateless(clips: Sequence[Path], *, everywhere: bool = False) -> Callable[[], float]:
        return lambda: first(kept(), prompt(TURNS, clips, everywhere=everywhere))

    with tempfile.TemporaryDirectory() as folder:
        films = [
            make_recording(Path(folder) / f"{number}.mp4", RecordingSpec(tone_hz=200.0 + number, size_px=(320, 240)))
            for number in range(TURNS)
        ]
        rounds = 2 if quick else 3
        ways = {
            "text_session": session(()),
            "text_stateless": stateless(()),
            "clip_session": session(films),
            "clip_stateless_last_clip": stateless(films),
            "clip_stateless_all_clips": stateless(films, everywhere=True),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(way())
    least = {name: min(times) for name, times in found.items()}
    figures |= {f"{name}_ms": round(value, 1) for name, value in least.items()}
    figures["text_ratio"] = round(least["text_stateless"] / least["text_session"], 1)
    figures["clip_ratio"] = round(least["clip_stateless_last_clip"] / least["clip_session"], 1)
    figures["all_clips_ratio"] = round(least["clip_stateless_all_clips"] / least["clip_session"], 1)
    figures["prompt_tokens"] = len(kept()._prompt_ids(prompt(TURNS, (), everywhere=False), []))
    figures["rounds"] = rounds
    return figures


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """`ai-therapist serve` with a scripted model, as a process of its own: its port and process id."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        # Each reply is another, as a model's would be: the server remembers what it has judged.
        replies = [f"{REPLY} ({number})" for number in range(20_000)]
        script.write_text(json.dumps({"replies": replies, "repeat": True}))
        command = [sys.executable, "-m", "ai_therapist", "serve", "--port", "0", "--model", f"scripted:{script}"]
        command += ["--set", "serving.waiting=512", "--set", "serving.receive_s=5"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
            try:
                line = process.stdout.readline() if process.stdout is not None else ""
                yield int(line.split("/v1")[0].rpartition(":")[2]), process.pid
            finally:
                process.terminate()
                process.wait(30)


def body(text: str) -> bytes:
    """A request that says one thing."""
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


BODY = body("I walked to work today.")
HEADERS = {"Content-Type": "application/json"}


def new_messages(count: int) -> list[str]:
    """Messages that differ and that the crisis gate takes for calm: what clients of the samples say, numbered."""
    said = [client for client, _ in lines() if not assess(client).at_risk]
    return [f"{said[number % len(said)]} {number}" for number in range(count)]


def asked_share(messages: Sequence[str]) -> float | None:
    """Share of the messages that the gate's sentence encoder is asked of; the words alone settle the others."""
    encoder, classifier = load_encoder(), load_classifier()
    if encoder is None:
        return None
    return statistics.mean(classifier.read(text).log_odds >= encoder.clearly_calm for text in messages)


def ask(connection: http.client.HTTPConnection, request: bytes = BODY) -> bool:
    """One message; whether the whole reply came back."""
    connection.request("POST", "/v1/chat/completions", request, HEADERS)
    answer = connection.getresponse()
    return answer.status == 200 and REPLY.encode() in answer.read()


def overhead(port: int, requests: int) -> dict[str, object]:
    """Milliseconds that a request takes beyond what the bare model takes, seen by a client on the same machine.

    The server remembers how it has judged a message, so each request says something new, and so does each reply; beside
    it stands a message that it knows.
    """
    from ai_therapist.models.scripted import ScriptedGenerator
    from ai_therapist.records.message import Message

    bare = ScriptedGenerator([REPLY], repeat=True)
    asked = [Message.of_text("user", "I walked to work today.")]
    alone, served, known = list[float](), list[float](), list[float]()
    messages = new_messages(requests)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(20):
        ask(connection)
    for text in messages:
        start = time.perf_counter()
        list(bare.generate(asked, max_tokens=96))
        alone.append((time.perf_counter() - start) * 1000)
        for request, times in ((body(text), served), (BODY, known)):
            start = time.perf_counter()
            ask(connection, request)
            times.append((time.perf_counter() - start) * 1000)
    connection.close()
    bare_ms = statistics.median(alone)
    share = asked_share(messages)
    return {
        "bare_ms": round(bare_ms, 3),
        "overhead_ms": round(statistics.median(served) - bare_ms, 2),
        "overhead_mean_ms": round(statistics.mean(served) - bare_ms, 2),
        "overhead_p90_ms": round(statistics.quantiles(served, n=10)[-1] - bare_ms, 2),
        "overhead_known_message_ms": round(statistics.median(known) - bare_ms, 2),
        "encoder_asked_share": None if share is None else round(share, 2),
        "overhead_requests": requests,
    }


def resident_mb(pid: int) -> float:
    """Memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def bad_client(port: int, kind: int) -> None:
    """One hostile or clumsy client; what it gets is not looked at here (see tests/serving/test_hostile.py)."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    sent = (
        head + b"Content-Length: 99999999999\r\n\r\n",
        head + b"Content-Length: 20\r\n\r\n" + b"[" * 20,
        head + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000,
        head.replace(b"localhost", b"evil.example") + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        head + b"X: " + b"a" * 100_000,
        head[:30],
        b"",
    )[kind % 9]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(sent)
            if kind % 9 >= 7:
                time.sleep(0.2)
            elif kind % 2:
                client.recv(100)
    except OSError:
        return


def load(port: int, pid: int, each: int) -> dict[str, object]:
    """64 clients at once, first by themselves, then among hostile ones."""

    def talk(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        good = sum(ask(connection) for _ in range(each))
        connection.close()
        return good

    stop, probes = threading.Event(), [0]

    def pester() -> None:
        while not stop.is_set():
            bad_client(port, probes[0])
            probes[0] += 1

    with ThreadPoolExecutor(CLIENTS) as clients:
        sum(clients.map(talk, range(CLIENTS)))
        before_mb = resident_mb(pid)
        start = time.perf_counter()
        good = sum(clients.map(talk, range(CLIENTS)))
        took_s = time.perf_counter() - start
        pests = [threading.Thread(target=pester) for _ in range(4)]
        for pest in pests:
            pest.start()
        among = sum(clients.map(talk, range(CLIENTS)))
        stop.set()
        for pest in pests:
            pest.join()
        sum(clients.map(talk, range(CLIENTS)))
    return {
        "clients": CLIENTS,
        "lost": CLIENTS * each - good,
        "requests_per_s": round(CLIENTS * each / took_s),
        "hostile": probes[0],
        "lost_among_hostile": CLIENTS * each - among,
        "memory_mb": round(resident_mb(pid), 1),
        "memory_growth_mb": round(resident_mb(pid) - before_mb, 1),
        "requests": 4 * CLIENTS * each,
    }


def main() -> None:
    """Measure all and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and requests")
    quick = parser.parse_args().quick
    # First, while this process is small: what a client takes for itself counts as the server's.
    with server() as (port, pid):
        figures = overhead(port, 50 if quick else 300)
        figures |= load(port, pid, 2 if quick else 10)
    print(figures, flush=True)
    figures |= first_token_ms(quick)
    finish(
        "serving",
        figures,
        f"first token at turn {TURNS}, words only, at least {RATIO:g}x sooner than stateless; server and shell at most "
        f"{OVERHEAD_MS:g} ms for the median new message; {CLIENTS} clients at once, none lost, "
        f"also among hostile ones; memory grows by at most {GROWTH_MB:g} MB",
        holds=float(str(figures["text_ratio"])) >= RATIO
        and float(str(figures["overhead_ms"])) <= OVERHEAD_MS
        and figures["lost"] == 0
        and figures["lost_among_hostile"] == 0
        and float(str(figures["memory_growth_mb"])) <= GROWTH_MB,
    )


if __name__ == "__main__":
    main()

"""How a server bears its clients: one, then many at once, and its memory over many requests.

    python benchmarks/serve_load.py RUN [--clients 64] [--seconds 60] [--requests 10000] [--json F]

A server of the run is started in a process of its own. The engine alone, in this process, one
client and many are timed in turn, so that only their ratios mean something. The memory is what the
server's process has of its own, without mapped files, read while short requests come, and compared
with what it was after the first tenth of them: by then the cache of beginnings (64 MB) is full.
"""

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import boggers
from boggers.infer.engine import Engine

PROMPTS = ("In the beginning", "And it came to pass", "The people of", "Now therefore", "He said")
PIECES = 64
"""Tokens of every streamed text."""


@dataclass
class Load:
    """What clients saw.

    Attributes:
        tokens: written for all of them. seconds: how long it took.
        first: seconds to the first piece of each text.
        errors: answers that were no whole stream.
    """

    tokens: int = 0
    seconds: float = 0.0
    first: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds

    def percentile(self, share: float) -> float:
        return sorted(self.first)[min(len(self.first) - 1, int(share * len(self.first)))]


async def ask(port: int, body: dict[str, Any], load: Load) -> None:
    """One streamed request over a connection of its own; as little work as a client can do."""
    began = time.perf_counter()
    content = json.dumps(body).encode()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        )
        writer.write(content)
        seen = b""
        while piece := await reader.read(65_536):
            if b"data: " not in seen and b"data: " in seen + piece:
                load.first.append(time.perf_counter() - began)
            seen += piece
        writer.close()
    except OSError as error:
        load.errors.append(str(error))
        return
    if not seen.startswith(b"HTTP/1.1 200") or b"data: [DONE]" not in seen:
        load.errors.append(seen[:200].decode(errors="replace"))
        return
    usage = seen.rindex(b'"completion_tokens": ') + len(b'"completion_tokens": ')
    load.tokens += int(seen[usage : usage + 8].split(b",")[0])


async def clients(port: int, count: int, seconds: float) -> Load:
    """So many clients ask one streamed text after the other, for so long."""
    load, began = Load(), time.perf_counter()

    async def client(number: int) -> None:
        asked = 0
        while time.perf_counter() - began < seconds:
            body = {
                "prompt": PROMPTS[(number + asked) % len(PROMPTS)],
                "max_tokens": PIECES,
                "seed": 1000 * number + asked,
                "user": str(number),
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            await ask(port, body, load)
            asked += 1

    await asyncio.gather(*(client(number) for number in range(count)))
    load.seconds = time.perf_counter() - began
    return load


async def many(port: int, pid: int, requests: int, at_once: int = 16) -> tuple[list[int], Load]:
    """So many short requests, all of them different; the server's memory after each tenth."""
    load, memory = Load(), []
    left = iter(range(requests))
    tenth = max(1, requests // 10)

    async def client() -> None:
        for number in left:
            body = {
                "prompt": f"{PROMPTS[number % len(PROMPTS)]} {number}",
                "max_tokens": 2,
                "seed": number,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            await ask(port, body, load)
            if (number + 1) % tenth == 0:
                memory.append(resident(pid))

    await asyncio.gather(*(client() for _ in range(at_once)))
    return memory, load


def resident(pid: int) -> int:
    """Memory of a process in bytes, without mapped files, which the system drops and reads anew."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/status does not tell the memory.")


def alone(engine: Engine, seconds: float) -> float:
    """Tokens a second of the engine in this process, without a server."""
    began, count, spent = time.perf_counter(), 0, 0.0
    while spent < seconds:
        engine.generate(PROMPTS[count % len(PROMPTS)], max_tokens=PIECES, seed=count)
        count += 1
        spent = time.perf_counter() - began
    return PIECES * count / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--requests", type=int, default=10_000, help="0 leaves the memory out")
    parser.add_argument("--threads", type=int, default=1, help="of the server's numbers")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    engine = boggers.load(options.run)
    server = subprocess.Popen(
        [sys.executable, "-m", "boggers", "serve", str(options.run), "--port", "0", "--threads",
         str(options.threads), "--device", "cpu", "--log-level", "warning"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().partition(" at http://127.0.0.1:")[2].split()[0])
        found = measure(options, engine, port, server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    for name, value in found.items():
        print(f"{name:<28} {value:.4g}" if isinstance(value, float) else f"{name:<28} {value}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def measure(
    options: argparse.Namespace, engine: Engine, port: int, pid: int
) -> dict[str, float | int | list[float] | list[str]]:
    """All figures, by name."""
    short = min(10.0, options.seconds / 3)
    asyncio.run(clients(port, 2, 1.0))  # warms up
    # In turn, twice: before and after the crowd.
    bare = [alone(engine, short)]
    one = [asyncio.run(clients(port, 1, short))]
    crowd = asyncio.run(clients(port, options.clients, options.seconds))
    one.append(asyncio.run(clients(port, 1, short)))
    bare.append(alone(engine, short))
    single = statistics.mean(load.speed for load in one)
    found: dict[str, Any] = {
        "engine alone, tokens/s": statistics.mean(bare),
        "one client, tokens/s": single,
        "one client, first token, s": statistics.median(one[0].first + one[1].first),
        "one client / engine": single / statistics.mean(bare),
        "clients": options.clients,
        "clients, tokens/s": crowd.speed,
        "clients / one client": crowd.speed / single,
        "clients / engine": crowd.speed / statistics.mean(bare),
        "first token, median, s": crowd.percentile(0.5),
        "first token, p99, s": crowd.percentile(0.99),
        "texts": len(crowd.first),
        "errors": len(crowd.errors) + sum(len(load.errors) for load in one),
    }
    if options.requests:
        memory, load = asyncio.run(many(port, pid, options.requests))
        found["requests"] = options.requests
        found["request errors"] = len(load.errors)
        found["memory, MB"] = [round(size / 1e6, 1) for size in memory]
        found["memory, last / first tenth"] = memory[-1] / memory[0]
        found["memory, most / first tenth"] = max(memory) / memory[0]
    return found


if __name__ == "__main__":
    main()

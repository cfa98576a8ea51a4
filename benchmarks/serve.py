"""The server under load: 32 streams at once, the first token, the overhead of HTTP, fuzzed requests, memory.

    python benchmarks/serve.py --part ratio first overhead           # minutes
    python benchmarks/serve.py --part fuzz --requests 20000
    python benchmarks/serve.py --part soak --minutes 10

The server is a process of its own, started from the run in `--run` (default runs/demo/run). Its answers are forced to
their full length, so that every request costs as many tokens. Parts that were measured before keep their figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from common import RESULTS, interleaved, print_table, shown_path, write_result
from serve_fuzz import Fuzz

TOKENS, CLIENTS = 64, 32
PARTS = ("ratio", "first", "overhead", "fuzz", "soak")


def serve(run: str) -> None:
    """Be the server: answers never end before their limit; the address is printed once it listens."""
    import socket

    from vectalk.serving import Limits, Service, create_app
    from vectalk.serving.server import make_server
    from vectalk.talk import ELM

    elm = ELM.from_pretrained(run, device="cpu")
    elm.engine.shared_loop.stops = frozenset()  # type: ignore[attr-defined]
    service = Service(elm, "bench", Limits(seconds=600))
    sock = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = make_server(
        create_app(service), service, listening=lambda port: print(address, flush=True), drain_seconds=5
    )
    server.run(sockets=[sock])


@contextmanager
def server(run: str) -> Iterator[str]:
    """Start the server; yields its address."""
    process = subprocess.Popen([sys.executable, __file__, "--be-server", run], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            sys.exit(f"the server of {run} did not start")
        yield address
    finally:
        process.terminate()
        process.wait(60)


class Load:
    """Requests about entities of the first space that a task of one slot is about.

    Args:
        url: address of the server.
        run: folder of the run.
    """

    def __init__(self, url: str, run: str) -> None:
        from vectalk.talk import ELM

        self.url = url
        self.elm = ELM.from_pretrained(run, device="cpu")
        task = next(task for task in self.elm.suite.tasks if len(task.slots) == 1)
        ((self.slot, self.space),) = task.slots.items()
        self.question = task.prompts[0]
        self.ids = self.elm.spaces[self.space].column("id").to_pylist()

    def body(self, number: int, **more: Any) -> dict[str, Any]:
        binding = {"space": self.space, "expression": json.dumps(str(self.ids[number % len(self.ids)]))}
        message = {"role": "user", "content": self.question}
        return {
            "model": "bench", "messages": [message], "bindings": {self.slot: binding}, "max_tokens": TOKENS, **more,
        }  # fmt: skip

    async def stream(self, client: httpx.AsyncClient, number: int) -> float:
        """Read one stream to its end; returns the seconds to the first text."""
        start, first = time.perf_counter(), 0.0
        async with client.stream("POST", "/v1/chat/completions", json=self.body(number, stream=True)) as reply:
            assert reply.status_code == 200, await reply.aread()
            async for line in reply.aiter_lines():
                if not first and '"content":"' in line and '"content":""' not in line:
                    first = time.perf_counter() - start
        return first

    def run(self, numbers: range, clients: int) -> tuple[float, list[float]]:
        """Stream answers with so many clients; returns the seconds of all, and those to each first text."""

        async def everything() -> list[float]:
            limits = httpx.Limits(max_connections=clients)
            async with httpx.AsyncClient(base_url=self.url, limits=limits, timeout=600, trust_env=False) as client:
                gate = asyncio.Semaphore(clients)

                async def one(number: int) -> float:
                    async with gate:
                        return await self.stream(client, number)

                return await asyncio.gather(*(one(number) for number in numbers))

        start = time.perf_counter()
        firsts = asyncio.run(everything())
        return time.perf_counter() - start, firsts


def ratio(load: Load, pairs: int) -> dict[str, float]:
    """Measure 32 streams at once against the same ones one after the other."""
    together, serial = interleaved(
        lambda: load.run(range(CLIENTS), CLIENTS)[0], lambda: load.run(range(CLIENTS), 1)[0], pairs
    )
    return {
        "ratio_serve_32": float(np.median(np.array(serial) / np.array(together))),
        "serve_tokens_per_second_32": CLIENTS * TOKENS / float(np.median(together)),
        "serve_tokens_per_second_1": CLIENTS * TOKENS / float(np.median(serial)),
    }


def first(load: Load) -> dict[str, float]:
    """Measure the time to the first text with 1, 8 and 32 clients that keep asking."""
    figures = {}
    for clients in (1, 8, CLIENTS):
        _, firsts = load.run(range(max(40, 4 * clients)), clients)
        for share in (50, 95):
            figures[f"serve_first_ms_{clients}_p{share}"] = 1000 * float(np.percentile(firsts, share))
    return figures


def overhead(load: Load, pairs: int) -> dict[str, float]:
    """Measure a request over `elm.ask` of the same question in this process."""
    load.elm.engine.shared_loop.stops = frozenset()  # type: ignore[attr-defined]
    client = httpx.Client(base_url=load.url, timeout=600, trust_env=False)

    def over_http() -> float:
        start = time.perf_counter()
        assert client.post("/v1/chat/completions", json=load.body(0)).status_code == 200
        return time.perf_counter() - start

    def in_process() -> float:
        start = time.perf_counter()
        load.elm.ask(load.question, {load.slot: str(load.ids[0])}, max_new_tokens=TOKENS)
        return time.perf_counter() - start

    over_http(), in_process()
    http, ask = interleaved(over_http, in_process, 5 * pairs)
    return {"serve_over_ask": float(np.median(http) / np.median(ask)), "serve_ask_ms": 1000 * float(np.median(http))}


def fuzz(load: Load, requests: int) -> tuple[dict[str, float], dict[str, int]]:
    """Send invented requests, some of them right; returns the figures and the histogram of statuses."""
    statuses: Counter[str] = Counter()
    answered = 0
    made = Fuzz(load.space, load.slot, load.question, load.ids, load.elm.spaces[load.space].dim)

    async def everything() -> None:
        nonlocal answered
        numbers = iter(range(requests))
        async with httpx.AsyncClient(base_url=load.url, timeout=600, trust_env=False) as client:

            async def worker() -> None:
                nonlocal answered
                for number in numbers:
                    method, path, content, headers = made(number)
                    reply = await client.request(method, path, content=content, headers=headers)
                    statuses[str(reply.status_code)] += 1
                    if reply.status_code >= 500:
                        print(number, path, content[:300], reply.text[:300], file=sys.stderr)
                    answered += reply.status_code == 200 and '"content":"' in reply.text

            await asyncio.gather(*(worker() for _ in range(16)))

    asyncio.run(everything())
    failures = sum(count for status, count in statuses.items() if status >= "500")
    figures = {"fuzz_5xx": failures, "fuzz_requests": requests, "fuzz_answered_share": answered / requests}
    return figures, dict(sorted(statuses.items()))


def soak(load: Load, minutes: float) -> dict[str, float]:
    """Ask with 32 clients for so many minutes; compares the server's memory at the end with that after a fifth."""
    marks: list[tuple[float, float]] = []
    end, number = time.time() + 60 * minutes, 0
    early = time.time() + 60 * minutes / 5
    while time.time() < end:
        load.run(range(number, number + 4 * CLIENTS), CLIENTS)
        number += 4 * CLIENTS
        marks.append((time.time(), _memory(load.url)))
    before = next(memory for moment, memory in marks if moment >= early)
    return {"soak_growth": marks[-1][1] / before, "soak_minutes": minutes, "soak_answers": number}


def _memory(url: str) -> float:
    lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo/run", help="folder of the run")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=["ratio", "first", "overhead"])
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs of a ratio")
    parser.add_argument("--requests", type=int, default=20_000, help="fuzzed requests")
    parser.add_argument("--minutes", type=float, default=10, help="length of the soak")
    parser.add_argument("--no-write", action="store_true", help="print the figures only")
    parser.add_argument("--be-server", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_server:
        serve(options.be_server)
        return
    if not (Path(options.run) / "elm.json").is_file():
        sys.exit(f"skipped: no run at {options.run}; make one with `make demo`, or name another with --run")
    known = json.loads((RESULTS / "serve.json").read_text()) if (RESULTS / "serve.json").is_file() else {}
    figures: dict[str, float] = {}
    statuses: dict[str, int] = known.get("statuses", {})
    with server(options.run) as url:
        load = Load(url, options.run)
        load.run(range(CLIENTS), CLIENTS)
        if "ratio" in options.part:
            figures |= ratio(load, options.pairs)
        if "first" in options.part:
            figures |= first(load)
        if "overhead" in options.part:
            figures |= overhead(load, options.pairs)
        if "fuzz" in options.part:
            fuzzed, statuses = fuzz(load, options.requests)
            figures |= fuzzed
        if "soak" in options.part:
            figures |= soak(load, options.minutes)
    print_table(sorted(figures.items()), ("figure", "value"))
    if statuses:
        print("statuses of fuzzed requests:", statuses)
    if not options.no_write:
        write_result(
            "serve",
            f"python benchmarks/serve.py --part {' '.join(PARTS)} --run {shown_path(options.run)}",
            {**known.get("figures", {}), **figures},
            statuses=statuses,
        )


if __name__ == "__main__":
    main()

"""The server under load: 32 streams at once, the first token, the overhead of HTTP, fuzzed requests, memory.

    python benchmarks/serve.py --part ratio first overhead           # minutes
    python benchmarks/serve.py --part fuzz --requests 20000
    python benchmarks/serve.py --part soak --minutes 10
    python benchmarks/serve.py --part ratio first --run runs/smollm2 --name serve-smollm2

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from common import RESULTS, commit, device, interleaved, print_table, shown_path, write_result
from serve_fuzz import Fuzz

NAME = "serve"
TOKENS, CLIENTS = 64, 32
GIVEN_UP = 10  # of so many requests in the soak, one is given up
PARTS = ("ratio", "first", "overhead", "fuzz", "soak")
Histogram = dict[str, int]
"""Status -> number of requests."""


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

    async def stream(self, client: httpx.AsyncClient, number: int, gives_up: bool = False) -> float:
        """Read one stream to its end, or to its first text; returns the seconds to the first text."""
        start, first = time.perf_counter(), 0.0
        async with client.stream("POST", "/v1/chat/completions", json=self.body(number, stream=True)) as reply:
            assert reply.status_code == 200, await reply.aread()
            async for line in reply.aiter_lines():
                if not first and '"content":"' in line and '"content":""' not in line:
                    first = time.perf_counter() - start
                    if gives_up:
                        break  # leaving the block closes the connection
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


def fuzz(load: Load, requests: int) -> tuple[dict[str, float], Histogram]:
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
    """Ask with 32 clients for so many minutes; every tenth request is given up after its first text.

    The growth is the server's memory at the end, divided by that after a fifth of the time.
    """
    marks: list[tuple[float, float]] = []
    counts: Counter[str] = Counter()
    end, early = time.time() + 60 * minutes, time.time() + 60 * minutes / 5

    async def everything() -> None:
        numbers = count()
        limits = httpx.Limits(max_connections=CLIENTS + 1)
        async with httpx.AsyncClient(base_url=load.url, limits=limits, timeout=600, trust_env=False) as client:

            async def worker() -> None:
                while time.time() < end:
                    number = next(numbers)
                    gives_up = number % GIVEN_UP == 0
                    await load.stream(client, number, gives_up)
                    counts["gone" if gives_up else "answers"] += 1

            async def watch() -> None:
                while time.time() < end:
                    await asyncio.sleep(min(5, 6 * minutes))
                    marks.append((time.time(), await _figure(client, "process_resident_memory_bytes")))

            await asyncio.gather(watch(), *(worker() for _ in range(CLIENTS)))
            for _ in range(100):
                if not await _figure(client, "vectalk_rows_active"):
                    break
                await asyncio.sleep(0.1)
            counts["rows_left"] = int(await _figure(client, "vectalk_rows_active"))

    asyncio.run(everything())
    before = next(memory for moment, memory in marks if moment >= early)
    return {
        "soak_growth": marks[-1][1] / before,
        "soak_minutes": minutes,
        **{f"soak_{name}": counts[name] for name in ("answers", "gone", "rows_left")},
    }


async def _figure(client: httpx.AsyncClient, name: str) -> float:
    """Return a figure of /metrics."""
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo/run", help="folder of the run")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=["ratio", "first", "overhead"])
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs of a ratio")
    parser.add_argument("--requests", type=int, default=20_000, help="fuzzed requests")
    parser.add_argument("--minutes", type=float, default=10, help="length of the soak")
    parser.add_argument("--name", default=NAME, help="name of the result, for another run than that of the demo")
    parser.add_argument("--no-write", action="store_true", help="print the figures only")
    parser.add_argument("--be-server", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_server:
        serve(options.be_server)
        return
    if not (Path(options.run) / "elm.json").is_file():
        sys.exit(f"skipped: no run at {options.run}; make one with `make demo`, or name another with --run")
    measures: dict[str, Callable[[Load], tuple[dict[str, float], Histogram]]] = {
        "ratio": lambda load: (ratio(load, options.pairs), {}),
        "first": lambda load: (first(load), {}),
        "overhead": lambda load: (overhead(load, options.pairs), {}),
        "fuzz": lambda load: fuzz(load, options.requests),
        "soak": lambda load: (soak(load, options.minutes), {}),
    }
    figures: dict[str, float] = {}
    statuses: Histogram = {}
    with server(options.run) as url:
        load = Load(url, options.run)
        load.run(range(CLIENTS), CLIENTS)
        for part in options.part:
            measured, histogram = measures[part](load)
            figures |= measured
            statuses |= histogram
    print_table(sorted(figures.items()), ("figure", "value"))
    if statuses:
        print_table(list(statuses.items()), ("status of fuzzed requests", "requests"))
    if not options.no_write:
        write(options.name, options.run, options.part, figures, statuses)


def write(name: str, run: str, measured: Sequence[str], figures: dict[str, float], statuses: Histogram) -> None:
    """Write the result; parts that were measured before, here and with this run, keep figures, date and commit."""
    path, run = RESULTS / f"{name}.json", shown_path(run)
    known = json.loads(path.read_text()) if path.is_file() else {}
    if (known.get("run"), known.get("device")) != (run, device()):
        known = {}
    when = f"{datetime.now(UTC).date().isoformat()}, {commit()}"
    parts = {**known.get("parts", {}), **dict.fromkeys(measured, when)}
    more: dict[str, Any] = {"run": run, "parts": parts}
    if len(set(parts.values())) > 1:
        more["note"] = "Measured: " + "; ".join(f"{part} {text}" for part, text in parts.items()) + "."
    rows = [[status, number] for status, number in statuses.items()] or known.get("rows")
    if rows:
        more |= {"columns": ["status of fuzzed requests", "requests"], "rows": rows}
    prefix, option = ("", "") if name == NAME else (name.replace("-", "_") + "_", f" --name {name}")
    write_result(
        name,
        f"python benchmarks/serve.py --part {' '.join(parts)} --run {run}{option}",
        {**known.get("figures", {}), **{prefix + key: value for key, value in figures.items()}},
        **more,
    )


if __name__ == "__main__":
    main()

"""What every benchmark shares: where the data is, and one file of results each."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vectalk.files import write_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def data_folder(given: str | None = None) -> Path:
    """Return the folder of real data: `--data`, else VECTALK_DATA, else `../shared/data`; exit where absent."""
    folder = Path(given or os.environ.get("VECTALK_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        sys.exit(f"skipped: no data at {folder}; name its folder with --data or VECTALK_DATA")
    return folder


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of command-line arguments that has `--data` already."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", help="folder of real data (default: VECTALK_DATA, else ../shared/data)")
    return made


def write_result(name: str, command: str, figures: dict[str, float], **more: Any) -> Path:
    """Write `benchmarks/results/NAME.json`.

    Args:
        name: of the benchmark.
        command: that makes these figures again, from the root of the repository.
        figures: key -> number; keys are unique over all benchmarks.
        more: what else is worth keeping, such as settings.
    """
    path = RESULTS / f"{name}.json"
    document = {
        "command": command,
        "device": device(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        **more,
        "figures": {key: float(f"{value:.4g}") for key, value in figures.items()},
    }
    write_json(path, document)
    return path


def device() -> str:
    """Say what ran this: the GPU where torch is loaded and has one, else the processor, and the threads."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = models[0] if models else model
    return f"{model}, {os.environ.get('OMP_NUM_THREADS') or os.cpu_count()} threads"


def commit() -> str:
    """Return the commit at hand, with `+` where tracked files of the package or benchmarks differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks/*.py")
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB.

    From the process's own counter where there is one: `ru_maxrss` begins with what its parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024 / 1e6
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def held_mb() -> float:
    """Return the memory that this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def shown_path(path: str | Path) -> str:
    """Return a folder as a command names it: from `runs/` on, wherever the folder of runs is."""
    parts = Path(path).absolute().parts
    last = max((n for n, part in enumerate(parts) if part == "runs"), default=len(parts) - 1)
    return "/".join(parts[last:])


def interleaved(first: Callable[[], float], second: Callable[[], float], pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds that both measured, in turns, so that a busy machine slows both."""
    one, two = [], []
    for pair in range(pairs):
        for run, kept in ((first, one), (second, two))[:: 1 if pair % 2 == 0 else -1]:
            kept.append(run())
    return one, two


def print_table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> None:
    """Print rows under a header."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header)
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)

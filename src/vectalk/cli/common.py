"""What every verb shares: the options that all take, machine output on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Json = Annotated[bool, typer.Option("--json", help="Machine output alone on stdout; the rest goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no logs.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
Device = Annotated[
    str, typer.Option("--device", help="`cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes the best there is.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder where it exists.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def emit(value: Any, shown: Any, as_json: bool) -> None:
    """Print `value` as one JSON document, or `shown` (text or anything rich renders) for people."""
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=_plain) + "\n")
    else:
        # Titles and answers are text, never markup.
        out.print(shown, soft_wrap=True, markup=False) if isinstance(shown, str) else out.print(shown)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def note(message: str, quiet: bool = False) -> None:
    """Tell people something on stderr."""
    if not quiet:
        err.print(message, soft_wrap=True, markup=False)


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A progress display on stderr, silent when quiet or when stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal) as bar:
        yield bar


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """Read `NAME=VALUE` options into a dictionary."""
    found: dict[str, str] = {}
    for value in values:
        name, sign, rest = value.partition("=")
        if not sign or not name.strip() or not rest.strip():
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {value!r}")
        if name.strip() in found:
            raise typer.BadParameter(f"{option} names {name.strip()!r} twice")
        found[name.strip()] = rest.strip()
    return found

"""What all verbs share: common options, JSON or text on stdout, everything else on stderr."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vectalk.cli.heartbeat import Heartbeat


def _begin(context: typer.Context, quiet: bool) -> bool:
    """Set, when a verb begins, whether it logs and shows that it is alive."""
    logs.setLevel(logging.CRITICAL + 1 if quiet else logging.NOTSET)
    if quiet:
        heartbeat.end()
    else:
        heartbeat.begin(" ".join(["vectalk", *context.command_path.split()[1:]]))
    return quiet


Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout; everything else goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no notes.", callback=_begin)]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random choices.")]
Device = Annotated[
    str,
    typer.Option(
        "--device", help="Where to compute: `cpu`, `cuda`, `cuda:1` or `mps`; `auto` takes the fastest one found."
    ),
]
RunPlace = Annotated[str, typer.Argument(help="Folder of a run, or hf://owner/name on the Hugging Face hub.")]
MovedSpaces = Annotated[
    list[str] | None, typer.Option("--space", help="NAME=DIR: the new folder of a space that moved; may be repeated.")
]
MovedLlm = Annotated[
    str | None, typer.Option("--llm", help="The base LLM, if it moved: a folder, or owner/name on the hub.")
]
TrustEncoder = Annotated[
    bool,
    typer.Option(
        "--trust-encoder", help="Load the text encoder that a file names, even one that vectalk does not know."
    ),
]
ChatTemplateFile = Annotated[
    str | None,
    typer.Option(
        "--chat-template",
        metavar="FILE|none",
        help="Jinja file that replaces the LLM's chat template, or none for a plain question-and-answer format.",
    ),
]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", help="Longest answer, in tokens.")]
Temperature = Annotated[
    float, typer.Option("--temperature", help="Randomness of sampling; 0 takes the most likely token (greedy).")
]
TopP = Annotated[
    float, typer.Option("--top-p", help="Sample from the most likely tokens that hold this share of the probability.")
]
Bind = Annotated[
    list[str] | None,
    typer.Option("--bind", help="SLOT=title, id or expression, e.g. film=\"lerp('A', 'B', 0.5)\"; may be repeated."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200  # a file or a pipe has no edge, so nothing is cut off there
    return console


out, err = _console(stderr=False), _console(stderr=True)
heartbeat = Heartbeat(lambda line: err.print(line, soft_wrap=True, markup=False))


class Logs(logging.Handler):
    """Shows on stderr what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message, above the bars where there are some."""
        note(f"{record.levelname}: " * (record.levelno >= logging.WARNING) + record.getMessage())


logs = Logs()


@contextmanager
def logging_shown() -> Iterator[None]:
    """Show what the library logs while a command runs, unless it is quiet; and now and then that it still runs."""
    log = logging.getLogger("vectalk")
    level = log.level
    logs.setLevel(logging.NOTSET)
    log.addHandler(logs)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        heartbeat.end()
        log.removeHandler(logs)
        log.setLevel(level)


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
        heartbeat.spoke()


class LineProgress(Progress):
    """Progress for logs and pipes: one line in a while, and none about what is quick."""

    moved: TaskID | None = None

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Move a job on."""
        super().update(task_id, **changes)
        self.moved = task_id

    def line(self) -> str | None:
        """Say how far the job is that was moved last; None where all are done."""
        jobs = sorted((task for task in self.tasks if not task.finished), key=lambda task: task.id == self.moved)
        if not jobs:
            return None
        job = jobs[-1]
        done = f"{job.completed:.0f}" + ("" if job.total is None else f"/{job.total:.0f}")
        return f"{job.description}: {done}, {job.elapsed or 0:.0f} s  {job.fields.get('note', '')}".rstrip()


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A progress display on stderr: bars on a terminal, now and then a line elsewhere, nothing when quiet."""
    if not quiet and not err.is_terminal:
        lines = LineProgress(console=err, disable=True)
        with heartbeat.showing(lines.line):
            yield lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, disable=quiet) as bar, heartbeat.showing(None):
        yield bar


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """Read `NAME=VALUE` options into a dictionary."""
    values_of: dict[str, str] = {}
    for value in values:
        name, sign, rest = value.partition("=")
        if not sign or not name.strip() or not rest.strip():
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {value!r}")
        if name.strip() in values_of:
            raise typer.BadParameter(f"{option} names {name.strip()!r} twice")
        values_of[name.strip()] = rest.strip()
    return values_of

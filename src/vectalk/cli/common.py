"""What all verbs share: common options, and output (results on stdout as JSON or text, all else on stderr)."""

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
    """Turn logs and the heartbeat on or off when a verb begins."""
    logs.setLevel(logging.CRITICAL + 1 if quiet else logging.NOTSET)
    if quiet:
        heartbeat.end()
    else:
        heartbeat.begin(" ".join(["vectalk", *context.command_path.split()[1:]]))
    return quiet


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, for scripts; everything else goes to stderr.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes.", callback=_begin)]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random choices.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Device to compute on: `cpu`, `cuda`, `cuda:1` or `mps`; `auto` takes the fastest.",
    ),
]
RunPlace = Annotated[str, typer.Argument(help="Folder of a run, or hf://owner/name on the Hugging Face hub.")]
MovedSpaces = Annotated[
    list[str] | None, typer.Option("--space", help="NAME=DIR: new folder of a space that was moved; may be repeated.")
]
MovedLlm = Annotated[
    str | None,
    typer.Option("--llm", help="New place of the base LLM, if it was moved: a folder, or owner/name on the hub."),
]


def _known_packing(value: str | None) -> str | None:
    """Refuse an unknown value of --load-in."""
    if value not in (None, "4bit", "8bit", "none"):
        raise typer.BadParameter(f"--load-in is 4bit, 8bit or none, not {value!r}")
    return value


LoadIn = Annotated[
    str | None,
    typer.Option(
        "--load-in",
        metavar="4bit|8bit|none",
        help="Pack the weights of the base LLM in 4 or 8 bits (needs the extra `quantized`), or not. Default: as the "
        "run was trained; for `train`, whole weights.",
        callback=_known_packing,
    ),
]
TrustEncoder = Annotated[
    bool,
    typer.Option(
        "--trust-encoder", help="Allow loading a text encoder that a file names, if it is not minilm or tfidf."
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
History = Annotated[
    bool | None,
    typer.Option(
        "--history/--no-history",
        help="Whether the LLM reads the earlier turns of a conversation. Default: as the run says (yes if it was "
        "distilled).",
        show_default=False,
    ),
]
Bind = Annotated[
    list[str] | None,
    typer.Option(
        "--bind",
        help="SLOT=POINT: a title, an id or an expression, e.g. film=\"lerp('A', 'B', 0.5)\"; may be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200  # files and pipes have no width limit, so do not cut lines
    return console


out, err = _console(stderr=False), _console(stderr=True)
heartbeat = Heartbeat(lambda line: err.print(line, soft_wrap=True, markup=False))


class Logs(logging.Handler):
    """Prints the library's log messages on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, above the progress bars if there are any."""
        note(f"{record.levelname}: " * (record.levelno >= logging.WARNING) + record.getMessage())


logs = Logs()


@contextmanager
def logging_shown() -> Iterator[None]:
    """Print the library's log messages while a command runs, unless it is quiet; stop the heartbeat at the end."""
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


def emit(value: Any, display: Any, as_json: bool) -> None:
    """Print the result on stdout: `value` as one JSON document, or `display` (text, or a renderable of rich)."""
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=_plain) + "\n")
    else:
        # titles and answers are text, never markup
        out.print(display, soft_wrap=True, markup=False) if isinstance(display, str) else out.print(display)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def note(message: str, quiet: bool = False) -> None:
    """Print a message on stderr, unless quiet."""
    if not quiet:
        err.print(message, soft_wrap=True, markup=False)
        heartbeat.spoke()


class LineProgress(Progress):
    """Progress for logs and pipes: a line from time to time, and no line for quick jobs."""

    moved: TaskID | None = None

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Set the state of a job."""
        super().update(task_id, **changes)
        self.moved = task_id

    def line(self) -> str | None:
        """Return the progress of the job that was updated last, as a line; None if all jobs are finished."""
        jobs = sorted((task for task in self.tasks if not task.finished), key=lambda task: task.id == self.moved)
        if not jobs:
            return None
        job = jobs[-1]
        done = f"{job.completed:.0f}" + ("" if job.total is None else f"/{job.total:.0f}")
        return f"{job.description}: {done}, {job.elapsed or 0:.0f} s  {job.fields.get('note', '')}".rstrip()


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress display on stderr: bars on a terminal, else a line from time to time; nothing if quiet."""
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
    """Return the `NAME=VALUE` values of an option as a dictionary.

    Raises:
        BadParameter: a value has another form, or a name is repeated.
    """
    values_of: dict[str, str] = {}
    for value in values:
        name, sign, rest = value.partition("=")
        if not sign or not name.strip() or not rest.strip():
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {value!r}")
        if name.strip() in values_of:
            raise typer.BadParameter(f"{option} has {name.strip()!r} twice; give each name once")
        values_of[name.strip()] = rest.strip()
    return values_of

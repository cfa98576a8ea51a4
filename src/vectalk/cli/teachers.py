"""Open the teacher that the options of `vectalk corpus build` describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from vectalk.cli.common import note
from vectalk.cli.llm_options import LLMOptions
from vectalk.errors import TeacherError

if TYPE_CHECKING:
    from vectalk.llm import Spending
    from vectalk.space import VectorSpace
    from vectalk.tasks import Assignment, Suite, Teacher
    from vectalk.tasks.teachers.llm import Estimate, LLMTeacher

KINDS = "facts, texts:COLUMN, openai:MODEL or hf:FOLDER"
OF_LLMS = ("fact", "texts", "max_words", "dry_run")


@contextmanager
def open_teacher(
    kind: str,
    suite: Suite,
    spaces: Mapping[str, VectorSpace],
    options: Mapping[str, Any],
    llm_options: LLMOptions,
    quiet: bool = False,
) -> Iterator[Teacher]:
    """Yield the teacher of a kind such as `facts`, `texts:plot` or `openai:MODEL`, and close it afterwards.

    Raises:
        TeacherError: there is no such kind, or an option does not work with it.
    """
    from vectalk.llm.opening import split_name
    from vectalk.tasks import FactsTeacher
    from vectalk.tasks.teachers.texts import TextsTeacher

    name, _, rest = kind.partition(":")
    if split_name(kind)[0]:
        _check(kind, options, ("column",), "texts")
        with _llm_teacher(kind, suite, spaces, options, llm_options, quiet) as teacher:
            yield teacher
        return
    if name not in ("facts", "texts") or (name == "facts" and rest):
        raise TeacherError(f"unknown teacher {kind!r}; use {KINDS}")
    for option in llm_options.named:
        raise TeacherError(f"--{option} does not work with --teacher {kind}; it works only with openai or hf")
    _check(kind, options, OF_LLMS, "openai or hf")
    if name == "facts":
        _check(kind, options, ("column",), "texts")
        yield FactsTeacher(suite, spaces)
    else:
        yield TextsTeacher(suite, spaces, _columns(rest, options["column"] or []))


def _check(kind: str, options: Mapping[str, Any], misfits: tuple[str, ...], users: str) -> None:
    """Raise a TeacherError if one of the `misfits` has a value; these options work only with the teachers `users`."""
    for option in misfits:
        if options[option] not in (None, False, []):
            raise TeacherError(
                f"--{option.replace('_', '-')} does not work with --teacher {kind}; it works only with {users}"
            )


def _columns(first: str, options: list[str]) -> dict[str, str]:
    """Return the text column of each task; the key of the column for all tasks is an empty text."""
    columns = {"": first} if first else {}
    for value in options:
        task, sign, column = value.rpartition("=")
        if (task if sign else "") in columns or not column:
            raise typer.BadParameter(f"--column takes COLUMN once, and TASK=COLUMN once for each task, not {value!r}")
        columns[task] = column
    return columns


@contextmanager
def _llm_teacher(
    kind: str,
    suite: Suite,
    spaces: Mapping[str, VectorSpace],
    options: Mapping[str, Any],
    llm_options: LLMOptions,
    quiet: bool,
) -> Iterator[LLMTeacher]:
    from vectalk.tasks.teachers.llm import LLMTeacher

    columns = options["fact"] or None
    sizes = {name: options[name] for name in ("texts", "max_words") if options[name] is not None}
    with llm_options.open(kind, "--teacher", quiet=quiet) as client:
        try:
            yield LLMTeacher(client, suite, spaces, columns=columns, **sizes)
        except KeyboardInterrupt:
            if client.cache is not None:
                replies = f"the {len(client.cache)} replies in {client.cache.path} are kept"
                note(f"interrupted; {replies}; repeat the command to continue")
            raise


def estimate_text(estimate: Estimate) -> str:
    """Return an estimate in words."""
    requests = estimate.requests - estimate.cached
    text = f"{estimate.requests:,} texts to write: {estimate.cached:,} from the cache, {requests:,} to request"
    if requests:
        text += (
            f"; about {estimate.prompt_tokens:,} tokens of prompts and {estimate.reply_tokens:,} of replies"
            f" ({estimate.most_reply_tokens:,} at most)"
        )
        if estimate.cost is not None:
            text += f"; about {estimate.cost:.4g} in money, {estimate.most_cost:.4g} at most"
        text += "; requests for corrections are not included"
    return text


def samples(teacher: LLMTeacher, blocks: Iterator[list[Assignment]], count: int = 3) -> list[dict[str, Any]]:
    """Return the prompt of the first text of some tasks: `{task, messages}`, for `count` tasks."""
    prompts: dict[str, dict[str, Any]] = {}
    for block in blocks:
        for one in block[:1]:
            prompts.setdefault(one.task.name, {"task": one.task.name, "messages": teacher.messages(one.task, one.rows)})
        if len(prompts) == count:
            break
    return list(prompts.values())


def dry(estimate: Estimate, prompts: list[dict[str, Any]]) -> str:
    """Return some prompts and an estimate as text."""
    paragraphs = [
        f"---- {one['task']}\n" + "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in one["messages"])
        for one in prompts
    ]
    return "\n\n".join([*paragraphs, f"---- nothing was sent\n{estimate_text(estimate)}"])


def announce(teacher: LLMTeacher, estimate: Estimate, bar: Any, quiet: bool) -> None:
    """Print the estimate, and show the progress of the requests."""
    note(estimate_text(estimate), quiet)
    budget, meter = teacher.client.meter.budget, teacher.client.meter
    if estimate.cost is not None and budget.max_cost is not None and estimate.cost > budget.max_cost:
        note(
            f"note: the estimated cost is above --max-cost {budget.max_cost:g}; the work will stop at this cost", quiet
        )
    job = bar.add_task("texts", total=estimate.requests, note="")

    def tell(spending: Spending) -> None:
        money = f", cost {meter.cost:.4g}" if budget.priced else f", {meter.tokens:,.0f} tokens"
        done = spending.requests + spending.cached
        text = f"{spending.requests} requested, {spending.cached} cached{money}"
        bar.update(job, completed=min(done, estimate.requests), note=text)

    teacher.client.tell = tell

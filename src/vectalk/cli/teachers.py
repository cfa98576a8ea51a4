"""From the options of `vectalk corpus build` to a teacher."""

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
    """Yield the teacher of a kind such as `facts`, `texts:plot`, `openai:MODEL`; it is closed afterwards.

    Raises:
        TeacherError: there is no such kind, or an option does not fit it.
    """
    from vectalk.llm.opening import split_name
    from vectalk.tasks import FactsTeacher
    from vectalk.tasks.teachers.texts import TextsTeacher

    name, _, rest = kind.partition(":")
    if split_name(kind)[0]:
        _check(kind, options, ("column",), "texts")
        with _llm_teacher(kind, suite, spaces, options, llm_options, quiet) as made:
            yield made
        return
    if name not in ("facts", "texts") or (name == "facts" and rest):
        raise TeacherError(f"unknown teacher {kind!r}; there are {KINDS}")
    for option in llm_options.named:
        raise TeacherError(f"--{option} does not fit --teacher {kind}; it is for openai or hf")
    _check(kind, options, OF_LLMS, "openai or hf")
    if name == "facts":
        _check(kind, options, ("column",), "texts")
        yield FactsTeacher(suite, spaces)
    else:
        yield TextsTeacher(suite, spaces, _columns(rest, options["column"] or []))


def _check(kind: str, options: Mapping[str, Any], misfits: tuple[str, ...], users: str) -> None:
    """Raise a TeacherError where an option was given that does not fit a kind of teacher."""
    for option in misfits:
        if options[option] not in (None, False, []):
            raise TeacherError(f"--{option.replace('_', '-')} does not fit --teacher {kind}; it is for {users}")


def _columns(first: str, given: list[str]) -> dict[str, str]:
    found = {"": first} if first else {}
    for value in given:
        task, sign, column = value.rpartition("=")
        if (task if sign else "") in found or not column:
            raise typer.BadParameter(f"--column takes COLUMN once, and TASK=COLUMN once for each task, not {value!r}")
        found[task] = column
    return found


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
                kept = f"the {len(client.cache)} replies in {client.cache.path} are kept"
                note(f"interrupted; {kept}, run the same again to go on")
            raise


def said(estimate: Estimate) -> str:
    """Say an estimate to people."""
    asked = estimate.requests - estimate.cached
    text = f"{estimate.requests:,} texts to write: {estimate.cached:,} from the cache, {asked:,} to ask for"
    if asked:
        text += (
            f"; about {estimate.prompt_tokens:,} tokens of prompts and {estimate.reply_tokens:,} of replies"
            f" ({estimate.most_reply_tokens:,} at most)"
        )
        if estimate.cost is not None:
            text += f"; about {estimate.cost:.4g} in money, {estimate.most_cost:.4g} at most"
        text += "; texts that must be mended come on top"
    return text


def samples(teacher: LLMTeacher, blocks: Iterator[list[Assignment]], count: int = 3) -> list[dict[str, Any]]:
    """Return the prompts of the first training text of some tasks."""
    found: dict[str, dict[str, Any]] = {}
    for block in blocks:
        for one in block[:1]:
            found.setdefault(one.task.name, {"task": one.task.name, "messages": teacher.messages(one.task, one.rows)})
        if len(found) == count:
            break
    return list(found.values())


def dry(estimate: Estimate, shown: list[dict[str, Any]]) -> str:
    """Say an estimate and some prompts to people."""
    prompts = [
        f"---- {one['task']}\n" + "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in one["messages"])
        for one in shown
    ]
    return "\n\n".join([*prompts, f"---- nothing was asked\n{said(estimate)}"])


def announce(teacher: LLMTeacher, estimate: Estimate, bar: Any, quiet: bool) -> None:
    """Tell what writing will ask for, and show the requests as they are answered."""
    note(said(estimate), quiet)
    budget, meter = teacher.client.meter.budget, teacher.client.meter
    if estimate.cost is not None and budget.max_cost is not None and estimate.cost > budget.max_cost:
        note(f"note: that is more than --max-cost {budget.max_cost:g}; it will stop there", quiet)
    job = bar.add_task("texts", total=estimate.requests, note="")

    def tell(spending: Spending) -> None:
        money = f", cost {meter.cost:.4g}" if budget.priced else f", {meter.tokens:,.0f} tokens"
        done = spending.requests + spending.cached
        text = f"{spending.requests} asked, {spending.cached} cached{money}"
        bar.update(job, completed=min(done, estimate.requests), note=text)

    teacher.client.tell = tell

"""From the options of `vectalk corpus build` to a teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import typer

from vectalk.cli.common import note
from vectalk.errors import TeacherError
from vectalk.reading.yaml_text import YamlError, parse_yaml

if TYPE_CHECKING:
    from vectalk.llm import Spending
    from vectalk.space import VectorSpace
    from vectalk.tasks import Assignment, Suite, Teacher
    from vectalk.tasks.teachers.llm import Estimate, LLMTeacher

KINDS = "facts, texts:COLUMN, llm:MODEL or hf:FOLDER"


@contextmanager
def open_teacher(
    kind: str, suite: Suite, spaces: Mapping[str, VectorSpace], options: Mapping[str, Any]
) -> Iterator[Teacher]:
    """Yield the teacher of a kind such as `facts`, `texts:plot`, `llm:MODEL`; it is closed afterwards.

    Raises:
        TeacherError: there is no such kind, or an option does not fit it.
    """
    from vectalk.tasks import FactsTeacher
    from vectalk.tasks.teachers.texts import TextsTeacher

    name, _, rest = kind.partition(":")
    fitting = {"facts": (), "texts": ("column",), "llm": LLM, "hf": LOCAL}
    if name not in fitting or (name == "facts" and rest):
        raise TeacherError(f"unknown teacher {kind!r}; there are {KINDS}")
    for option, value in options.items():
        if value not in (None, False, []) and option not in fitting[name]:
            users = " or ".join(k for k, taken in fitting.items() if option in taken)
            raise TeacherError(f"--{option.replace('_', '-')} does not fit --teacher {kind}; it is for {users}")
    if name == "facts":
        yield FactsTeacher(suite, spaces)
    elif name == "texts":
        yield TextsTeacher(suite, spaces, _columns(rest, options["column"] or []))
    else:
        with _llm_teacher(name, rest, suite, spaces, options) as made:
            yield made


LOCAL = ("cache", "cached_only", "columns", "texts", "max_words", "set", "max_tokens", "dry_run")
LLM = (*LOCAL, "base_url", "key_env", "endpoint", "max_cost")


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
    kind: str, model: str, suite: Suite, spaces: Mapping[str, VectorSpace], options: Mapping[str, Any]
) -> Iterator[LLMTeacher]:
    from vectalk.llm import Budget, ChatClient, Endpoint, ReplyCache
    from vectalk.llm.replies import default_cache
    from vectalk.tasks.teachers.llm import LLMTeacher

    settings: dict[str, Any] = {name: options[name] for name in ("base_url", "key_env") if options.get(name)}
    for value in options["set"] or []:
        name, sign, text = value.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(f"--set takes NAME=VALUE, not {value!r}")
        try:
            settings[name.strip()] = parse_yaml(text)
        except YamlError:
            raise typer.BadParameter(f"--set {name.strip()}: {text!r} is no value that YAML knows") from None
    if model:
        settings["model"] = model
    budget = Budget(options["max_tokens"])
    place: Any
    if kind == "llm":
        place = Endpoint.read(options["endpoint"], **settings)
        budget = Budget(options["max_tokens"], options["max_cost"], place.price_input, place.price_output)
    else:
        from vectalk.llm.local import LocalModel

        place = LocalModel.read(**settings)
    columns = [name.strip() for name in options["columns"].split(",")] if options["columns"] else None
    sizes = {name: options[name] for name in ("texts", "max_words") if options[name] is not None}
    cache = ReplyCache(options["cache"] or default_cache())
    with closing(cache), ChatClient(place, cache, budget, cached_only=options["cached_only"]) as client:
        try:
            yield LLMTeacher(client, suite, spaces, columns=columns, **sizes)
        except KeyboardInterrupt:
            note(f"interrupted; the {len(cache)} replies in {cache.path} are kept, run the same again to go on")
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

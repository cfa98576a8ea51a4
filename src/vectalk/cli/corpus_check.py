"""`vectalk corpus check`: find errors in a corpus that would harm training or make an evaluation too good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vectalk.cli.common import ChatTemplateFile, Json, Quiet, emit, pairs, progress

if TYPE_CHECKING:
    from vectalk.tasks.corpus.check import Report


def check(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="Measure lengths in tokens of this LLM, and compare them with its context."),
    ] = None,
    soft_tokens: Annotated[
        int, typer.Option("--soft-tokens", min=1, help="Number of soft tokens of one vector, to measure lengths.")
    ] = 4,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 for warnings too.")] = False,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", help="NAME=DIR: new folder of a space that was moved; may be repeated."),
    ] = None,
    chat_template: ChatTemplateFile = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find errors in a corpus that would harm training or make an evaluation too good, such as leaks and duplicates.

    The exit code is 0 if there are no problems, 1 if there are problems (with --strict, also for warnings), and 2 if
    the corpus cannot be read.
    """
    from vectalk.tasks import Corpus
    from vectalk.tasks.corpus.check import check_corpus

    opened = Corpus.load(corpus, pairs(space or [], "--space"))
    measure, context = None, None
    if llm is not None:
        from vectalk.llm.tokenizer import load_context
        from vectalk.model.prompt import open_format

        prompts = open_format(llm, dict.fromkeys(opened.spaces, soft_tokens), chat_template)
        context = load_context(llm)

        def measure(prompt: str, spaces: dict[str, str], target: str) -> int:
            return len(prompts(prompt, spaces, target))

    with progress(quiet) as bar:
        job = bar.add_task("examples", total=None, note="")
        report = check_corpus(
            opened,
            measure=measure,
            context=context,
            progress=lambda done, total: bar.update(job, completed=done, total=total),
        )
    document = {
        "problems": len(report.problems),
        "warnings": len(report.warnings),
        "findings": [vars(finding) for finding in report.findings],
        **report.figures,
    }
    emit(document, _display(report), as_json)
    if report.fails(strict):
        raise typer.Exit(1)


def _display(report: Report) -> Group:
    """Return the report for people: a table of tasks, lengths, problems and warnings."""
    figures, lengths = report.figures, report.figures["lengths"]
    parts: list[Any] = [_table(figures)]
    of, all_ = f" of {lengths['context']} at most" if "context" in lengths else "", lengths["all"]
    if all_:
        line = f"lengths in {lengths['unit']}{of}: median {all_['median']}, 90 % up to {all_['p90']}, "
        line += f"99 % up to {all_['p99']}, longest {all_['max']}: {lengths['longest']}"
        parts.append(Text(line))
    for level, findings in (("problem", report.problems), ("warning", report.warnings)):
        for finding in findings:
            parts.append(Text(f"\n{level}: {finding.message}"))
            parts += [Text(f"  - {example}") for example in finding.examples]
    count = f"{len(report.problems)} problems, {len(report.warnings)} warnings in {figures['total']:,} examples"
    return Group(*parts, Text(f"\n{count}"))


def _table(figures: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("task")
    for name in ("train", "validation", "test", "same as another's", "same as in training", "stated and true"):
        table.add_column(name, justify="right")
    for task, counts in figures["examples"].items():
        same = figures["duplicates"]["tasks"].get(task, {})
        read = figures["attributes"].get(task, {})
        true = ", ".join(f"{name} {_share(r['agree'])}" for name, r in read.items() if r["agree"] is not None)
        shares = [_share(same.get(name)) for name in ("identical", "identical_to_training")]
        table.add_row(task, *(f"{n:,}" for n in counts.values()), *shares, true or "-")
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"

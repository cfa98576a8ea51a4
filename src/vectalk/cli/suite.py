"""`vectalk suite list|show|check`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import Json, Quiet, Seed, emit, note, pairs

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Show suites of tasks, and check your own.")
MOST = 20  # errors that are printed
Spaces = Annotated[
    list[str] | None, typer.Option("--space", help="NAME=DIR: name and folder of a space; may be repeated.")
]


@app.command("list")
def list_suites(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the suites of the package."""
    from vectalk.tasks import load_suite
    from vectalk.tasks.packaged import GENERIC, packaged_suites

    suites = [load_suite(name) for name in packaged_suites()]
    rows: list[dict[str, Any]] = [
        {
            "name": suite.name,
            "description": suite.description,
            "spaces": suite.spaces,
            "tasks": [task.name for task in suite.tasks],
        }
        for suite in suites
    ]
    description = "Tasks about the entities of any space, made from the columns of its metadata."
    rows.append({"name": f"{GENERIC}:SPACE", "description": description, "spaces": ["SPACE"], "tasks": None})
    paragraphs = [
        f"{row['name']}: {row['description']}\n  spaces: {', '.join(row['spaces'])}"
        + (f"\n  tasks: {', '.join(row['tasks'])}" if row["tasks"] else "")
        for row in rows
    ]
    emit(rows, "\n".join(paragraphs), as_json)


@app.command()
def show(
    suite: Annotated[str, typer.Argument(help="Suite of the package, a YAML file, or generic:SPACE=NOUN/PLURAL.")],
    space: Spaces = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a suite as YAML, so that you can save and edit it."""
    from vectalk.space import VectorSpace
    from vectalk.tasks import load_suite
    from vectalk.tasks.derive import derive_attributes
    from vectalk.tasks.packaged import packaged_suites, packaged_text
    from vectalk.tasks.suite import read_text

    spaces = {name: VectorSpace.load(place) for name, place in pairs(space or [], "--space").items()}
    loaded = load_suite(suite, spaces)
    if suite in packaged_suites():
        text = packaged_text(suite)
    elif Path(suite).is_file():
        text = read_text(Path(suite))
    else:
        text = loaded.dump()
        for name in loaded.spaces:
            for column, reason in derive_attributes(spaces[name]).left_out.items():
                note(f"note: column {column!r} is left out: {reason}", quiet)
    emit(loaded.model_dump(), text.rstrip("\n"), as_json)


@app.command()
def check(
    suite: Annotated[str, typer.Argument(help="YAML file, suite of the package, or generic:SPACE.")],
    space: Spaces = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the fields of a suite. With --space, also check its columns and print a text of each task.

    If the suite has errors, print each with its line and field. The exit code is then 2, also if no text can be
    written for a task.
    """
    from vectalk.errors import SuiteError
    from vectalk.space import VectorSpace
    from vectalk.tasks import FactsTeacher, Suite, load_suite
    from vectalk.tasks.suite import read_text
    from vectalk.tasks.teachers.trial import try_suite

    if Path(suite).suffix in (".yaml", ".yml") or Path(suite).is_file():
        _, problems = Suite.check(read_text(Path(suite)))
        if problems:
            if as_json:
                emit({"suite": suite, "problems": [problem.__dict__ for problem in problems]}, "", True)
            for problem in problems[:MOST]:
                typer.echo(f"{suite}:{problem.line or 1}: {problem.field}: {problem.message}", err=True)
            if len(problems) > MOST:
                typer.echo(f"{suite}: and {len(problems) - MOST} more (--json prints all)", err=True)
            raise typer.Exit(2)
    spaces = {name: VectorSpace.load(place) for name, place in pairs(space or [], "--space").items()}
    loaded = load_suite(suite, spaces)
    result: dict[str, Any] = {"suite": suite, "problems": [], "tasks": [task.name for task in loaded.tasks]}
    if not spaces:
        emit(result, f"{suite}: {len(loaded.tasks)} tasks about {', '.join(loaded.spaces)}; no errors", as_json)
        return
    missing = FactsTeacher(loaded, spaces).absent()
    trials = try_suite(loaded, spaces, seed=seed)
    warnings = [*missing, *(problem for trial in trials for problem in trial.problems)]
    result |= {"warnings": warnings, "trials": [trial.__dict__ for trial in trials]}
    paragraphs = []
    for trial in trials:
        bound = ", ".join(f"{{{slot}}} = {title}" for slot, title in trial.titles.items())
        figures = f"a text for {trial.written:.0%} of the entities, {trial.distinct:.0%} of the texts distinct"
        read = ", ".join(f"{name} {share:.0%}" for name, share in trial.read_back.items())
        paragraphs.append(
            f"{trial.task}: {figures}{'; read back: ' + read if read else ''}\n"
            f"  {trial.prompt}  {bound}\n  {trial.text}\n"
        )
    emit(result, "\n".join(paragraphs), as_json)
    for warning in warnings:
        note(f"note: {warning}", quiet)
    empty = [trial.task for trial in trials if trial.text is None]
    if empty:
        raise SuiteError(f"suite {suite}: no text can be written for the tasks {', '.join(empty)}; see the notes above")

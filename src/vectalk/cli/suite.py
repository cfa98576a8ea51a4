"""`vectalk suite list|show|check`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import Json, Quiet, Seed, emit, note, pairs

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at suites of tasks, and check your own.")
SHOWN = 20  # mistakes named at most
Spaces = Annotated[list[str] | None, typer.Option("--space", help="NAME=DIR; may be repeated.")]


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
    said = "What can be asked about the entities of any space, made from its metadata."
    rows.append({"name": f"{GENERIC}:SPACE", "description": said, "spaces": ["SPACE"], "tasks": None})
    shown = [
        f"{row['name']}: {row['description']}\n  spaces: {', '.join(row['spaces'])}"
        + (f"\n  tasks: {', '.join(row['tasks'])}" if row["tasks"] else "")
        for row in rows
    ]
    emit(rows, "\n".join(shown), as_json)


@app.command()
def show(
    suite: Annotated[str, typer.Argument(help="Suite of the package, a YAML file, or generic:SPACE=NOUN/PLURAL.")],
    space: Spaces = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a suite as YAML, to be kept and edited."""
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
    """Check a suite: its fields, and, with --space, its columns and a text of each task.

    Ends with exit code 2 where it is malformed, each mistake named by line and field, or where nothing can be
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
            for problem in problems[:SHOWN]:
                typer.echo(f"{suite}:{problem.line or 1}: {problem.field}: {problem.message}", err=True)
            if len(problems) > SHOWN:
                typer.echo(f"{suite}: and {len(problems) - SHOWN} more (--json names all)", err=True)
            raise typer.Exit(2)
    spaces = {name: VectorSpace.load(place) for name, place in pairs(space or [], "--space").items()}
    loaded = load_suite(suite, spaces)
    result: dict[str, Any] = {"suite": suite, "problems": [], "tasks": [task.name for task in loaded.tasks]}
    if not spaces:
        emit(result, f"{suite}: {len(loaded.tasks)} tasks over {', '.join(loaded.spaces)}; no mistakes", as_json)
        return
    missing = FactsTeacher(loaded, spaces).absent()
    trials = try_suite(loaded, spaces, seed=seed)
    warnings = [*missing, *(problem for trial in trials for problem in trial.problems)]
    result |= {"warnings": warnings, "trials": [trial.__dict__ for trial in trials]}
    shown = []
    for trial in trials:
        bound = ", ".join(f"{{{slot}}} = {title}" for slot, title in trial.titles.items())
        figures = f"written for {trial.written:.0%}, {trial.distinct:.0%} distinct"
        read = ", ".join(f"{name} {share:.0%}" for name, share in trial.read_back.items())
        shown.append(
            f"{trial.task}: {figures}{'; read back: ' + read if read else ''}\n"
            f"  {trial.prompt}  {bound}\n  {trial.text}\n"
        )
    emit(result, "\n".join(shown), as_json)
    for warning in warnings:
        note(f"note: {warning}", quiet)
    silent = [trial.task for trial in trials if trial.text is None]
    if silent:
        raise SuiteError(f"suite {suite}: no text can be written for {', '.join(silent)}; see the notes above")

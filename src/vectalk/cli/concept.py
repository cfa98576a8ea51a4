"""`vectalk concept`: fit directions that mean something, and look at them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import Json, Quiet, Seed, TrustEncoder, emit, note, progress

if TYPE_CHECKING:
    from vectalk.concepts import Concept
    from vectalk.concepts.examples import Examples
    from vectalk.space import VectorSpace

app = typer.Typer(no_args_is_help=True, help="Fit concept directions and inspect them.")

Folder = Annotated[Path, typer.Argument(help="Folder of a space; its concepts lie in SPACE/concepts.")]


@app.command()
def fit(
    folder: Folder,
    where: Annotated[
        list[str], typer.Option("--where", help="Positives: COLUMN=VALUE or e.g. COLUMN>=NUMBER; all must hold.")
    ] = [],  # noqa: B006 - typer reads defaults, nobody changes them
    positive: Annotated[list[str], typer.Option("--positive", help="Title or id of a positive.")] = [],  # noqa: B006
    negative: Annotated[
        list[str], typer.Option("--negative", help="Title or id of a negative; all others when omitted.")
    ] = [],  # noqa: B006
    every: Annotated[str | None, typer.Option("--all", help="Column: one concept for each of its values.")] = None,
    tags: Annotated[Path | None, typer.Option("--tags", help="Table of tags, one row for each tagging.")] = None,
    tag: Annotated[list[str], typer.Option("--tag", help="Tag of that table; every tag when omitted.")] = [],  # noqa: B006
    item_column: Annotated[str | None, typer.Option("--item-column", help="Column of the table's ids.")] = None,
    tag_column: Annotated[str, typer.Option("--tag-column", help="Column of the table's tags.")] = "tag",
    least: Annotated[int, typer.Option("--min", min=2, help="Fewest training positives, where many are fitted.")] = 20,
    name: Annotated[str | None, typer.Option("--name", help="Name of the concept, where one is fitted.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Put before each name, where many are fitted.")] = "",
    method: Annotated[str, typer.Option("--method", help="logistic, ridge, mean or ranking.")] = "logistic",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace concepts of the same name.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit concepts on training entities, measure them on test entities, and keep them beside the space."""
    from vectalk.concepts.concept import fit_many
    from vectalk.concepts.shelf import check_vacant, keep
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    ways = {"--where": where, "--positive": positive, "--all": every, "--tags": tags}
    used = [option for option, value in ways.items() if value]
    if len(used) != 1:
        found = f"{' and '.join(used)} were given" if used else "none was given"
        raise typer.BadParameter(f"say what the positives are by one of {', '.join(ways)}; {found}")
    if negative and not positive:
        raise typer.BadParameter("--negative goes with --positive")
    if tag and tags is None:
        raise typer.BadParameter("--tag names a tag of the table --tags")
    examples, given = _examples(space, where, positive, negative, every, tags, tag, item_column, tag_column, least)
    if name is not None:
        if len(examples) > 1:
            raise typer.BadParameter(f"--name names one concept, and {len(examples)} would be fitted")
        examples = dict(zip([name], examples.values(), strict=True))
    examples = {prefix + key: entities for key, entities in examples.items()}
    check_vacant(space, list(examples), overwrite=overwrite)
    with progress(quiet) as bar:
        job = bar.add_task("concepts", total=len(examples), note="")
        concepts = fit_many(
            space,
            examples,
            given=given,
            method=method,
            seed=seed,
            progress=lambda done, total: bar.update(job, completed=done, total=total),
        )
    for concept in concepts:
        keep(concept, overwrite=overwrite)
    _show(concepts, as_json)
    if len(concepts) <= 3:
        for concept in concepts:
            for warning in concept.statistics.warnings:
                note(f"{concept.name}: {warning}", quiet)


def _examples(
    space: VectorSpace,
    where: list[str],
    positive: list[str],
    negative: list[str],
    every: str | None,
    tags: Path | None,
    tag: list[str],
    item_column: str | None,
    tag_column: str,
    least: int,
) -> tuple[dict[str, Examples], str]:
    """Return the examples of each concept by name, and what they are in words."""
    from vectalk.concepts import examples
    from vectalk.errors import ConceptError

    if where:
        name = " and ".join(condition.partition("=")[2] or condition for condition in where)
        return {name: examples.by_metadata(space, where)}, " and ".join(where)
    if positive:
        one = examples.Examples.of(space, positive, negative or None)
        for taken in dict.fromkeys(taken for entity in (*positive, *negative) for taken in space[entity].notes):
            note(f"note: {taken}")
        return {positive[0]: one}, f"{len(positive)} entities by name"
    if every is not None:
        found, given = examples.every_value(space, every, least), f"{every}={{}}"
        if not found:
            raise ConceptError(f"no value of column {every!r} has {least} training entities; lower --min")
        return found, given
    assert tags is not None  # one of the four is there
    found = examples.read_tags(tags, space, item_column=item_column, tag_column=tag_column, least=1 if tag else least)
    if tag:
        found = examples.named(found, tag, str(tags))
    if not found:
        raise ConceptError(f"no tag of {tags} was given to {least} training entities; lower --min")
    return found, f"tagged {{}} in {tags.name}"


@app.command("list")
def list_(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the concepts of a space, the most significant first."""
    from vectalk.concepts.shelf import load_all
    from vectalk.space import VectorSpace

    concepts = load_all(VectorSpace.load(folder))
    if not concepts and not as_json:
        note(f"{folder} has no concepts yet; fit one with `vectalk concept fit {folder} --where COLUMN=VALUE`", quiet)
    _show(concepts, as_json)


@app.command()
def show(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Name of the concept.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many entities at each end.")] = 10,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="Title, id or expression. Shows how far this point can be shifted along the concept."
        ),
    ] = None,
    trust_encoder: TrustEncoder = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a concept: its statistics, the entities at both ends, and the nearest other concepts."""
    from rich.console import Group
    from rich.text import Text

    from vectalk.concepts.shelf import FUNCTIONS, find, nearest
    from vectalk.readback import text_functions
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    concept = find(space, name)
    ends = {side: _end(concept, k, lowest=side == "bottom") for side in ("top", "bottom")}
    others = nearest(concept)
    s = concept.statistics
    lines = [
        f"{concept}",
        f"given by: {concept.given or 'entities'}; {concept.method}, strength {concept.strength:g}",
        f"{s.positives} positives and {s.negatives} negatives to learn from, "
        f"{s.test_positives} and {s.test_negatives} to be measured on",
        f"p {_cell(s.p_value, 4)}, q {_cell(s.q_value, 4)} among {s.family}; 95 % of random concepts have an AUC below "
        f"{_cell(s.random_auc)}; stability {_cell(s.stability)}",
        f"one step is {concept.deviation:.3g} along it (a standard deviation of the projections)",
        *(f"warning: {warning}" for warning in s.warnings),
    ]
    document = {**_card(concept), **ends, "nearest": [{"name": n, "cosine": round(c, 4)} for n, c in others]}
    if others:
        lines.append("nearest concepts: " + ", ".join(f"{n} {c:+.2f}" for n, c in others[:8]))
    if at is not None:
        point = space.point(at, {**FUNCTIONS, **text_functions(space, trust_encoder)})
        for message in point.notes:
            note(f"note: {message}", quiet)
        low, high = concept.reach(point)
        document["at"] = {"point": point.source, "score": concept.score(point), "reach": [low, high]}
        lines.append(
            f"{point.source} lies at {concept.score(point):+.2f}; "
            f"shifts from {low:+g} to {high:+g} steps stay near real entities"
        )
    emit(document, Group(*map(Text, lines), *(_end_table(side, found) for side, found in ends.items())), as_json)


def _end(concept: Concept, k: int, lowest: bool) -> list[dict[str, Any]]:
    rows, scores = concept.rank(k, lowest=lowest)
    ids = concept.space.column("id")
    return [
        {"id": ids[int(row)].as_py(), "title": concept.space.title(int(row)), "score": round(float(score), 3)}
        for row, score in zip(rows, scores, strict=True)
    ]


def _end_table(side: str, found: list[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "title", "score", title=side, title_justify="left", box=None)
    for entry in found:
        table.add_row(escape(str(entry["id"])), escape(entry["title"]), f"{entry['score']:+.2f}")
    return table


def _card(concept: Concept) -> dict[str, Any]:
    return {
        "name": concept.name,
        "given": concept.given,
        "method": concept.method,
        "strength": concept.strength,
        "deviation": concept.deviation,
        **asdict(concept.statistics),
        "warnings": concept.statistics.warnings,
    }


def _show(concepts: list[Concept], as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    concepts = sorted(concepts, key=lambda c: -(c.statistics.auc or 0.0))
    table = Table("concept", "positives", "AUC", "95 %", "random", "p", "q", "stability", "", box=None)
    for concept in concepts:
        s = concept.statistics
        interval = "" if s.low is None else f"{s.low:.2f}-{s.high:.2f}"
        table.add_row(
            escape(concept.name),
            str(s.positives),
            _cell(s.auc),
            interval,
            _cell(s.random_auc),
            _cell(s.p_value, 4),
            _cell(s.q_value, 4),
            _cell(s.stability),
            "!" if s.warnings else "",
        )
    emit([_card(concept) for concept in concepts], table, as_json)


def _cell(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

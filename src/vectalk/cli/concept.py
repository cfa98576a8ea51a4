"""`vectalk concept fit|list|show`."""

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

Folder = Annotated[Path, typer.Argument(help="Folder of a space; its concepts are in SPACE/concepts.")]


@app.command()
def fit(
    folder: Folder,
    where: Annotated[
        list[str],
        typer.Option(
            "--where", help="Condition for positives: COLUMN=VALUE or e.g. COLUMN>=NUMBER; if repeated, all must hold."
        ),
    ] = [],  # noqa: B006 - typer reads defaults, nobody changes them
    positive: Annotated[list[str], typer.Option("--positive", help="Title or id of a positive; may be repeated.")] = [],  # noqa: B006
    negative: Annotated[
        list[str],
        typer.Option("--negative", help="Title or id of a negative; may be repeated. All other entities when omitted."),
    ] = [],  # noqa: B006
    every: Annotated[
        str | None, typer.Option("--all", help="Column of metadata; fits one concept for each of its values.")
    ] = None,
    tags: Annotated[
        Path | None, typer.Option("--tags", help="Table of tags, with one row for each pair of item and tag.")
    ] = None,
    tag: Annotated[
        list[str], typer.Option("--tag", help="Tag of the table --tags; may be repeated. All tags when omitted.")
    ] = [],  # noqa: B006
    item_column: Annotated[
        str | None, typer.Option("--item-column", help="Column of ids in the table --tags; guessed if it is clear.")
    ] = None,
    tag_column: Annotated[str, typer.Option("--tag-column", help="Column of tags in the table --tags.")] = "tag",
    least: Annotated[
        int, typer.Option("--min", min=2, help="Smallest number of training positives, with --all or --tags.")
    ] = 20,
    name: Annotated[str | None, typer.Option("--name", help="Name of the concept, if only one is fitted.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Text to put before the name of each concept.")] = "",
    method: Annotated[
        str, typer.Option("--method", help="How to fit the direction: logistic, ridge, mean or ranking.")
    ] = "logistic",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace concepts of the same name.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit concepts on training entities, measure them on test entities, and save them in SPACE/concepts."""
    from vectalk.concepts.concept import fit_many
    from vectalk.concepts.shelf import check_vacant, keep
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    ways = {"--where": where, "--positive": positive, "--all": every, "--tags": tags}
    used = [option for option, value in ways.items() if value]
    if len(used) != 1:
        number = f"you gave {' and '.join(used) or 'none'}"
        raise typer.BadParameter(f"give exactly one of {', '.join(ways)}, to define the positives; {number}")
    if negative and not positive:
        raise typer.BadParameter("--negative works only together with --positive")
    if tag and tags is None:
        raise typer.BadParameter("--tag works only together with --tags, the table that has the tag")
    examples, description = _examples(
        space, where, positive, negative, every, tags, tag, item_column, tag_column, least
    )
    if name is not None:
        if len(examples) > 1:
            raise typer.BadParameter(
                f"--name is for a single concept, but {len(examples)} would be fitted; use --prefix"
            )
        examples = dict(zip([name], examples.values(), strict=True))
    examples = {prefix + key: entities for key, entities in examples.items()}
    check_vacant(space, list(examples), overwrite=overwrite)
    with progress(quiet) as bar:
        job = bar.add_task("concepts", total=len(examples), note="")
        concepts = fit_many(
            space,
            examples,
            given=description,
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
    """Return the examples of each concept by name, and a description of the positives."""
    from vectalk.concepts import examples
    from vectalk.errors import ConceptError

    if where:
        name = " and ".join(condition.partition("=")[2] or condition for condition in where)
        return {name: examples.by_metadata(space, where)}, " and ".join(where)
    if positive:
        entities = examples.Examples.of(space, positive, negative or None)
        for message in dict.fromkeys(message for entity in (*positive, *negative) for message in space[entity].notes):
            note(f"note: {message}")
        return {positive[0]: entities}, f"{len(positive)} entities by name"
    if every is not None:
        examples_of = examples.every_value(space, every, least)
        if not examples_of:
            raise ConceptError(f"no value of column {every!r} has {least} training entities; lower --min")
        return examples_of, f"{every}={{}}"
    assert tags is not None  # the caller checks that one of the four is there
    examples_of = examples.read_tags(
        tags, space, item_column=item_column, tag_column=tag_column, least=1 if tag else least
    )
    if tag:
        examples_of = examples.named(examples_of, tag, str(tags))
    if not examples_of:
        raise ConceptError(f"no tag of {tags} has {least} training entities; lower --min")
    return examples_of, f"tagged {{}} in {tags.name}"


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
    k: Annotated[int, typer.Option("-k", min=1, help="Number of entities to list at each end.")] = 10,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="Title, id or expression of a point. Shows how far the point can be shifted and stay near entities.",
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
        f"positives: {concept.given or 'entities'}; method {concept.method}, penalty {concept.strength:g}",
        f"training: {s.positives} positives and {s.negatives} negatives; "
        f"test: {s.test_positives} positives and {s.test_negatives} negatives",
        f"p {_cell(s.p_value, 4)}, q {_cell(s.q_value, 4)} for {s.family} concepts; "
        f"95 % of random concepts have an AUC below {_cell(s.random_auc)}; stability {_cell(s.stability)}",
        f"one step of a shift is {concept.deviation:.3g} long (a standard deviation of the projections)",
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
            f"{point.source} has the score {concept.score(point):+.2f}; "
            f"shifts from {low:+g} to {high:+g} steps stay near real entities"
        )
    emit(document, Group(*map(Text, lines), *(_end_table(side, entries) for side, entries in ends.items())), as_json)


def _end(concept: Concept, k: int, lowest: bool) -> list[dict[str, Any]]:
    rows, scores = concept.rank(k, lowest=lowest)
    ids = concept.space.column("id")
    return [
        {"id": ids[int(row)].as_py(), "title": concept.space.title(int(row)), "score": round(float(score), 3)}
        for row, score in zip(rows, scores, strict=True)
    ]


def _end_table(side: str, entries: list[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "title", "score", title=side, title_justify="left", box=None)
    for entry in entries:
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

"""`vectalk space`: make, look at and check spaces of vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, emit, note, pairs, progress

if TYPE_CHECKING:
    from vectalk.space import Point, VectorSpace
    from vectalk.space.importing.tables import Columns

app = typer.Typer(no_args_is_help=True, help="Make, look at and check spaces of vectors.")

SHOWN = 300  # characters of a metadata value that a person is shown

Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a space.")]
Expression = Annotated[str, typer.Argument(help="Title, id, or expression such as lerp('A', 'B', 0.5).")]
IdColumn = Annotated[str | None, typer.Option("--id-column", help="Column of the ids; guessed where it is clear.")]
ListColumn = Annotated[
    list[str], typer.Option("--list-column", help="COLUMN:SIGN splits text into a list, e.g. 'genres:|'.")
]
Null = Annotated[list[str], typer.Option("--null", help="What stands for unknown, e.g. '(no genres listed)' or -1.")]
Extract = Annotated[
    list[str],
    typer.Option("--extract", help=r"NEW=COLUMN:REGEX makes a column, e.g. 'year=title:\((\d{4})\)\s*$'."),
]
Rename = Annotated[list[str], typer.Option("--rename", help="OLD=NEW renames a column.")]
Licence = Annotated[str, typer.Option("--licence", help="A note that travels with the space.")]


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="Vectors: .npy, .npz or .safetensors, or a table: .parquet (or a folder of them), .csv, .jsonl, ..."
        ),
    ],
    out: Out,
    name: Annotated[str, typer.Option("--name", help="Name of the space and of its slot, e.g. film.")],
    ids: Annotated[Path | None, typer.Option("--ids", help="Id of each vector, row by row: csv, txt, npy, ...")] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Array, tensor or column of the vectors; 'dim_*' where a column is a dimension."),
    ] = None,
    metadata: Annotated[Path | None, typer.Option("--metadata", help="Table joined by id: csv, parquet, ...")] = None,
    id_column: IdColumn = None,
    list_column: ListColumn = [],  # noqa: B006 - typer reads defaults, nobody changes them
    null: Null = [],  # noqa: B006
    extract: Extract = [],  # noqa: B006
    rename: Rename = [],  # noqa: B006
    missing: Annotated[str, typer.Option("--missing", help="Vectors without metadata: error, drop or keep.")] = "error",
    drop_bad_rows: Annotated[bool, typer.Option("--drop-bad-rows", help="Leave out NaN, infinity, zeros.")] = False,
    metric: Annotated[str, typer.Option("--metric", help="cosine, dot or euclidean.")] = "cosine",
    split_by: Annotated[
        str | None, typer.Option("--split-by", help="Column hashed for the split: title, else id.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or float16.")] = "float32",
    licence: Licence = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a space of a file of vectors, with ids and metadata."""
    from vectalk.files import check_free
    from vectalk.space.importing.readers import import_space

    check_free(out, "space.json", overwrite=overwrite)  # before the work rather than after it
    space = import_space(
        source,
        name=name,
        key=key,
        ids=ids,
        metadata=metadata,
        id_name=id_column,
        columns=_columns(list_column, null, extract, rename),
        missing=missing,  # type: ignore[arg-type] # checked there
        drop_bad_rows=drop_bad_rows,
        metric=metric,  # type: ignore[arg-type]
        split_by=split_by,
        licence=licence,
        dtype=dtype,  # type: ignore[arg-type]
        tell=lambda message: note(message, quiet),
    )
    space = space.save(out, overwrite=overwrite)
    _show_card(_card(space, out), as_json)


@app.command()
def encode(
    texts: Annotated[Path, typer.Argument(help="Texts with metadata: csv, tsv, parquet or jsonl, also .gz.")],
    out: Out,
    name: Annotated[str, typer.Option("--name", help="Name of the space and of its slot, e.g. film.")],
    encoder: Annotated[str, typer.Option("--encoder", help="minilm, or a sentence transformer.")] = "minilm",
    text: Annotated[str, typer.Option("--text", help="Column of the texts.")] = "text",
    id_column: IdColumn = None,
    list_column: ListColumn = [],  # noqa: B006
    null: Null = [],  # noqa: B006
    extract: Extract = [],  # noqa: B006
    rename: Rename = [],  # noqa: B006
    missing: Annotated[str, typer.Option("--missing", help="Rows without a text: error or drop.")] = "error",
    metric: Annotated[str, typer.Option("--metric", help="cosine, dot or euclidean.")] = "cosine",
    split_by: Annotated[
        str | None, typer.Option("--split-by", help="Column hashed for the split: title, else id.")
    ] = None,
    licence: Licence = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a space of texts with a text encoder; killed, it goes on where it was."""
    from vectalk.readback import encode_space

    with progress(quiet) as bar:
        job = bar.add_task("encoding", total=None, note="")
        space = encode_space(
            texts,
            out,
            name=name,
            encoder=encoder,
            text=text,
            id_name=id_column,
            columns=_columns(list_column, null, extract, rename),
            missing=missing,  # type: ignore[arg-type] # checked there
            metric=metric,  # type: ignore[arg-type]
            split_by=split_by,
            licence=licence,
            overwrite=overwrite,
            tell=lambda message: note(message, quiet),
            progress=lambda done, total: bar.update(job, completed=done, total=total),
        )
    _show_card(_card(space, out), as_json)


@app.command()
def factorize(
    ratings: Annotated[Path, typer.Argument(help="Ratings: csv, tsv, parquet or jsonl.")],
    out: Out,
    items: Annotated[Path | None, typer.Option("--items", help="Metadata of the items, joined by id.")] = None,
    id_column: IdColumn = None,
    user_column: Annotated[str | None, typer.Option("--user-column")] = None,
    item_column: Annotated[str | None, typer.Option("--item-column")] = None,
    rating_column: Annotated[str | None, typer.Option("--rating-column")] = None,
    list_column: ListColumn = [],  # noqa: B006
    null: Null = [],  # noqa: B006
    extract: Extract = [],  # noqa: B006
    rename: Rename = [],  # noqa: B006
    item_name: Annotated[str, typer.Option("--item-name", help="Name of the item space, e.g. film.")] = "item",
    user_name: Annotated[str, typer.Option("--user-name", help="Name of the user space.")] = "user",
    holdout: Annotated[float, typer.Option("--holdout-ratings", help="Share of each user's ratings set aside.")] = 0.2,
    min_ratings: Annotated[int, typer.Option("--min-ratings", help="Leave out items with fewer.")] = 5,
    dim: Annotated[int, typer.Option("--dim", help="Dimension of the vectors.")] = 64,
    feedback: Annotated[str, typer.Option("--feedback", help="implicit or explicit.")] = "implicit",
    iterations: Annotated[int, typer.Option("--iterations")] = 15,
    l2: Annotated[float, typer.Option("--l2", help="Regularisation.")] = 5.0,
    scale_l2: Annotated[bool, typer.Option("--scale-l2", help="Multiply it by a row's number of ratings.")] = False,
    unobserved: Annotated[float, typer.Option("--unobserved", help="Weight of unobserved pairs.")] = 0.1,
    alpha: Annotated[float, typer.Option("--alpha", help="Weight 1 + alpha * rating of observed pairs.")] = 0.0,
    biases: Annotated[bool, typer.Option("--biases/--no-biases", help="Of explicit ratings.")] = True,
    licence: Licence = "",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Factorise ratings into a space of items and a space of users."""
    from vectalk.space.factorization import ratings as rooms
    from vectalk.space.factorization.wals import WalsConfig

    config = WalsConfig(
        dim=dim,
        feedback=feedback,  # type: ignore[arg-type] # checked there
        iterations=iterations,
        l2=l2,
        scale_l2=scale_l2,
        unobserved=unobserved,
        alpha=alpha,
        biases=biases,
        seed=seed,
    )
    with progress(quiet) as bar:
        job = bar.add_task("factorising", total=iterations, note="")
        made = rooms.factorize(
            ratings,
            out,
            items=items,
            config=config,
            columns=_columns(list_column, null, extract, rename),
            id_name=id_column,
            user_column=user_column,
            item_column=item_column,
            rating_column=rating_column,
            holdout=holdout,
            min_ratings=min_ratings,
            item_name=item_name,
            user_name=user_name,
            licence=licence,
            overwrite=overwrite,
            on_iteration=lambda number, loss: bar.update(job, completed=number, note=f"loss {loss:.6g}"),
        )
    figures = made.summary
    shown = (
        f"{figures['items']} items and {figures['users']} users, {dim} dimensions, {feedback} feedback\n"
        f"{figures['ratings_train']} training ratings, {figures['ratings_test']} set aside before that\n"
        f"left out: {figures['items_dropped']} items with fewer than {min_ratings} training ratings, "
        f"{figures['users_dropped']} users\n{out / 'items'}  {out / 'users'}"
    )
    emit({"out": str(out), **figures}, shown, as_json)


@app.command()
def info(folder: Folder, as_json: Json = False) -> None:
    """Show what a space holds."""
    from vectalk.space import VectorSpace

    _show_card(_card(VectorSpace.load(folder), folder), as_json)


@app.command()
def neighbors(
    folder: Folder,
    expression: Expression,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    split: Annotated[str | None, typer.Option("--split", help="Search train, validation or test only.")] = None,
    as_json: Json = False,
) -> None:
    """List the nearest entities of a point."""
    space, point = _point(folder, expression)
    found = _neighbors(space, point, k, split)
    emit({"point": point.source, "neighbors": found}, _neighbor_table(point.title, found), as_json)


@app.command()
def point(
    folder: Folder,
    expression: Expression,
    k: Annotated[int, typer.Option("-k", min=1, help="How many neighbours.")] = 5,
    as_json: Json = False,
) -> None:
    """Show a point: how near to real entities it lies, its neighbours, its values."""
    from dataclasses import asdict

    from rich.console import Group
    from rich.text import Text

    space, at = _point(folder, expression)
    support, found = space.support(at), _neighbors(space, at, k, None)
    metadata = space.metadata(at.row) if at.row is not None else None
    values = " ".join(f"{value:.3g}" for value in at.values[:8]) + (" ..." if space.dim > 8 else "")
    lines = [
        at.title,
        f"support: {support}",
        f"values: {values} (norm {float((at.values**2).sum() ** 0.5):.3g})",
    ]
    lines += [f"{name}: {_short(value)}" for name, value in (metadata or {}).items() if name != "title"]
    document = {
        "point": at.source,
        "row": at.row,
        "metadata": metadata,
        "support": asdict(support),
        "neighbors": found,
        "values": at.values,
    }
    emit(document, Group(*map(Text, lines), _neighbor_table("neighbours", found)), as_json)


@app.command()
def verify(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute the fingerprint and the split's hash of a space; exit code 2 where the files are not what was saved."""
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    with progress(quiet) as bar:
        job = bar.add_task("verifying", total=len(space), note="")
        space.verify(lambda done, total: bar.update(job, completed=done, total=total))
    shown = f"{folder}: {len(space)} vectors, ids and split are what was saved ({space.fingerprint[:12]})"
    emit({"folder": str(folder), "ok": True, "fingerprint": space.fingerprint}, shown, as_json)


def _columns(list_column: list[str], null: list[str], extract: list[str], rename: list[str]) -> Columns:
    from vectalk.space.importing.tables import Columns

    lists, patterns = {}, {}
    for value in list_column:
        name, sign, separator = value.partition(":")
        if not (name and sign and separator):
            raise typer.BadParameter(f"--list-column takes COLUMN:SIGN, e.g. 'genres:|', not {value!r}")
        lists[name] = separator
    for name, rest in pairs(extract, "--extract").items():
        source, sign, pattern = rest.partition(":")
        if not (source and sign and pattern):
            raise typer.BadParameter(f"--extract takes NEW=COLUMN:REGEX, not {name}={rest!r}")
        patterns[name] = (source, pattern)
    return Columns(pairs(rename, "--rename"), null, patterns, lists)


def _point(folder: Path, expression: str) -> tuple[VectorSpace, Point]:
    from vectalk.concepts.shelf import FUNCTIONS
    from vectalk.readback import text_functions
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    return space, space.point(expression, {**FUNCTIONS, **text_functions(space)})


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)"


def _neighbors(space: VectorSpace, point: Point, k: int, split: str | None) -> list[dict[str, Any]]:
    from vectalk.errors import SpaceError
    from vectalk.space.split import SPLITS

    if split is not None and split not in SPLITS:
        raise SpaceError(f"--split must be one of {', '.join(SPLITS)}, not {split!r}")
    rows, similarities = space.neighbors(point, k, split_name=split)
    ids = space.column("id")
    return [
        {"id": ids[int(row)].as_py(), "title": space.title(int(row)), "similarity": round(float(score), 4)}
        for row, score in zip(rows, similarities, strict=True)
    ]


def _neighbor_table(title: str, found: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    named = any(entry["title"] != entry["id"] for entry in found)
    table = Table("id", *(["title"] if named else []), "similarity", box=None)
    for entry in found:
        names = [entry["id"], entry["title"]] if named else [entry["id"]]
        table.add_row(*map(escape, names), f"{entry['similarity']:.3f}")
    return Group(Text(title), table)


def _card(space: VectorSpace, folder: Path) -> dict[str, Any]:
    from vectalk.space.split import SPLITS

    return {
        "folder": str(folder),
        "name": space.name,
        "entities": len(space),
        "dim": space.dim,
        "dtype": str(space.vectors.dtype),
        "metric": space.metric,
        "split_by": space.split_by,
        "splits": {name: len(space.rows(name)) for name in SPLITS},
        "columns": {name: str(space.column(name).type) for name in space.column_names},
        "fingerprint": space.fingerprint,
        "licence": space.licence,
        "encoder": space.encoder,
    }


def _show_card(card: dict[str, Any], as_json: bool) -> None:
    splits = ", ".join(f"{count} {name}" for name, count in card["splits"].items())
    columns = ", ".join(f"{name} ({kind})" for name, kind in card["columns"].items())
    shown = (
        f"{card['name']}: {card['entities']} entities, {card['dim']} dimensions, "
        f"{card['dtype']}, {card['metric']}\n"
        f"split by {card['split_by']}: {splits}\ncolumns: {columns}\n"
        f"fingerprint {card['fingerprint'][:12]}, {card['folder']}"
        + (f"\nmade of texts by {card['encoder']}" if card["encoder"] else "")
        + (f"\nlicence: {card['licence']}" if card["licence"] else "")
    )
    emit(card, shown, as_json)

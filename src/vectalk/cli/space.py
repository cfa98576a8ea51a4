"""`vectalk space`: make, inspect and verify spaces of vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, TrustEncoder, emit, note, progress
from vectalk.cli.rating_options import (
    Header,
    ItemColumn,
    RatingColumn,
    Repeated,
    Separator,
    Unrated,
    UserColumn,
    Valid,
)
from vectalk.cli.space_import import import_
from vectalk.cli.space_layout import layout
from vectalk.cli.space_options import (
    Extract,
    IdColumn,
    Licence,
    ListColumn,
    Null,
    Out,
    Rename,
    card_of,
    columns_of,
    show_card,
)

if TYPE_CHECKING:
    from vectalk.space import Point, VectorSpace

app = typer.Typer(no_args_is_help=True, help="Make, inspect and verify spaces of vectors.")

LONGEST = 300  # characters of a metadata value that are printed

Folder = Annotated[Path, typer.Argument(help="Folder of a space.")]
Expression = Annotated[str, typer.Argument(help="Title, id, or expression such as \"lerp('A', 'B', 0.5)\".")]

app.command("import")(import_)


@app.command()
def encode(
    texts: Annotated[Path, typer.Argument(help="File of texts with metadata: csv, tsv, parquet or jsonl, also .gz.")],
    out: Out,
    name: Annotated[str, typer.Option("--name", help="Name of the space and of its slot, e.g. film.")],
    encoder: Annotated[
        str, typer.Option("--encoder", help="Text encoder: minilm, or a sentence transformer by folder or owner/name.")
    ] = "minilm",
    text: Annotated[str, typer.Option("--text", help="Column that holds the texts.")] = "text",
    id_column: IdColumn = None,
    list_column: ListColumn = [],  # noqa: B006
    null: Null = [],  # noqa: B006
    extract: Extract = [],  # noqa: B006
    rename: Rename = [],  # noqa: B006
    missing: Annotated[
        str, typer.Option("--missing", help="What to do with rows without a text: error or drop.")
    ] = "error",
    metric: Annotated[
        str, typer.Option("--metric", help="Similarity of two vectors: cosine, dot or euclidean.")
    ] = "cosine",
    split_by: Annotated[
        str | None,
        typer.Option(
            "--split-by", help="Column whose hash decides the split. Default: the title if there is one, else the id."
        ),
    ] = None,
    licence: Licence = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode texts into a space with a text encoder. If it was interrupted, the same command resumes it."""
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
            columns=columns_of(list_column, null, extract, rename),
            missing=missing,  # type: ignore[arg-type] # checked there
            metric=metric,  # type: ignore[arg-type]
            split_by=split_by,
            licence=licence,
            overwrite=overwrite,
            tell=lambda message: note(message, quiet),
            progress=lambda done, total: bar.update(job, completed=done, total=total),
        )
    show_card(card_of(space, out), as_json)


@app.command()
def factorize(
    ratings: Annotated[Path, typer.Argument(help="File of ratings, plays or clicks: a text file, parquet or json.")],
    out: Out,
    items: Annotated[
        Path | None, typer.Option("--items", help="Table with the metadata of the items, joined by id.")
    ] = None,
    id_column: IdColumn = None,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    rating_column: RatingColumn = None,
    separator: Separator = None,
    header: Header = None,
    valid: Valid = [],  # noqa: B006
    repeated: Repeated = None,
    list_column: ListColumn = [],  # noqa: B006
    null: Unrated = [],  # noqa: B006
    extract: Extract = [],  # noqa: B006
    rename: Rename = [],  # noqa: B006
    item_name: Annotated[str, typer.Option("--item-name", help="Name of the item space, e.g. film.")] = "item",
    user_name: Annotated[str, typer.Option("--user-name", help="Name of the user space.")] = "user",
    holdout: Annotated[
        float, typer.Option("--holdout-ratings", help="Share of each user's ratings to hold out for evaluation.")
    ] = 0.2,
    min_ratings: Annotated[
        int, typer.Option("--min-ratings", help="Leave out items with fewer training ratings than this.")
    ] = 5,
    dim: Annotated[int, typer.Option("--dim", help="Number of dimensions of the vectors.")] = 64,
    feedback: Annotated[
        str, typer.Option("--feedback", help="What a rating means: implicit (clicks, plays) or explicit (stars).")
    ] = "implicit",
    iterations: Annotated[int, typer.Option("--iterations", help="Number of passes over items and users.")] = 15,
    l2: Annotated[float, typer.Option("--l2", help="Strength of the L2 regularisation.")] = 5.0,
    scale_l2: Annotated[
        bool, typer.Option("--scale-l2", help="Multiply the regularisation by each row's number of ratings.")
    ] = False,
    unobserved: Annotated[
        float, typer.Option("--unobserved", help="Weight of pairs without a rating (implicit feedback).")
    ] = 0.1,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Weight of a rated pair is 1 + alpha * rating (implicit feedback).")
    ] = 0.0,
    biases: Annotated[
        bool, typer.Option("--biases/--no-biases", help="Fit a bias for each item and user (explicit feedback).")
    ] = True,
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
        factors = rooms.factorize(
            ratings,
            out,
            items=items,
            config=config,
            columns=columns_of(list_column, null, extract, rename),
            id_name=id_column,
            user_column=user_column,
            item_column=item_column,
            rating_column=rating_column,
            separator=separator,
            header=header,
            valid=valid,
            repeated=repeated,  # type: ignore[arg-type]
            holdout=holdout,
            min_ratings=min_ratings,
            item_name=item_name,
            user_name=user_name,
            licence=licence,
            overwrite=overwrite,
            on_iteration=lambda number, loss: bar.update(job, completed=number, note=f"loss {loss:.6g}"),
            tell=lambda message: note(message, quiet),
        )
    figures = factors.summary
    summary = (
        f"{figures['items']} items and {figures['users']} users, {dim} dimensions, {feedback} feedback\n"
        f"{figures['ratings_train']} training ratings, {figures['ratings_test']} held out before the factorisation\n"
        f"left out: {figures['items_dropped']} items with fewer than {min_ratings} training ratings, "
        f"{figures['users_dropped']} users\n{out / 'items'}  {out / 'users'}"
    )
    emit({"out": str(out), **figures}, summary, as_json)


@app.command()
def info(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Show the size, split, columns and settings of a space."""
    from vectalk.space import VectorSpace

    show_card(card_of(VectorSpace.load(folder), folder), as_json)


@app.command()
def neighbors(
    folder: Folder,
    expression: Expression,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of neighbours to list.")] = 10,
    split: Annotated[
        str | None, typer.Option("--split", help="Search only one split: train, validation or test.")
    ] = None,
    trust_encoder: TrustEncoder = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the nearest entities of a point."""
    space, point = _point(folder, expression, trust_encoder, quiet)
    nearest = _neighbors(space, point, k, split)
    document = {"point": point.source, "notes": point.notes, "neighbors": nearest}
    emit(document, _neighbor_table(point.title, nearest), as_json)


@app.command()
def point(
    folder: Folder,
    expression: Expression,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of neighbours to list.")] = 5,
    trust_encoder: TrustEncoder = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a point: its support, its neighbours and its values."""
    from dataclasses import asdict

    from rich.console import Group
    from rich.text import Text

    space, at = _point(folder, expression, trust_encoder, quiet)
    support, nearest = space.support(at), _neighbors(space, at, k, None)
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
        "notes": at.notes,
        "row": at.row,
        "metadata": metadata,
        "support": asdict(support),
        "neighbors": nearest,
        "values": at.values,
    }
    emit(document, Group(*map(Text, lines), _neighbor_table("neighbours", nearest)), as_json)


app.command()(layout)


@app.command()
def verify(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check that the files of a space did not change after saving. The exit code is 2 if they did."""
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    with progress(quiet) as bar:
        job = bar.add_task("verifying", total=len(space), note="")
        space.verify(lambda done, total: bar.update(job, completed=done, total=total))
    summary = (
        f"{folder}: the {len(space)} vectors, ids and split did not change after saving ({space.fingerprint[:12]})"
    )
    emit({"folder": str(folder), "ok": True, "fingerprint": space.fingerprint}, summary, as_json)


def _point(folder: Path, expression: str, trust_encoder: bool, quiet: bool) -> tuple[VectorSpace, Point]:
    from vectalk.concepts.shelf import FUNCTIONS
    from vectalk.readback import text_functions
    from vectalk.space import VectorSpace

    space = VectorSpace.load(folder)
    point = space.point(expression, {**FUNCTIONS, **text_functions(space, trust_encoder)})
    for message in point.notes:
        note(f"note: {message}", quiet)
    return space, point


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text)} characters)"


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


def _neighbor_table(title: str, nearest: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    named = any(entry["title"] != entry["id"] for entry in nearest)
    table = Table("id", *(["title"] if named else []), "similarity", box=None)
    for entry in nearest:
        names = [entry["id"], entry["title"]] if named else [entry["id"]]
        table.add_row(*map(escape, names), f"{entry['similarity']:.3f}")
    return Group(Text(title), table)

"""What the verbs of `vectalk space` share: options, and how a space is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import emit, pairs

if TYPE_CHECKING:
    from vectalk.space import VectorSpace
    from vectalk.space.importing.tables import Columns

Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
IdColumn = Annotated[str | None, typer.Option("--id-column", help="Column of the ids; guessed if it is clear.")]
ListColumn = Annotated[
    list[str],
    typer.Option(
        "--list-column",
        help="COLUMN:SIGN splits text into a list, e.g. 'genres:|'. COLUMN:FIELD takes one field of the objects in a "
        "list, e.g. 'genres:name'. May be repeated.",
    ),
]
Null = Annotated[list[str], typer.Option("--null", help="Value that means 'unknown', e.g. n/a or -1; may be repeated.")]
Extract = Annotated[
    list[str],
    typer.Option(
        "--extract",
        help=r"NEW=COLUMN:REGEX makes a new column, e.g. 'year=title:\((\d{4})\)\s*$'; may be repeated.",
    ),
]
Rename = Annotated[list[str], typer.Option("--rename", help="OLD=NEW renames a column; may be repeated.")]
Licence = Annotated[str, typer.Option("--licence", help="Note on the licence of the data, stored in the space.")]


def columns_of(list_column: list[str], null: list[str], extract: list[str], rename: list[str]) -> Columns:
    """Return how to prepare the metadata columns, read from the options.

    Raises:
        BadParameter: an option has another form.
    """
    from vectalk.space.importing.tables import Columns

    lists, patterns = {}, {}
    for value in list_column:
        name, sign, separator = value.partition(":")
        if not (name and sign and separator):
            raise typer.BadParameter(
                f"--list-column must be COLUMN:SIGN or COLUMN:FIELD, e.g. 'genres:|', not {value!r}"
            )
        lists[name] = separator
    for name, rest in pairs(extract, "--extract").items():
        source, sign, pattern = rest.partition(":")
        if not (source and sign and pattern):
            raise typer.BadParameter(f"--extract must be NEW=COLUMN:REGEX, not {name}={rest!r}")
        patterns[name] = (source, pattern)
    return Columns(pairs(rename, "--rename"), null, patterns, lists)


def card_of(space: VectorSpace, folder: Path) -> dict[str, Any]:
    """Return size, split, columns and settings of a space, as JSON values."""
    from vectalk.space.split import SPLITS

    return {
        "folder": str(folder),
        "name": space.name,
        "entities": len(space),
        "dim": space.dim,
        "dtype": str(space.vectors.dtype),
        "metric": space.metric,
        "split_by": space.split_by,
        "split_rule": space.split_rule,
        "splits": {name: len(space.rows(name)) for name in SPLITS},
        "columns": {name: str(space.column(name).type) for name in space.column_names},
        "fingerprint": space.fingerprint,
        "licence": space.licence,
        "encoder": space.encoder,
    }


def show_card(card: dict[str, Any], as_json: bool) -> None:
    """Print the card of a space (see `card_of`)."""
    splits = ", ".join(f"{count} {name}" for name, count in card["splits"].items())
    columns = ", ".join(f"{name} ({kind})" for name, kind in card["columns"].items())
    summary = (
        f"{card['name']}: {card['entities']} entities, {card['dim']} dimensions, "
        f"{card['dtype']}, {card['metric']}\n"
        f"split by {card['split_by']}: {splits}\ncolumns: {columns}\n"
        f"fingerprint {card['fingerprint'][:12]}, {card['folder']}"
        + (f"\ntexts encoded by {card['encoder']}" if card["encoder"] else "")
        + (f"\nlicence: {card['licence']}" if card["licence"] else "")
    )
    emit(card, summary, as_json)

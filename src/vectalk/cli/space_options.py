"""What the verbs of `vectalk space` share: options that several take, and how a space is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import emit, pairs

if TYPE_CHECKING:
    from vectalk.space import VectorSpace
    from vectalk.space.importing.tables import Columns

Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
IdColumn = Annotated[str | None, typer.Option("--id-column", help="Column of the ids; guessed where it is clear.")]
ListColumn = Annotated[
    list[str],
    typer.Option(
        "--list-column",
        help="COLUMN:SIGN splits text into a list, e.g. 'genres:|'; COLUMN:FIELD takes a field of the objects in a "
        "list, e.g. 'genres:name'.",
    ),
]
Null = Annotated[list[str], typer.Option("--null", help="What stands for unknown, e.g. '(no genres listed)' or -1.")]
Extract = Annotated[
    list[str],
    typer.Option("--extract", help=r"NEW=COLUMN:REGEX makes a column, e.g. 'year=title:\((\d{4})\)\s*$'."),
]
Rename = Annotated[list[str], typer.Option("--rename", help="OLD=NEW renames a column.")]
Licence = Annotated[str, typer.Option("--licence", help="A note that travels with the space.")]


def columns_of(list_column: list[str], null: list[str], extract: list[str], rename: list[str]) -> Columns:
    """Return how metadata columns are prepared, from the options that say so."""
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


def card_of(space: VectorSpace, folder: Path) -> dict[str, Any]:
    """Return what a space holds, for `emit`."""
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
    """Print what a space holds."""
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

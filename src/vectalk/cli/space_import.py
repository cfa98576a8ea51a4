"""`vectalk space import`: make a space from files of vectors, ids and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, emit, note
from vectalk.cli.space_options import (
    Extract,
    IdColumn,
    Licence,
    ListColumn,
    Null,
    Rename,
    card_of,
    columns_of,
    show_card,
)

SEPARATORS = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="Vectors: an array (.npy, .npz, .safetensors), a table (.parquet, .csv, ...) or a folder of parts."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the space and of its slot, e.g. film.")] = None,
    ids: Annotated[
        Path | None,
        typer.Option("--ids", help="File with the id of each vector, in the order of the vectors: csv, txt, npy, ..."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="Array, tensor or column of the vectors, or 'dim_*' if each dimension has a column."
        ),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option("--metadata", help="Table with metadata, joined by id: csv, parquet, ...")
    ] = None,
    id_column: IdColumn = None,
    list_column: ListColumn = [],  # noqa: B006 - typer reads defaults, nobody changes them
    null: Null = [],  # noqa: B006
    extract: Extract = [],  # noqa: B006
    rename: Rename = [],  # noqa: B006
    separator: Annotated[
        str | None,
        typer.Option(
            "--separator",
            help="Separator of the columns of text tables, e.g. '::', '|', ';' or tab. Recognised when omitted.",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", help="Encoding of text tables that are not in UTF-8, e.g. cp1251 or shift_jis."),
    ] = None,
    column_names: Annotated[
        str | None,
        typer.Option("--column-names", help="Column names of text tables without a header, e.g. 'id,title,genres'."),
    ] = None,
    missing: Annotated[
        str, typer.Option("--missing", help="What to do with vectors without metadata: error, drop or keep.")
    ] = "error",
    drop_bad_rows: Annotated[
        bool,
        typer.Option(
            "--drop-bad-rows",
            help="Leave out rows without a vector, and vectors with NaN, with infinity or with only zeros.",
        ),
    ] = False,
    metric: Annotated[
        str, typer.Option("--metric", help="Similarity of two vectors: cosine, dot or euclidean.")
    ] = "cosine",
    split_by: Annotated[
        str | None,
        typer.Option(
            "--split-by", help="Column whose hash decides the split. Default: the title if there is one, else the id."
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="Type in which vectors are stored: float32 or float16.")
    ] = "float32",
    licence: Licence = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how the first rows are read, and write nothing.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a space from files of vectors, ids and metadata."""
    from vectalk.files import check_free
    from vectalk.space.importing.preview import preview
    from vectalk.space.importing.readers import take
    from vectalk.space.importing.table_shape import Layout

    if not dry_run and (out is None or name is None):
        raise typer.BadParameter(
            "give --out (the folder to write) and --name (the name of the space, e.g. film), or --dry-run"
        )
    if out is not None and not dry_run:
        check_free(out, "space.json", overwrite=overwrite)  # fail before the work, not after it
    names = None if column_names is None else [part.strip() for part in column_names.split(",")]
    notes: list[str] = []

    def tell(message: str) -> None:
        notes.append(message)
        note(message, quiet)

    imported = take(
        source,
        key=key,
        ids=ids,
        metadata=metadata,
        id_name=id_column,
        columns=columns_of(list_column, null, extract, rename),
        missing=missing,  # type: ignore[arg-type] # checked there
        drop_bad_rows=drop_bad_rows,
        dtype=dtype,  # type: ignore[arg-type]
        layout=Layout(SEPARATORS.get(separator or "", separator), encoding, names),
        tell=tell,
    )
    space = imported.space(
        name or "item",
        metric=metric,  # type: ignore[arg-type]
        split_by=split_by,
        licence=licence,
        tell=tell,
    )
    if dry_run:
        document = preview(imported)
        emit({**document, "notes": notes}, _preview_table(document), as_json)
    elif out is not None:
        show_card(card_of(space.save(out, overwrite=overwrite), out), as_json)


def _preview_table(document: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    rows = Table("id", "title", "vector", box=None)
    for row in document["rows"]:
        values = ", ".join(f"{value:g}" for value in row["values"])
        more = ", ..." if row["vector"] > len(row["values"]) else ""
        title = "-" if row["title"] is None else _short(row["title"])
        rows.add_row(escape(_short(row["id"])), escape(title), escape(f"{row['vector']} numbers: {values}{more}"))
    columns = Table("column", "kind", "known", "e.g.", box=None)
    for name, column in document["columns"].items():
        example = "" if column["example"] is None else _short(str(column["example"]))
        columns.add_row(escape(name), column["kind"], f"{column['known']} of {document['entities']}", escape(example))
    end = f"{document['entities']} entities with {document['dim']} dimensions; nothing was written"
    return Group(rows, Text(""), columns, Text(""), Text(end))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:60]}..."

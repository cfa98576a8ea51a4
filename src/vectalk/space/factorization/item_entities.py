"""Join the metadata of the rated items by id, from a table or a text file in a usual layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.checks import repeated
from vectalk.space.factorization.delimited import Delimited, is_number
from vectalk.space.factorization.rating_table import is_stored
from vectalk.space.importing.canonical import id_text
from vectalk.space.importing.spelling import spelling_hint
from vectalk.space.importing.table_files import kind_of
from vectalk.space.importing.tables import Columns, guess_id, id_column, read_table

# The columns of u.item, the films of MovieLens 100k: five, and a flag for each genre.
FILM = ("id", "title", "release_date", "video_release_date", "imdb_url")
GENRES = (
    "unknown",
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def item_entities(
    ids: pa.Array,
    items: str | Path | pa.Table | None,
    columns: Columns,
    id_name: str | None,
    tell: Callable[[str], None],
) -> pa.Table:
    """Return the entities of the items, in the order of `ids`; an item without metadata has nulls, and its id as title.

    Args:
        ids: ids [I] of the rated items.
        items: their metadata.
        columns: how to prepare the columns.
        id_name: the column of ids, if it cannot be guessed.
        tell: called with the columns that were recognised, and with the number of items with metadata.

    Raises:
        SpaceError: the ids are missing or repeated, or no rated item is among them.
    """
    if items is None:
        return columns.apply(pa.table({"id": ids}), "the ratings (no --items given)")
    where = "the items" if isinstance(items, pa.Table) else str(items)
    table = items if isinstance(items, pa.Table) else _read(Path(items), id_name, tell)
    source = "id" if id_name is not None and is_number(id_name) and id_name not in table.column_names else id_name
    source = id_column(table, source, where, "--id-column")
    table = columns.apply(table.rename_columns(["id" if n == source else n for n in table.column_names]), where)
    try:
        keys = id_text(table["id"]).combine_chunks()
    except SpaceError as error:
        raise SpaceError(f"{where}: column {source!r} does not contain ids: {error}") from None
    if again := repeated(pc.drop_null(keys)):
        raise SpaceError(
            f"{where}: column {source!r} has ids more than once: {', '.join(map(repr, again[:3]))}; keep one row for "
            "each item"
        )
    at = pc.index_in(ids, keys)
    hint = spelling_hint(ids.filter(pc.is_null(at)), keys) if at.null_count else ""
    if at.null_count == len(ids):
        rated, there = (", ".join(map(repr, some[:3].to_pylist())) for some in (ids, keys))
        raise SpaceError(
            f"{where}: none of the {len(ids)} rated items ({rated}, ...) is in column {source!r} ({there}, ...)"
            f"{hint or '; name another column with --id-column'}"
        )
    tell(f"{where}: {len(ids) - at.null_count} of {len(ids)} rated items have metadata, joined by column {source!r}")
    if hint:
        tell(f"note: {at.null_count} rated items have no metadata{hint}")
    arrays = {name: table[name].combine_chunks().take(at) for name in table.column_names if name not in ("id", "split")}
    if "title" in arrays:  # an item without metadata keeps its id as a name
        arrays["title"] = pc.coalesce(arrays["title"].cast(pa.string()), ids)
    return pa.table({"id": ids, **arrays})


def _read(path: Path, id_name: str | None, tell: Callable[[str], None]) -> pa.Table:
    text = ("id", "title", *([id_name] if id_name else []))
    if is_stored(path) or not path.is_file():
        return read_table(path, text)
    file = Delimited.open(path, lambda name: name.lower() in text, unsure=True)
    if file.header and kind_of(path) in ("csv", "tsv") and file.separator in ",;\t":
        return read_table(path, text)
    if file.header:
        if len(set(file.names)) < len(file.names):
            raise SpaceError(f"{path}: two columns have the same name; the columns are {', '.join(file.names)}")
        tell(f"{path}: {file}")
        columns = [name for name in file.names if name in (*text, guess_id(file.names))]
        return file.read({name: at for at, name in enumerate(file.names)}, columns)
    names = _names(file, id_name, path)
    words = ", ".join(f"{new} from column {old!r}" for new, old in zip(names, file.names, strict=True) if new != old)
    tell(f"{path}: {file}: {words}")
    table = file.read({name: at for at, name in enumerate(names)}, ("id", "title"))
    return _with_genres(table) if GENRES[1] in names else table


def _names(file: Delimited, id_name: str | None, path: Path) -> list[str]:
    """Return names for the columns of a file without a header: id, and title and genres if they can be recognised."""
    if _has_flags(file):
        return [*FILM, *GENRES]
    names = list(file.names)
    if id_name is not None and id_name not in names:
        raise SpaceError(
            f"{path} has no column {id_name!r}; it has no header, so its columns are called 1 to {names[-1]}"
        )
    at = 0 if id_name is None else names.index(id_name)
    names[at] = "id"

    looks: dict[str, Callable[[str], bool]] = {
        "title": lambda cell: bool(cell) and not is_number(cell),
        "genres": lambda cell: "|" in cell,
    }
    for name, fits in looks.items():
        for place in (place for place, other in enumerate(names) if is_number(other)):
            if any(fits(row[place]) for row in file.sample if place < len(row)):
                names[place] = name
                break
    return names


def _has_flags(file: Delimited) -> bool:
    rows = [row[len(FILM) :] for row in file.sample]
    return file.separator == "|" and all(len(row) == len(GENRES) and set(row) <= {"0", "1"} for row in rows)


def _with_genres(table: pa.Table) -> pa.Table:
    """Replace the flags of the genres by a list of genres; an unknown genre is an empty list."""
    flags = np.stack([table[name].to_numpy() for name in GENRES[1:]], axis=1)
    lists = [[name for name, flag in zip(GENRES[1:], row, strict=True) if flag] for row in flags]
    return table.select(FILM).append_column("genres", pa.array(lists, pa.list_(pa.string())))

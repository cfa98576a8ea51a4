"""Semantic spaces: texts turned into vectors by a sentence encoder, and texts as points of such a space."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.files import atomic_file, check_free
from vectalk.readback.encoder import SentenceEncoder, full_name, get_encoder, named_encoder
from vectalk.readback.identity import encoder_identity
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import Function, Name
from vectalk.space.importing.readers import with_id
from vectalk.space.importing.tables import Columns, column, guess_id, is_text, read_table
from vectalk.space.neighbors import Metric

BLOCK = 1024  # texts of a shard; at most one shard is lost when the process is killed

Missing = Literal["error", "drop"]


def encode_space(
    source: str | Path,
    out: str | Path,
    *,
    name: str,
    encoder: str = "minilm",
    text: str = "text",
    id_name: str | None = None,
    columns: Columns | None = None,
    missing: Missing = "error",
    metric: Metric = "cosine",
    split_by: str | None = None,
    licence: str = "",
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda message: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VectorSpace:
    """Encode texts into a space, and keep them as a column of its entities.

    After an interruption, a call with the same texts resumes: finished shards are in a hidden folder next to `out`,
    whose name is a hash of encoder and texts.

    Args:
        source: csv, tsv, parquet or jsonl (`.gz` too) with a column of texts and columns of metadata.
        out: new folder.
        name: name of the space, e.g. `film`.
        encoder: `minilm`, or a sentence transformer by folder or hub name.
        text: column of the texts, after the columns were prepared.
        id_name: column of the ids, where it cannot be guessed; without any, rows are numbered.
        columns: how the metadata columns are prepared.
        missing: entities without a text: `error`, or `drop` them.
        metric: similarity measure of the neighbours.
        split_by: column whose hash decides the split (`title` where there is one, else `id`).
        licence: licence note that is saved with the space.
        overwrite: replace an existing space.
        tell: called with notes for the user.
        progress: called with the number of encoded texts and the total.

    Raises:
        SpaceError: the file or one of its columns is not suitable.
        EvaluationError: the encoder cannot be loaded.
    """
    out = Path(out)
    check_free(out, "space.json", overwrite=overwrite)
    table = _entities(source, text, id_name, columns or Columns(), missing, tell)
    sentence_encoder = get_encoder(encoder)
    if not isinstance(sentence_encoder, SentenceEncoder):
        raise SpaceError(f"encoder {encoder!r} is fitted to texts; a space needs a frozen one, such as minilm")
    texts = table[text].to_pylist()
    long = sentence_encoder.too_long(texts)
    if long:
        tell(
            f"{long} of {len(texts)} texts have more than the {sentence_encoder.longest} tokens that {encoder} reads: "
            "the rest of each text is not encoded"
        )
    shards = _shards(out, encoder, texts)
    vectors = _encode(sentence_encoder, texts, shards, tell, progress)
    if split_by is None:
        split_by = "title" if "title" in table.column_names else "id"
    space = VectorSpace.create(
        name, vectors, table, metric=metric, split_by=split_by, licence=licence, encoder=full_name(encoder)
    ).save(out, overwrite=overwrite)
    shutil.rmtree(shards)
    return space


def text_functions(space: VectorSpace, trust_encoder: bool = False) -> dict[str, Function]:
    """Return the function `text("...")` for expressions, where a text encoder made the space; else nothing.

    Args:
        space: the space.
        trust_encoder: load the encoder that the space names even if vectalk does not know it.
    """
    if space.encoder is None:
        return {}

    def text_point(space: VectorSpace, text: Any) -> Point:
        return encode_text(space, text, trust_encoder=trust_encoder)

    return {"text": text_point}


def encode_text(space: VectorSpace, text: Any, *, trust_encoder: bool = False) -> Point:
    """Return the point of a text in a space that a text encoder made."""
    words = in_quotes(text)
    if space.encoder is None:
        raise SpaceError(f"space {space.name!r} was made by no text encoder, so a text has no place in it")
    vector = named_encoder(space.encoder, f"space {space.name!r}", trust_encoder).encode([words])[0]
    if len(vector) != space.dim:
        raise SpaceError(
            f"encoder {space.encoder!r} gives {len(vector)} dimensions, space {space.name!r} has {space.dim}: "
            "it is not the encoder that made the space"
        )
    return Point(vector, space, source_of(words))


def in_quotes(text: Any) -> str:
    """Return the text argument of `text("...")`.

    Raises:
        TypeError: the argument is not a quoted text.
    """
    if not isinstance(text, Name):
        raise TypeError('expected a text in quotes, e.g. text("a sad film about a dog")')
    return text.text


def source_of(text: str) -> str:
    """Return the expression that gives the point of a text."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'text("{escaped}")'


def _entities(
    source: str | Path,
    text: str,
    id_name: str | None,
    columns: Columns,
    missing: str,
    tell: Callable[[str], None],
) -> pa.Table:
    """Return the prepared table, each row with an id and a text."""
    if missing not in ("error", "drop"):
        raise SpaceError(f"missing must be error or drop, not {missing!r}")
    where = str(source)
    table = read_table(source, ("id", "title", text, *([id_name] if id_name else [])))
    if id_name is None and guess_id(table.column_names) is None:
        tell(f"{where}: no column of ids is named (--id-column): rows are numbered")
        table = table.add_column(0, "id", pa.array([str(row) for row in range(table.num_rows)]))
    table = columns.apply(with_id(table, id_name, where), where)
    texts = table[column(table, text, where)]
    if not is_text(texts.type):
        raise SpaceError(f"{where}: column {text!r} holds {texts.type}, not texts")
    without = np.flatnonzero(np.asarray(pc.is_null(texts)))
    if len(without) and missing == "error":
        first = ", ".join(repr(table["id"][int(row)].as_py()) for row in without[:3])
        raise SpaceError(
            f"{where}: {len(without)} of {table.num_rows} rows have no {text!r} (ids {first}"
            f"{', ...' if len(without) > 3 else ''}); leave them out with --missing drop"
        )
    if len(without):
        tell(f"{len(without)} of {table.num_rows} rows have no {text!r}: dropped")
        table = table.filter(pc.is_valid(texts))
    if not table.num_rows:
        raise SpaceError(f"{where} holds no text in column {text!r}")
    return table


def _shards(out: Path, encoder: str, texts: list[str]) -> Path:
    """Return the folder of the shards of just these texts."""
    digest = hashlib.sha256(encoder_identity(encoder).encode())
    for one in texts:
        digest.update(b"\0" + one.encode())
    return out.parent / f".{out.name}.{digest.hexdigest()[:16]}.encoding"


def _encode(
    encoder: SentenceEncoder,
    texts: list[str],
    folder: Path,
    tell: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Return the vectors [N, E]; texts of one length are encoded together, so that little of a batch is padding."""
    order = np.argsort([len(one) for one in texts], kind="stable")
    folder.mkdir(parents=True, exist_ok=True)
    finished = sum(1 for _ in folder.glob("[0-9]*.npy"))
    if finished:
        tell(f"resumed with {min(finished * BLOCK, len(texts))} of {len(texts)} texts encoded")
    parts = []
    for start in range(0, len(texts), BLOCK):
        shard = folder / f"{start // BLOCK:06d}.npy"
        if not shard.is_file():
            with atomic_file(shard) as temporary:
                np.save(temporary, encoder.compute([texts[i] for i in order[start : start + BLOCK]]))
        parts.append(np.load(shard))
        progress(min(start + BLOCK, len(texts)), len(texts))
    sorted_vectors = np.concatenate(parts)
    vectors = np.empty_like(sorted_vectors)
    vectors[order] = sorted_vectors
    return vectors


def made_by(spaces: Mapping[str, VectorSpace]) -> str | None:
    """Return the text encoder that made all of some spaces, or None where they have no common encoder."""
    makers = {space.encoder for space in spaces.values()}
    return makers.pop() if len(makers) == 1 else None

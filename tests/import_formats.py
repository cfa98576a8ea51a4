"""One table written in each format that can hold its vectors, or its metadata."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from safetensors.numpy import save_file


class Table(NamedTuple):
    """A table; `order` is that of the rows in the file of metadata."""

    ids: list[Any]
    titles: list[str | None]
    tags: list[list[str]]
    vectors: np.ndarray
    order: list[int]

    @property
    def rows(self) -> list[dict[str, Any]]:
        columns = zip([str(one) for one in self.ids], self.titles, self.tags, strict=True)
        rows = [{"id": name, "title": title, "tags": tags} for name, title, tags in columns]
        return [rows[place] for place in self.order]


# ---- files of vectors


def npy_and_ids(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    np.save(folder / "v.npy", table.vectors)
    (folder / "ids.txt").write_text("".join(f"{one}\n" for one in table.ids), encoding="utf-8")
    return folder / "v.npy", {"ids": folder / "ids.txt"}


def npy_parts(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    (folder / "parts").mkdir()
    for place, vector in enumerate(table.vectors):  # `2` before `10`
        np.save(folder / "parts" / f"part_{place + 5}.npy", vector[None])
    (folder / "ids.json").write_text(json.dumps(list(map(str, table.ids))))
    return folder / "parts", {"ids": folder / "ids.json"}


def npz(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    np.savez(folder / "v.npz", vectors=table.vectors, ids=np.array(table.ids))
    return folder / "v.npz", {}


def safetensors(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    if not all(isinstance(one, int) for one in table.ids):
        return npz(table, folder)  # holds numbers alone
    save_file({"vectors": table.vectors, "ids": np.array(table.ids)}, folder / "v.safetensors")
    return folder / "v.safetensors", {}


def arrow_column(kind: str, vectors: np.ndarray) -> pa.Array:
    flat, dim = pa.array(vectors.ravel()), vectors.shape[1]
    fixed = pa.FixedSizeListArray.from_arrays(flat, dim)
    return {
        "list": pa.array(list(vectors), pa.list_(pa.float32())),
        "fixed": fixed,
        "tensor": pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [1, dim]), fixed),
        "nested": pa.array([[list(map(float, v))] for v in vectors], pa.list_(pa.list_(pa.float32()))),
        "struct": pa.StructArray.from_arrays([pa.array(c) for c in vectors.T], [f"d{n}" for n in range(dim)]),
        "text": pa.array([json.dumps([float(x) for x in v]) for v in vectors]),
    }[kind]


def parquet(kind: str) -> Callable[[Table, Path], tuple[Path, dict[str, Any]]]:
    def write(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
        ids = pa.array(table.ids)
        ids = ids.dictionary_encode() if kind == "list" else ids
        columns = pa.table({"id": ids, "v": arrow_column(kind, table.vectors)})
        pq.write_table(columns, folder / "v.parquet", row_group_size=3)
        return folder / "v.parquet", {}

    return write


def arrow(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    columns = pa.table({"id": pa.array(table.ids), "v": arrow_column("fixed", table.vectors)})
    with pa.ipc.new_stream(folder / "v.arrow", columns.schema) as writer:
        writer.write_table(columns, max_chunksize=2)
    return folder / "v.arrow", {}


def feather(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    columns = pa.table({"id": pa.array(table.ids), "v": arrow_column("list", table.vectors)})
    pyarrow.feather.write_feather(columns, folder / "v.feather")
    return folder / "v.feather", {}


def parts(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    (folder / "parts").mkdir()
    for place, (name, vector) in enumerate(zip(table.ids, table.vectors, strict=True)):
        row = pa.table({"id": [name], "v": [vector], "note": pa.array(["x"] if place % 2 else [None])})
        pq.write_table(row, folder / "parts" / f"train-{place}.parquet")
    return folder / "parts", {}


def printed(kind: str) -> Callable[[Table, Path], tuple[Path, dict[str, Any]]]:
    def write(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
        form = {
            "numpy": lambda v: "[" + " ".join(map(str, v)) + "]",
            "json": lambda v: json.dumps([float(x) for x in v]),
            "bare": lambda v: " ".join(map(repr, v.tolist())),
        }[kind]
        with (folder / "v.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([["id", "v"], *([one, form(v)] for one, v in zip(table.ids, table.vectors, strict=True))])
        return folder / "v.csv", {"key": "v"}

    return write


def wide(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
    with (folder / "v.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *range(table.vectors.shape[1])])
        writer.writerows([one, *v.tolist()] for one, v in zip(table.ids, table.vectors, strict=True))
    return folder / "v.csv", {}


def json_rows(shape: str) -> Callable[[Table, Path], tuple[Path, dict[str, Any]]]:
    def write(table: Table, folder: Path) -> tuple[Path, dict[str, Any]]:
        pairs = [(one, [float(x) for x in v]) for one, v in zip(table.ids, table.vectors, strict=True)]
        points = [{"id": one, "payload": {"x": 1}, "vector": {"image": v}} for one, v in pairs]
        replies = [{"custom_id": i, "response": {"body": {"data": [{"embedding": v}]}}, "id": "r"} for i, v in pairs]
        lines = {
            "lines": "\n".join(json.dumps({"id": one, "v": v}) for one, v in pairs),
            "list": json.dumps([{"id": one, "v": v} for one, v in pairs]),
            "chroma": json.dumps({"ids": [one for one, _ in pairs], "embeddings": [v for _, v in pairs]}),
            "qdrant": json.dumps({"result": {"points": points}, "status": "ok"}),
            "batch": "\n".join(map(json.dumps, replies)),
        }[shape]
        (folder / "v.json").write_text(lines)
        return folder / "v.json", {}

    return write


VECTORS = {
    "npy": npy_and_ids,
    "npy parts": npy_parts,
    "npz": npz,
    "safetensors": safetensors,
    **{f"parquet {kind}": parquet(kind) for kind in ("list", "fixed", "tensor", "nested", "struct", "text")},
    "arrow": arrow,
    "feather": feather,
    "parts": parts,
    **{f"csv {kind}": printed(kind) for kind in ("numpy", "json", "bare")},
    "csv wide": wide,
    **{f"json {shape}": json_rows(shape) for shape in ("lines", "list", "chroma", "qdrant", "batch")},
}


# ---- files of metadata

FACTS = pa.schema([("id", pa.string()), ("title", pa.string()), ("tags", pa.list_(pa.string()))])


def delimited(sign: str, encoding: str, end: str, quoting: int) -> Callable[[Table, Path], Path]:
    def write(table: Table, folder: Path) -> Path:
        rows = [[r["id"], r["title"] or "", json.dumps(r["tags"], ensure_ascii=False)] for r in table.rows]
        text = io.StringIO()
        csv.writer(text, delimiter=sign, lineterminator=end, quoting=quoting).writerows(
            [["id", "title", "tags"], *rows]
        )
        (folder / "f.csv").write_bytes(text.getvalue().encode(encoding))
        return folder / "f.csv"

    return write


def gzipped(table: Table, folder: Path) -> Path:
    path = delimited(",", "utf-8", "\n", csv.QUOTE_MINIMAL)(table, folder)
    (folder / "f.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder / "f.csv.gz"


def backslashes(table: Table, folder: Path) -> Path:
    """As MySQL and PHP write it: a backslash before each quotation mark."""

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '\\"') + '"'

    lines = [";".join(map(quoted, (r["id"], r["title"] or "", "|".join(r["tags"])))) for r in table.rows]
    (folder / "f.csv").write_bytes("\n".join(["id;title;tags", *lines]).encode())
    return folder / "f.csv"


def unquoted(sign: str, ending: str) -> Callable[[Table, Path], Path]:
    """As databases dump tables: no quotation marks around anything, and `\\N` for what is unknown."""

    def write(table: Table, folder: Path) -> Path:
        lines = [sign.join((r["id"], r["title"] or "\\N", ",".join(r["tags"]))) for r in table.rows]
        (folder / ending).write_bytes("\n".join([sign.join(("id", "title", "tags")), *lines, ""]).encode())
        return folder / ending

    return write


def jsonl(table: Table, folder: Path) -> Path:
    (folder / "f.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in table.rows), "utf-8")
    return folder / "f.jsonl"


def objects(table: Table, folder: Path) -> Path:
    rows = [{**row, "tags": [{"id": n, "name": tag} for n, tag in enumerate(row["tags"])]} for row in table.rows]
    (folder / "f.json").write_text(json.dumps(rows))
    return folder / "f.json"


def frame(table: Table, folder: Path) -> Path:
    columns = {name: {str(n): row[name] for n, row in enumerate(table.rows)} for name in FACTS.names}
    (folder / "f.json").write_text(json.dumps(columns))
    return folder / "f.json"


def large(table: Table, folder: Path) -> Path:
    wide = pa.schema([("id", pa.large_string()), ("title", pa.large_string()), ("tags", pa.large_list(pa.string()))])
    pq.write_table(pa.Table.from_pylist(table.rows, wide), folder / "f.parquet")
    return folder / "f.parquet"


METADATA = {
    "comma": delimited(",", "utf-8", "\n", csv.QUOTE_MINIMAL),
    "semicolon": delimited(";", "utf-8-sig", "\r\n", csv.QUOTE_MINIMAL),
    "all quoted": delimited(",", "utf-16", "\r\n", csv.QUOTE_ALL),
    "tab": delimited("\t", "utf-8", "\n", csv.QUOTE_ALL),
    "gzipped": gzipped,
    "backslashes": backslashes,
    "unquoted tab": unquoted("\t", "f.tsv"),
    "unquoted ::": unquoted("::", "f.dat"),
    "unquoted |": unquoted("|", "f.csv"),
    "jsonl": jsonl,
    "objects": objects,
    "frame": frame,
    "large": large,
}

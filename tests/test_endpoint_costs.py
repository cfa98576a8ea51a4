"""Replies of an endpoint cost money: nothing is paid twice, nothing beyond the budget."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import Answer, ask, client_of, say, serving
from vectalk.errors import BudgetError, TeacherError
from vectalk.llm import Budget, ReplyCache
from vectalk.llm.replies import reply_key
from vectalk.llm.spending import estimated_tokens

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")


# ---- the cache


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    with serving() as fake:
        for run in range(2):
            with client_of(fake, tmp_path / "cache", concurrency=4) as client:
                replies = ask(client, *(f"{n % 5}" for n in range(20)))
                assert len({reply.text for reply in replies}) == 1
                assert client.meter.spending.requests == (0 if run else 5)
    assert len(fake.requests) == 5


def test_the_key_holds_all_that_decides_a_reply_and_no_address() -> None:
    keys = {
        reply_key("m", say("Hi"), {}),
        reply_key("n", say("Hi"), {}),
        reply_key("m", say("Ho"), {}),
        reply_key("m", say("Hi"), {"temperature": 1}),
        reply_key("m", say("Hi"), {}, "v2"),
        reply_key("m", say("Hi"), {}, "", 1),
    }
    assert len(keys) == 6
    assert reply_key("m", say("Hi"), {"a": 1, "b": 2}) == reply_key("m", say("Hi"), {"b": 2, "a": 1})


def test_another_address_of_the_same_model_finds_the_replies(tmp_path: Path) -> None:
    with serving() as fake, serving() as other:
        for place in (fake, other):
            with client_of(place, tmp_path / "cache") as client:
                ask(client, "Hi")
        assert (len(fake.requests), len(other.requests)) == (1, 0)


def test_samples_are_asked_apart(tmp_path: Path) -> None:
    with serving() as fake, client_of(fake, tmp_path / "cache") as client:
        for sample in (0, 1, 0, 1):
            ask(client, "Hi", sample=sample)
        assert len(fake.requests) == 2


def test_cached_only_asks_nothing(tmp_path: Path) -> None:
    with serving() as fake:
        with client_of(fake, tmp_path / "cache") as client:
            ask(client, "Hi")
        with client_of(fake, tmp_path / "cache", cached_only=True) as client:
            assert [reply and reply.text for reply in ask(client, "Hi", "Ho")] == [Answer().text, None]
        assert len(fake.requests) == 1


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear diary, " * 500)
    with pytest.raises(TeacherError, match=r"notes\.txt cannot be used: file is not a database"):
        ReplyCache(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text().startswith("Dear diary")
    with sqlite3.connect(tmp_path / "newer") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(TeacherError, match="format 99"):
        ReplyCache(tmp_path / "newer")


def test_a_failure_keeps_what_was_received_and_says_how_to_go_on(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        return Answer() if number < 3 else Answer(status=403, text="no more")

    with (
        serving(answer) as fake,
        client_of(fake, tmp_path / "cache", concurrency=1) as client,
        pytest.raises(
            TeacherError, match=r"403.*The 3 replies in .*cache are kept; run the same command again to continue"
        ),
    ):
        ask(client, *"abcdefgh")


def test_replies_on_their_way_are_awaited_when_another_fails(tmp_path: Path) -> None:
    slow = threading.Event()

    def answer(request: dict[str, Any], number: int) -> Answer:
        if request["messages"][0]["content"] == "bad":
            slow_timer = threading.Timer(0.1, slow.set)
            slow_timer.start()
            return Answer(status=401, text="no")
        return Answer("Slow but paid.", wait=slow)

    with serving(answer) as fake, client_of(fake, tmp_path / "cache", concurrency=4) as client:
        with pytest.raises(TeacherError, match="401"):
            ask(client, "a", "b", "c", "bad", "never asked")
        assert len(client.cache) == 3
    assert len(fake.requests) == 4


# ---- the budget


def test_a_budget_in_tokens_is_never_passed(tmp_path: Path) -> None:
    questions = [f"{n:03} " * 24 for n in range(40)]  # some 30 tokens
    with serving(Answer(usage=(30, 50))) as fake:
        budget = Budget(max_tokens=1000)
        with client_of(fake, tmp_path / "cache", budget, concurrency=8, max_reply_tokens=100) as client:
            with pytest.raises(BudgetError, match=r"of 1000 tokens.*larger budget.*--cached-only"):
                ask(client, *questions)
            asked = client.meter.spending.requests
            assert client.meter.tokens == 80 * asked <= 1000
            assert 1000 - 80 * asked < 180  # and it is used up, but for what one more might have needed
            assert len(client.cache) == asked
        with client_of(fake, tmp_path / "cache", budget, max_reply_tokens=100) as client:
            with pytest.raises(BudgetError):  # also over several runs
                ask(client, *questions)
            assert client.meter.spending.requests == 0
        with client_of(fake, tmp_path / "cache", Budget(max_tokens=100_000), max_reply_tokens=100) as client:
            ask(client, *questions)
        assert max(fake.paid.values()) == 1


def test_a_budget_in_money() -> None:
    budget = Budget(max_cost=0.01, price_input=10, price_output=100)  # a reply of (10, 10) costs 0.0011
    with serving(Answer(usage=(10, 10))) as fake, client_of(fake, None, budget, max_reply_tokens=10) as client:
        with pytest.raises(BudgetError, match=r"of 0\.01 \(max_cost\)"):
            ask(client, *map(str, range(100)))
        assert 7 <= len(fake.requests) <= 9
        assert client.meter.cost == pytest.approx(0.0011 * len(fake.requests))
        assert client.describe()["spending"]["cost"] <= 0.01


def test_a_budget_in_money_needs_prices() -> None:
    with pytest.raises(TeacherError, match=r"needs prices: give price_input and price_output"):
        Budget(max_cost=1.0)
    with pytest.raises(TeacherError, match="max_tokens must be a finite number, at least 0, not -1"):
        Budget(max_tokens=-1)


def test_a_reply_that_was_lost_on_the_way_counts_against_the_budget() -> None:
    budget = Budget(max_tokens=10_000)
    with (
        serving(lambda request, number: Answer(missing=9) if number < 2 else Answer(usage=(10, 10))) as fake,
        client_of(fake, None, budget, max_reply_tokens=100) as client,
    ):
        ask(client, "Hi")
        assert client.meter.spending.lost == 2
        assert 220 < client.meter.tokens < 260  # twice the most that it may have cost, and 20


def test_tokens_are_estimated_where_the_endpoint_counts_none() -> None:
    with serving(Answer("x" * 400, usage=None)) as fake, client_of(fake) as client:
        (reply,) = ask(client, "y" * 800)
    assert not reply.counted
    assert reply.prompt_tokens == round(estimated_tokens(say("y" * 800))) == 208
    assert reply.reply_tokens == 100
    assert client.meter.spending.estimated == 1

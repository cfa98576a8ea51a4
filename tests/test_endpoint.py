"""Chat with an endpoint that misbehaves: no half reply is read, and settings say what is meant."""

import asyncio
import json
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fake_endpoint import Answer, ask, client_of, say, serving
from taught import KEY
from vectalk.errors import TeacherError
from vectalk.llm import ChatClient, Endpoint
from vectalk.llm.http_transport import HTTPTransport
from vectalk.llm.local import LocalModel
from vectalk.llm.pace import Pace, retry_after

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(("m", "http://localhost/v1", "", "3"))
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), PLAIN, max_size=2)
NAMES = st.sampled_from(("model", "base_url", "params", "params.a", "params.max_tokens", "api_key_env", "timeout"))

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")


# ---- one reply


def test_a_reply_is_what_the_endpoint_said() -> None:
    with (
        serving(Answer("Hello.", usage=(7, 3))) as fake,
        client_of(fake, params={"temperature": 0.5}, api_key_env="OPENAI_API_KEY") as client,
    ):
        (reply,) = ask(client, "Hi")
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.reply_tokens) == ("Hello.", "stop", 7, 3)
    assert fake.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "fake",
            "messages": say("Hi"),
            "max_tokens": 400,
            "temperature": 0.5,
        }
    ]
    assert fake.keys == [f"Bearer {KEY}"]


def test_results_keep_the_order_of_the_questions() -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        threading.Event().wait(0.002 * (7 - number % 7))
        return Answer(request["messages"][0]["content"].upper())

    texts = [f"number {n}" for n in range(40)]
    with serving(answer) as fake, client_of(fake, concurrency=8) as client:
        assert [reply.text for reply in ask(client, *texts)] == [text.upper() for text in texts]


def test_no_more_requests_at_a_time_than_allowed() -> None:
    together = threading.Barrier(3)  # passed by three at a time, or never

    def answer(request: dict[str, Any], number: int) -> Answer:
        together.wait(30)
        return Answer()

    with serving(answer) as fake, client_of(fake, concurrency=3) as client:
        ask(client, *map(str, range(24)))
    assert fake.most == 3
    assert client.meter.spending.requests == 24


@pytest.mark.parametrize(
    "broken",
    [
        Answer(body=b'{"choices": [{"mess'),
        Answer(body=b"<html>hello</html>"),
        Answer(body=b'{"choices": []}'),
        Answer("A text that is promised to go on", missing=400),
        Answer(body=b"", missing=10),
        Answer(status=500, text="oh"),
        Answer(status=503, text="busy"),
        Answer(status=429, text="slow down"),
    ],
    ids=["torn", "html", "no-choice", "dies", "nothing", "500", "503", "429"],
)
def test_what_is_no_whole_reply_is_asked_again(broken: Answer, tmp_path: Path) -> None:
    with (
        serving(lambda request, number: broken if number < 2 else Answer("Whole.")) as fake,
        client_of(fake, tmp_path / "cache") as client,
    ):
        (reply,) = ask(client, "Hi")
        assert (reply.text, reply.retries, len(client.cache)) == ("Whole.", 2, 1)
    assert len(fake.requests) == 3


def test_a_stream_is_not_taken_for_a_reply() -> None:
    stream = b'data: {"choices": [{"delta": {"content": "Hal"}, "finish_reason": null}]}\n\n'
    with (
        serving(Answer(body=stream)) as fake,
        client_of(fake, attempts=2) as client,
        pytest.raises(TeacherError, match=r"no reply in 2 attempts.*no complete reply: it is a stream of events"),
    ):
        ask(client, "Hi")
    with pytest.raises(ValueError, match="params cannot set 'stream'"):
        Endpoint(model="m", params={"stream": True})


def test_a_slow_endpoint_times_out_and_is_asked_again() -> None:
    never = threading.Event()
    with (
        serving(lambda request, number: Answer(wait=never) if number == 0 else Answer("Here.")) as fake,
        client_of(fake, timeout=0.3) as client,
    ):
        (reply,) = ask(client, "Hi")
        never.set()
    assert (reply.text, reply.retries, reply.lost) == ("Here.", 1, 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(status=401, text=f"Incorrect API key provided: {KEY}"),
            r"refuses: 401: Incorrect API key.*OPENAI_API_KEY",
        ),
        (Answer(status=404, text="no such model"), "refuses: 404: .*no such model"),
        (Answer(status=400, text="bad temperature"), "refuses: 400: .*bad temperature"),
        (Answer(status=403, text="not for you"), "refuses: 403"),
    ],
)
def test_a_refusal_stops_at_once(answer: Answer, said: str) -> None:
    with serving(answer) as fake, client_of(fake, concurrency=1, api_key_env="OPENAI_API_KEY") as client:
        with pytest.raises(TeacherError, match=said) as stopped:
            ask(client, *"abcdef")
        assert KEY not in str(stopped.value)
    assert len(fake.requests) == 1


def test_an_empty_account_is_not_asked_again() -> None:
    body = json.dumps({"error": {"message": "pay first", "code": "insufficient_quota"}}).encode()
    with (
        serving(Answer(status=429, body=body)) as fake,
        client_of(fake) as client,
        pytest.raises(TeacherError, match=r"refuses: 429: .*pay first"),
    ):
        ask(client, "Hi")
    assert len(fake.requests) == 1


def test_what_the_endpoint_will_not_pass_on_is_no_error_and_not_kept(tmp_path: Path) -> None:
    body = json.dumps({"error": {"message": "indecent", "code": "content_filter"}}).encode()
    with serving(Answer(status=400, body=body)) as fake, client_of(fake, tmp_path / "cache") as client:
        (reply,) = ask(client, "Hi")
        assert (reply.refused, reply.refusal, len(client.cache)) == (True, "indecent", 0)


def test_nobody_listens() -> None:
    with serving() as fake:
        pass
    with (
        client_of(fake, attempts=3) as client,
        pytest.raises(TeacherError, match=r"127\.0\.0\.1:\d+ brought no reply in 3 attempts.*connection was lost"),
    ):
        ask(client, "Hi")
    assert client.meter.tokens == 0  # nothing was sent, so nothing is counted as perhaps paid


# ---- pauses


def test_retry_after_is_honoured_by_all() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with serving(
        lambda request, number: Answer(status=429, headers={"Retry-After": "17"}) if number == 0 else Answer()
    ) as fake:
        transport = HTTPTransport(Endpoint(model="fake", base_url=fake.url))
        reply = asyncio.run(transport.send(say("Hi"), sleep))
        assert reply.retries == 1
        assert 17 <= waits[1] < 18
        assert 16.9 < transport._requests.delay() <= 17  # anybody else waits too


def test_too_long_a_pause_stops_the_work() -> None:
    with (
        serving(Answer(status=429, headers={"Retry-After": "3600"})) as fake,
        client_of(fake) as client,
        pytest.raises(TeacherError, match="asks to wait 3600 s, more than max_wait"),
    ):
        ask(client, "Hi")
    assert len(fake.requests) == 1


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after("2.5") == 2.5
    assert retry_after("Thu, 01 Jan 2026 12:00:30 GMT", now) == 30
    assert retry_after("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert [retry_after(value) for value in (None, "", "soon", "nan")] == [None] * 4


def test_a_pace_spreads_requests_evenly() -> None:
    now = [0.0]
    pace = Pace(30, lambda: now[0])
    assert [pace.delay() for _ in range(4)] == [0, 2, 4, 6]
    now[0] = 100
    assert [pace.delay(3), pace.delay()] == [0, 6]
    pace.hold(50)
    assert pace.delay() == 50
    assert [Pace(None).delay(1e9) for _ in range(3)] == [0, 0, 0]


# ---- settings


def test_no_file_holds_a_key(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("model: m\napi_key: sk-oops\n")
    with pytest.raises(TeacherError, match="keys are read from the environment only") as refused:
        Endpoint.read(tmp_path / "e.yaml")
    assert "sk-oops" not in str(refused.value)
    with pytest.raises(TeacherError, match="params are written into the corpus"):
        Endpoint.read(None, model="m", **{"params.api_key": "sk-oops"})


def test_what_is_told_of_an_endpoint_holds_no_credentials() -> None:
    with serving() as fake:
        address = fake.url.replace("http://", "http://me:hunter2@") + "?token=abc"
        with ChatClient(Endpoint(model="m", base_url=address), None) as client:
            told = json.dumps(client.describe())
    assert "hunter2" not in told
    assert "abc" not in told
    assert client.describe()["endpoint"] == fake.url.split("/")[2]


def test_settings_of_a_file_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("model: a\nparams: {temperature: 1, top_p: 0.5}\nprice_input: 0.5\n")
    made = Endpoint.read(path, model="b", **{"params.temperature": 0})
    assert (made.model, made.params, made.price_input) == ("b", {"temperature": 0, "top_p": 0.5}, 0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "must hold settings"),
        ("concurrency: 3", "names no model"),
        ("model: m\nconcurency: 3", r"concurency: .*settings are model, base_url"),
        ("model: m\nconcurrency: 0", "concurrency: .*greater than or equal to 1"),
        ("model: m\nbase_url: localhost", "base_url: an address starts with http:// or https://"),
        ("model: m\nparams: 3", "must hold settings"),
        ("model: m\nparams: {max_tokens: many}", "max_tokens must be a number of tokens"),
        ("model: m\nparams: &a {b: *a}", "contains itself"),
        ("model: [", r"e\.yaml: .*line 1"),
    ],
)
def test_malformed_settings_are_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(TeacherError, match=said):
        Endpoint.read(tmp_path / "e.yaml")


@given(st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_settings_are_read_or_an_error_of_ours(values: dict[str, Any], overrides: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        for read in (lambda: Endpoint.read(path, **overrides), lambda: LocalModel.read(**overrides)):
            try:
                made = read()
            except TeacherError:
                continue
            json.dumps(made.params)


def test_the_limit_of_a_reply_has_one_name() -> None:
    def params(**settings: Any) -> dict[str, Any]:
        return dict(HTTPTransport(Endpoint(model="m", **settings)).params)

    assert params() == {"max_completion_tokens": 400}
    assert params(base_url="http://localhost:1/v1") == {"max_tokens": 400}
    assert params(base_url="http://localhost:1/v1", params={"max_completion_tokens": 9}) == {"max_completion_tokens": 9}


def test_it_works_where_a_loop_runs_already() -> None:
    async def notebook() -> str:
        with serving("Hello.") as fake, client_of(fake) as client:
            return str(ask(client, "Hi")[0].text)

    assert asyncio.run(notebook()) == "Hello."

"""Endpoints as they are: addresses without /v1, templates without a system, errors in odd places, narrow limits."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import Answer, FakeEndpoint, ask, client_of, say, serving
from vectalk.errors import TeacherError
from vectalk.llm import ChatClient, Endpoint
from vectalk.llm.http_transport import HTTPTransport
from vectalk.llm.replies import without_system

pytest.importorskip("openai", reason="needs the extra [teacher]")
PAGE = b"<!doctype html><html><head><title>Open WebUI</title></head><body></body></html>"
quick = pytest.mark.usefixtures("openai_key")


def error(message: Any, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


def endpoint(fake: FakeEndpoint, tail: str, **settings: Any) -> Endpoint:
    return Endpoint(model="fake", base_url=fake.url.removesuffix("/v1") + tail, **settings)


# ---- addresses


def only_below(path: str, instead: Answer) -> FakeEndpoint:
    """An endpoint that knows one path."""
    made = FakeEndpoint(
        lambda request, number: Answer() if made.requests[number]["path"] == f"{path}/chat/completions" else instead
    )
    return made


NOT_THERE = [
    Answer(status=404, body=b"404 page not found"),
    Answer(status=404, body=b'{"detail": "Not Found"}'),
    Answer(status=405, body=b'{"detail": "Method Not Allowed"}'),
    Answer(body=PAGE),
]


@quick
@pytest.mark.parametrize("instead", NOT_THERE, ids=["text", "fastapi", "405", "page"])
@pytest.mark.parametrize("tail", ["", "/", "/chat/completions"])
def test_v1_is_found_where_the_address_lacks_it(instead: Answer, tail: str) -> None:
    fake = only_below("/v1", instead)
    with ChatClient(endpoint(fake, tail, concurrency=4), None) as client:
        assert {reply.text for reply in ask(client, *map(str, range(20)))} == {Answer().text}
    fake.close()
    wrong = [number for number, request in enumerate(fake.requests) if request["path"] == "/chat/completions"]
    assert 1 <= len(wrong) <= 4  # those that went out together; then it is known
    assert max(wrong) < 8
    assert len(fake.requests) == 20 + len(wrong)


@quick
@pytest.mark.parametrize(
    ("tail", "path"),
    [
        *[(tail, "/v1") for tail in ("/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/")],
        *[("/v1beta/openai/", "/v1beta/openai"), ("/api/v3", "/api/v3"), ("", ""), ("/openai", "/openai")],
    ],
)
def test_an_address_that_answers_is_asked_as_it_is(tail: str, path: str) -> None:
    fake = only_below(path, NOT_THERE[0])
    with ChatClient(endpoint(fake, tail), None) as client:
        ask(client, "Hi")
    fake.close()
    assert [request["path"] for request in fake.requests] == [f"{path}/chat/completions"]


@quick
def test_what_both_addresses_said_is_told() -> None:
    fake = only_below("/nowhere", Answer(status=404, text="model 'fake' not found, try pulling it first"))
    with ChatClient(endpoint(fake, ""), None) as client, pytest.raises(TeacherError) as told:
        ask(client, "Hi")
    fake.close()
    assert "refuses: 404: model 'fake' not found, try pulling it first (at http://127.0.0.1:" in str(told.value)
    assert "/v1/chat/completions, and before that at http://" in str(told.value)
    assert "the model's name" in str(told.value)


# ---- what stands in the place of a reply


@quick
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (error("bad temperature", code="invalid"), "400: bad temperature"),
        (b'{"object": "error", "message": "too hot", "code": 400}', "400: too hot"),
        (b'{"detail": [{"loc": ["temperature"], "msg": "less than 2"}]}', "less than 2"),
        (b'[{"error": {"code": 400, "message": "API key not valid"}}]', "400: API key not valid"),
        (b'{"error": "model is loading"}', "400: model is loading"),
        (b"upstream says no", "400: upstream says no"),
        (PAGE, "400: Open WebUI"),
        (error("word " * 1000), "word word …"),
    ],
)
def test_the_body_of_a_refusal_is_told(body: bytes, said: str) -> None:
    with (
        serving(Answer(status=400, body=body)) as fake,
        client_of(fake, concurrency=1) as client,
        pytest.raises(TeacherError) as told,
    ):
        ask(client, "Hi", "Ho")
    assert said.removesuffix(" …") in str(told.value)
    assert len(str(told.value)) < 700
    assert len(fake.requests) == 1


@quick
@pytest.mark.parametrize(
    ("answer", "requests", "said"),
    [
        (Answer(body=error("Insufficient credits", code=402)), 1, "refuses: 402: Insufficient credits"),
        (Answer(body=error("pay first", code="insufficient_quota")), 1, "refuses: 400: pay first"),
        (Answer(body=error("no such model", code=404)), 1, "refuses: 404: no such model"),
        (Answer(body=error("it is down", code=502)), 6, "no reply in 6 attempts; the last: 502: it is down"),
        (Answer(body=b'{"error": "oh"}'), 3, "brought 3 answers in a row that are no replies; the last: oh"),
        (Answer(finish="error"), 3, "brought 3 answers in a row that are no replies"),
        (Answer(body=b'{"object": "chat.completion"}'), 3, '{"object": "chat.completion"}'),
        (Answer(body=b'{"choices": [{"mess'), 3, 'it is no JSON object but this: {"choices": [{"mess'),
        (Answer(body=PAGE), 3, "a web page: Open WebUI; check --base-url, most addresses end in /v1"),
        (Answer(message={"content": 7}), 3, "its content is no text"),
    ],
)
def test_an_error_with_status_200_is_an_error(answer: Answer, requests: int, said: str, tmp_path: Path) -> None:
    with serving(answer) as fake, client_of(fake, tmp_path / "cache", concurrency=1) as client:
        with pytest.raises(TeacherError) as told:
            ask(client, "Hi", "Ho")
        assert len(client.cache or ()) == 0
    assert said in str(told.value)
    assert len(fake.requests) == requests


@quick
def test_answers_that_are_no_replies_stop_the_work_later_too(tmp_path: Path) -> None:
    with (
        serving(lambda request, number: Answer() if number < 10 else Answer(body=PAGE)) as fake,
        client_of(fake, tmp_path / "cache", concurrency=2) as client,
    ):
        # The seventh may come before the sixth is counted: two requests are on their way at a time.
        with pytest.raises(TeacherError, match=r"brought [67] answers in a row.*The 10 replies in .* are kept"):
            ask(client, *map(str, range(40)))
        assert len(client.cache or ()) == 10
    assert len(fake.requests) <= 10 + 6 + 1


# ---- no system


REFUSALS = [
    Answer(status=400, body=b'{"object": "error", "message": "System role not supported", "code": 400}'),
    Answer(status=400, body=error("Developer instruction is not enabled for models/gemma-3-27b-it")),
    Answer(status=422, body=b'{"detail": "messages with role: system are not allowed"}'),
    Answer(status=400, text="Unsupported value: 'messages[0].role' does not support 'system' with this model."),
    Answer(status=500, body=error("Conversation roles must alternate user/assistant/user/assistant/...", code=500)),
]


def with_system(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, *say(text)]


@quick
@pytest.mark.parametrize("refusal", REFUSALS, ids=["vllm", "gemini", "fastapi", "openai", "llama.cpp"])
def test_the_user_says_what_no_system_may(refusal: Answer, tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        return refusal if request["messages"][0]["role"] == "system" else Answer(request["messages"][0]["content"])

    with serving(answer) as fake, client_of(fake, tmp_path / "cache", concurrency=3) as client:
        for _ in range(2):
            replies = client.map(client.chat, [with_system(f"number {n}") for n in range(12)])
            assert [reply.text for reply in replies] == [f"Be brief.\n\nnumber {n}" for n in range(12)]
        assert client.meter.spending.cached == 12  # found under what was asked, not under how
    refused = [number for number, r in enumerate(fake.requests) if r["messages"][0]["role"] == "system"]
    assert 1 <= len(refused) <= 3
    assert len(fake.requests) == 12 + len(refused)


@quick
def test_a_refusal_for_another_reason_is_told() -> None:
    with (
        serving(Answer(status=400, text="the system prompt is indecent")) as fake,
        client_of(fake) as client,
        pytest.raises(TeacherError, match="refuses: 400: the system prompt is indecent"),
    ):
        client.map(client.chat, [with_system("Hi")])
    assert [len(request["messages"]) for request in fake.requests] == [2, 1]


def test_a_conversation_without_a_system_stays_as_it_is() -> None:
    turns = [*say("a"), {"role": "assistant", "content": "b"}, *say("c")]
    assert without_system(turns) == turns
    assert without_system([{"role": "system", "content": "s"}, *turns]) == [*say("s\n\na"), *turns[1:]]


# ---- limits


def test_a_pause_that_is_not_named_is_a_minute() -> None:
    asyncio.run(paused(Answer(status=429, text="slow down"), 60))


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(status=429, body=b'[{"error": {"code": 429, "message": "Please retry in 46.2s."}}]'), 46.2),
        (Answer(status=429, text="Rate limit reached for requests per min. Please try again in 20s."), 20),
        (Answer(body=error("Please try again in 7s", code=429)), 7),
        (Answer(status=429, text="try again in 20s", headers={"Retry-After": "9"}), 9),
        (Answer(status=503, text="Model is loading, try again in 33 seconds"), 33),
    ],
)
def test_a_pause_is_what_the_endpoint_says(answer: Answer, seconds: float) -> None:
    asyncio.run(paused(answer, seconds))


async def paused(answer: Answer, seconds: float) -> None:
    """See that after one such answer nothing is sent for so long, and that people are told."""
    waits: list[float] = []
    said: list[str] = []

    async def sleep(duration: float) -> None:
        waits.append(duration)

    with serving(lambda request, number: answer if number == 0 else Answer()) as fake:
        transport = HTTPTransport(Endpoint(model="fake", base_url=fake.url))
        transport.say = said.append
        reply = await transport.send(say("Hi"), sleep)
        await transport.close()
    assert reply.retries == 1
    assert seconds <= waits[1] <= seconds + 0.2
    (line,) = said
    assert f"asks for a pause of {seconds:.0f} s" in line
    assert "requests_per_minute" in line


@quick
def test_pauses_do_not_count_as_attempts() -> None:
    with (
        serving(lambda request, number: Answer(status=429, text="slow down") if number < 9 else Answer()) as fake,
        client_of(fake, attempts=2) as client,
    ):
        assert ask(client, "Hi")[0].retries == 9


def test_pauses_come_to_an_end() -> None:
    with (
        serving(Answer(status=429, text="quota exceeded: try again in 0.02s")) as fake,
        client_of(fake, max_wait=0.05) as client,
        pytest.raises(TeacherError, match=r"after pauses of .*429: quota exceeded.*requests_per_minute"),
    ):
        ask(client, "Hi")
    assert len(fake.requests) == 3

"""What protects a server: keys, hosts, sizes, waiting requests, clients that go away or read slowly, draining."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

import vectalk as vt
from live_server import NAME, Live, eventually, served
from test_engine import make_engine
from vectalk.decoding.settings import Decoding
from vectalk.errors import PromptError
from vectalk.serving import Limits, Service, create_app
from vectalk.serving.guard import Hosts, Keys, is_loopback
from vectalk.serving.inline import split_text
from vectalk.serving.page import add_page
from vectalk.serving.trimmed import Trimmed
from vectalk.serving.writer import LoopWriter, ThreadWriter, writer_for
from vectalk.talk import ELM
from vectalk.talk.naming import Naming, NamingEngine
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT, save_llm

QUESTION = "Describe {island}."
BOUND = {"bindings": {"island": "3"}}
KEY = "a-key-of-this-test-0123456789"


@pytest.fixture(scope="module")
def elm(corpus: Corpus, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> ELM:
    """A model whose answers are as long as they may be."""
    folder = tmp_path_factory.mktemp("limits")
    llm = save_llm("llama", tokenizer, folder / "llm", max_position_embeddings=8192)
    run = train(corpus, str(llm), folder / "run", TrainConfig.load(None, SHORT), device="cpu")
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    elm.engine.shared_loop.stops = frozenset()  # so an answer ends at its limit alone
    return elm


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm, Limits(max_tokens=4000, body_bytes=20_000)) as live:
        yield live


def request_bytes(live: Live, **body: object) -> bytes:
    """Return a request for a long stream as it travels."""
    content = json.dumps(
        {"model": NAME, "messages": [{"role": "user", "content": QUESTION}], **BOUND, "max_tokens": 3000,
         "stream": True, **body}
    ).encode()  # fmt: skip
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{live.port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


# ---- who may ask


def test_a_key_is_needed_and_never_shown(elm: ELM, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with served(elm, keys=Keys([KEY, "another-key-0123456789"]), access_log=True) as live:
        with live.http() as client:
            for value in ("", "Bearer wrong", KEY, f"Basic {KEY}"):
                for path in ("/v1/models", "/api/spaces", "/metrics"):
                    reply = client.get(path, headers={"authorization": value})
                    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")
            assert client.get("/health").status_code == client.get("/ready").status_code == 200
            assert client.get("/v1/models", headers={"authorization": f"bearer {KEY}"}).status_code == 200
        answer = live.openai(KEY).chat.completions.create(
            model=NAME, messages=[{"role": "user", "content": "Hello"}], max_tokens=3
        )
        assert answer.usage.completion_tokens <= 3
    assert "GET other 401" in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("vectalk") and KEY in record.message]
    assert KEY not in repr(vars(Keys([KEY])))


def test_hosts_against_rebinding(live: Live) -> None:
    local, everywhere = Hosts(["Model.example"]), Hosts(["model.example"], loopback=False)
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.9:8000", "[::1]:8000", "[::1]", "model.example:1"):
        assert local.allow(host)
        assert everywhere.allow(host)
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a@localhost", "[::1].evil"):
        assert not local.allow(host)
        assert not everywhere.allow(host)
    assert not local.allow("10.0.0.7")
    assert everywhere.allow("10.0.0.7:8000")
    with live.http(headers={"host": "evil.example"}) as client:
        assert client.get("/health").json()["error"]["code"] == "invalid_host"
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "x.org")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_no_other_page_may_call_unless_it_is_named(elm: ELM, live: Live) -> None:
    origin = {"origin": "https://page.example"}
    with live.http(headers=origin) as client:
        assert "access-control-allow-origin" not in client.get("/v1/models").headers
        body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "Hello"}]})
        reply = client.post("/v1/chat/completions", content=body, headers={"content-type": "text/plain"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (415, "invalid_content_type")
    with served(elm, origins=["https://page.example"], keys=Keys([KEY])) as open_server, open_server.http() as client:
        preflight = {**origin, "access-control-request-method": "POST"}
        assert client.options("/v1/chat/completions", headers=preflight).status_code == 200
        named = client.get("/health", headers=origin)
        assert named.headers["access-control-allow-origin"] == "https://page.example"
        other = client.get("/health", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_large_bodies_are_refused_with_and_without_their_length(live: Live) -> None:
    big = b'{"model": "' + b"a" * 30_000 + b'"}'
    kind = {"content-type": "application/json"}
    with live.http(headers=kind) as client:
        known = client.post("/v1/chat/completions", content=big)
        chunked = client.post("/v1/chat/completions", content=iter([big[:15_000], big[15_000:]]))
    for reply in (known, chunked):
        assert reply.status_code == 413
        assert "larger than 20000 bytes" in reply.json()["error"]["message"]


def test_a_slow_body_is_given_up(elm: ELM) -> None:
    with served(elm, Limits(seconds=0.3)) as live, socket.create_connection(("127.0.0.1", live.port)) as client:
        client.sendall(request_bytes(live)[:-10])
        client.settimeout(10)
        assert b" 408 " in client.recv(4096)


def test_an_answer_that_takes_too_long_is_given_up(elm: ELM) -> None:
    with served(elm, Limits(seconds=0.2, max_tokens=8000)) as live:
        reply = live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND, max_tokens=8000)
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "timeout")
        assert eventually(lambda: live.figure("vectalk_rows_active") == 0)


# ---- clients that go away, read slowly, or are too many


def test_a_client_that_goes_away_frees_its_row(live: Live) -> None:
    gone = live.figure("vectalk_clients_gone_total")
    for stream in (True, False):
        client = socket.create_connection(("127.0.0.1", live.port))
        client.sendall(request_bytes(live, stream=stream))
        assert eventually(lambda: live.figure("vectalk_rows_active") == 1)
        if stream:
            assert client.recv(10)
        client.close()
        assert eventually(lambda: live.figure("vectalk_rows_active") == 0)
    assert eventually(lambda: live.figure("vectalk_clients_gone_total") == gone + 2)
    assert eventually(lambda: live.service.gate.active == 0)
    loop = live.service.elm.engine.shared_loop
    assert eventually(lambda: not loop._active)
    assert live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND).status_code == 200


def test_a_slow_reader_holds_nobody_up(elm: ELM) -> None:
    with served(elm, Limits(rows=1, max_tokens=4000)) as live:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", live.port))
        slow.sendall(request_bytes(live, max_tokens=3000))  # some 600 kB, of which it reads nothing
        assert eventually(lambda: live.service.gate.active == 1)
        reply = live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND)
        assert reply.status_code == 200
        assert live.figure("vectalk_clients_gone_total") == 0  # it is still connected
        slow.close()


def test_too_many_requests_get_429(elm: ELM) -> None:
    with served(elm, Limits(rows=1, waiting=1, max_tokens=8000)) as live:
        clients = []
        for _ in range(2):
            client = socket.create_connection(("127.0.0.1", live.port))
            client.sendall(request_bytes(live, max_tokens=7000))
            clients.append(client)
        assert eventually(lambda: (live.service.gate.active, live.service.gate.waiting) == (1, 1))
        reply = live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND)
        assert (reply.status_code, reply.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(reply.headers["retry-after"]) >= 1
        clients.pop().close()  # whichever of the two this is, the other goes on
        assert eventually(lambda: live.service.gate.waiting == 0)
        clients.pop().close()
        assert eventually(lambda: live.service.gate.active == 0)
        assert live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND).status_code == 200


def test_a_failing_step_is_an_error_and_the_next_answer_comes(
    elm: ELM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with served(elm) as live:
        decoder = elm.engine.decoder

        def broken(tokens: object) -> None:
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(decoder, "step", broken)
            reply = live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND)
            assert (reply.status_code, reply.json()["error"]["type"]) == (500, "server_error")
            assert "out of memory" not in reply.text
            with live.http() as client, client.stream(
                "POST", "/v1/chat/completions",
                json={"model": NAME, "messages": [{"role": "user", "content": QUESTION}], **BOUND, "stream": True},
            ) as stream:  # fmt: skip
                events = [line for line in stream.iter_lines() if line]
            assert "internal_error" in events[-1]
        assert "out of memory" in caplog.text
        assert live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND).status_code == 200


@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_an_engine_without_a_loop_writes_in_threads(family: str, tokenizer, corpus: Corpus) -> None:
    islands = corpus.spaces["island"]
    engine = make_engine(family, tokenizer, islands)
    naming_engine = NamingEngine(engine, Naming(corpus.suite, {"island": islands}, {}))
    slots = {"island": ("island", np.full(16, 0.5, np.float32))}
    (expected,) = engine.generate([QUESTION], [slots], Decoding(max_new_tokens=12))

    async def written() -> None:
        writer = ThreadWriter(naming_engine, 3)
        writings = [await writer.begin(QUESTION, slots, Decoding(max_new_tokens=12)) for _ in range(3)]
        for writing in writings:
            assert "".join([piece async for piece in writing.pieces()]).strip() == expected.text
            assert writing.generated == expected
            assert writing.prompt_tokens == len(engine.prompt(QUESTION, slots))
        with pytest.raises(PromptError, match="has no vector"):
            await writer.begin(QUESTION, {}, Decoding())
        failing = await writer.begin(QUESTION, slots, Decoding(beams=2))
        with pytest.raises(PromptError, match="beams"):
            [piece async for piece in failing.pieces()]
        cancelled = await writer.begin(QUESTION, slots, Decoding(max_new_tokens=200))
        writer.cancel(cancelled)
        assert cancelled not in writer._stops
        writer.close()

    asyncio.run(written())
    assert isinstance(writer_for(naming_engine, 2), LoopWriter if family == "llama" else ThreadWriter)


# ---- stopping


def test_a_server_that_stops_finishes_what_it_began(elm: ELM) -> None:
    with served(elm, Limits(max_tokens=4000)) as live, live.http() as client:
        body = {"model": NAME, "messages": [{"role": "user", "content": QUESTION}], **BOUND, "max_tokens": 800}
        with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data: ")
            live.server.handle_exit(15, None)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"]
        live.thread.join(20)
        assert not live.thread.is_alive()
        with pytest.raises(httpx.ConnectError):
            client.get("/health")


def test_a_server_that_stops_takes_nothing_new(elm: ELM) -> None:
    with served(elm) as live:
        live.service.gate.draining = True
        reply = live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "draining")
        with live.http() as client:
            assert client.get("/ready").status_code == 503
            assert client.get("/health").status_code == 200


def test_answers_end_when_their_time_to_drain_is_over(elm: ELM) -> None:
    with served(elm, Limits(max_tokens=8000), drain_seconds=1) as live:
        client = socket.create_connection(("127.0.0.1", live.port))
        client.sendall(request_bytes(live, max_tokens=8000))
        assert eventually(lambda: live.service.writer.active == 1)
        live.server.handle_exit(15, None)
        live.thread.join(20)
        assert not live.thread.is_alive()
        assert live.service.writer.active == 0
        client.close()


# ---- parts


def test_text_is_split_into_words_and_vectors() -> None:
    def split(text: str) -> list[tuple[str, str | None]]:
        return [tuple(piece) for piece in split_text(text, ["film", "user"])]

    assert split("Compare film:'A (1979)' and film: \"B's\".") == [
        ("Compare ", None), ("'A (1979)'", "film"), (" and ", None), ("\"B's\"", "film"), (".", None),
    ]  # fmt: skip
    assert split("film:lerp('a)', 'b', 0.5)!") == [("lerp('a)', 'b', 0.5)", "film"), ("!", None)]
    assert split("user:('a' + 2 * concept('x')) x") == [("('a' + 2 * concept('x'))", "user"), (" x", None)]
    assert split("film:random(3)") == [("random(3)", "film")]
    for text in ("My film: a note", "film:(see below)", "film:'unclosed", "film:lerp('a'", "a.film:'x'", "{film:'x'}"):
        assert split(text) == [(text, None)]
    assert split("") == []


def test_pieces_together_are_the_trimmed_text() -> None:
    for pieces in (["  a", " ", " b ", " "], ["", "\n"], ["a"], [" ", "a b", "  ", "c\n"]):
        trimmed = Trimmed()
        assert "".join(trimmed.push(piece) for piece in pieces) == "".join(pieces).strip()


def test_many_threads_and_the_server_share_one_loop(live: Live, elm: ELM) -> None:
    expected = elm.ask(QUESTION, {"island": "3"}, max_new_tokens=30).text
    texts: list[str] = []

    def over_http() -> None:
        reply = live.ask(messages=[{"role": "user", "content": QUESTION}], **BOUND, max_tokens=30)
        texts.append(reply.json()["choices"][0]["message"]["content"])

    def in_process() -> None:
        texts.append(elm.ask(QUESTION, {"island": "3"}, max_new_tokens=30).text)

    threads = [threading.Thread(target=job) for job in [over_http, in_process] * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == [expected] * 12


def test_the_page_has_a_strict_policy(elm: ELM, tmp_path: Path) -> None:
    app = create_app(Service(elm, NAME), page=False, keys=Keys([KEY]))
    assert not add_page(app, tmp_path)
    (tmp_path / "index.html").write_text("<h1>map</h1>")
    assert add_page(app, tmp_path)
    client = TestClient(app, base_url="http://localhost")
    page = client.get("/")
    assert (page.status_code, page.text) == (200, "<h1>map</h1>")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["worker-src"] == "'self' blob:"
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert client.get("/nothing.js").status_code == 404
    assert client.get("/v1/models").status_code == 401
    assert "default-src 'none'" in client.get("/health").headers["content-security-policy"]


def test_no_file_is_named_by_a_client(live: Live, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with live.http() as client:
        for path in (f"/{tmp_path}/secret", "/../../etc/passwd", "/api/spaces/..%2f..%2fetc/layout", "/static/..%2fx"):
            assert client.get(path).status_code == 404
        reply = client.post("/api/spaces/island/resolve", json={"expression": f"'{tmp_path}/secret'"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_unknown_entity")

"""`vectalk serve --engine vllm-http` when the vLLM server dies in the middle of answers, and when it returns."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

import vectalk as vt
from fake_vllm import SENT, WORDS
from live_server import NAME, Live, eventually, served
from vectalk.errors import EngineError
from vectalk.model.export import export_merged
from vectalk.model.run import Run
from vectalk.talk.vllm_engine import VllmHttpEngine
from vectalk.talk.vllm_server import VllmServer

QUESTION = "Describe island:'3'."
MESSAGES = [{"role": "user", "content": QUESTION}]


@contextmanager
def vllm(port: int, way: str = "all") -> Iterator[subprocess.Popen[bytes]]:
    """Run a vLLM server as a process; `way` says how its streams end (see `fake_vllm`)."""
    script = Path(__file__).with_name("fake_vllm.py")
    process = subprocess.Popen([sys.executable, str(script), str(port), way])

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        assert eventually(answers)
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def exported(short_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "plain"
    export_merged(short_run, folder)
    return folder


@contextmanager
def served_by_vllm(short_run: Run, exported: Path, port: int) -> Iterator[Live]:
    engine = VllmHttpEngine(exported, f"http://127.0.0.1:{port}")
    with served(vt.ELM.from_pretrained(short_run.path, engine=engine)) as live:
        yield live


def status_of(live: Live) -> tuple[int, str | None]:
    """Return the status of /ready, and the code of its error."""
    with live.http() as client:
        reply = client.get("/ready")
    return reply.status_code, reply.json().get("error", {}).get("code")


def test_vllm_is_killed_in_the_middle_of_a_stream_and_returns(short_run: Run, exported: Path, port: int) -> None:
    with vllm(port, "hang") as process, served_by_vllm(short_run, exported, port) as live:
        assert status_of(live) == (200, None)
        body = {"model": NAME, "messages": MESSAGES, "stream": True}
        with live.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = (line.removeprefix("data: ") for line in stream.iter_lines() if line)
            text = ""
            while text != "".join(WORDS[:SENT]):
                text += json.loads(next(lines))["choices"][0]["delta"].get("content", "")
            process.send_signal(signal.SIGKILL)
            (last,) = lines
        error = json.loads(last)["error"]
        assert (error["type"], error["code"]) == ("server_error", "engine_error")
        assert f"vLLM server at http://127.0.0.1:{port} ended the connection during an answer" in error["message"]

        assert status_of(live) == (503, "engine_error")
        reply = live.ask(messages=MESSAGES)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_error")
        with pytest.raises(openai.APIError, match="no vLLM server answers"):
            list(live.openai().chat.completions.create(model=NAME, messages=MESSAGES, stream=True))
        with live.http() as client:
            assert client.get("/health").status_code == 200
            assert client.get("/v1/models").status_code == 200
        assert eventually(lambda: live.figure("vectalk_rows_active") == 0)

        with vllm(port):
            assert status_of(live) == (200, None)
            choice = live.ask(messages=MESSAGES).json()["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == ("".join(WORDS), "stop")
            stream = live.openai().chat.completions.create(model=NAME, messages=MESSAGES, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "".join(WORDS)


def test_a_whole_answer_is_no_half_of_one(short_run: Run, exported: Path, port: int) -> None:
    with vllm(port, "hang") as process, served_by_vllm(short_run, exported, port) as live, live.http() as client:
        body = {"model": NAME, "messages": MESSAGES}
        request = client.build_request("POST", "/v1/chat/completions", json=body)
        replies: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: replies.append(client.send(request)))
        thread.start()
        assert eventually(lambda: live.figure("vectalk_first_token_seconds_count") == 1)
        process.send_signal(signal.SIGKILL)
        thread.join(30)
        assert (replies[0].status_code, replies[0].json()["error"]["code"]) == (503, "engine_error")


@pytest.mark.parametrize(
    ("way", "text"),
    [("early", "ended the connection"), ("error", "during an answer: EngineCore encountered an issue$")],
)
def test_a_stream_without_its_end_is_an_error(port: int, way: str, text: str) -> None:
    with vllm(port, way):
        choices = VllmServer(f"http://127.0.0.1:{port}").choices(
            {"messages": [{"content": [{"type": "prompt_embeds"}]}]}
        )
        assert [next(choices)["delta"]["content"] for _ in range(SENT)] == WORDS[:SENT]
        with pytest.raises(EngineError, match=text):
            next(choices)

"""`vectalk serve` as a process: what it refuses, the examples against it, and how SIGTERM ends it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forked import Forked
from live_server import eventually
from vectalk.model.run import Run
from vectalk.serving.service import model_name
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout
from worlds import call

EXAMPLES = Path(__file__).parents[1] / "examples"
KEY = "a-key-of-this-test-0123456789"
ISLANDS = {"SPACE": "island", "POINT": "'1'", "OTHER": "'2'", "VECTALK_API_KEY": KEY, "NO_PROXY": "*"}


@pytest.fixture(scope="module")
def space(islands: VectorSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the islands, in which the server may leave its layout."""
    return shutil.copytree(str(islands.path), tmp_path_factory.mktemp("serve") / "islands")


@pytest.fixture(scope="module")
def server(short_run: Run, space: Path) -> Iterator[tuple[Forked, str]]:
    """A server as a process of its own, and its address."""
    process = Forked(
        "serve", str(short_run.path), "--port", "0", "--json", "--api-key-env", "SERVE_TEST_KEY", "--name", "islands",
        "--space", f"island={space}", environment={"SERVE_TEST_KEY": KEY},
    )  # fmt: skip
    try:
        assert eventually(lambda: process.out.read_text().endswith("\n") or process.poll() is not None, 120)
        yield process, json.loads(process.out.read_text())["url"]
    finally:
        process.kill()


def test_the_layout_of_the_map_is_computed_at_the_start(server: tuple[Forked, str], space: Path) -> None:
    process, url = server
    assert Layout.load(VectorSpace.load(space)).fitted > 100
    assert f"the map is at {url}/" in process.err.read_text()
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/").text.startswith("<!doctype html>")


def test_curl_asks(server: tuple[Forked, str]) -> None:
    _, url = server
    result = subprocess.run(
        ["sh", str(EXAMPLES / "client.sh")], env={**os.environ, **ISLANDS, "BASE": url}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    answer = next(json.loads(line) for line in result.stdout.splitlines() if '"chat.completion"' in line)
    events = [line for line in result.stdout.splitlines() if line.startswith("data: ")]
    pieces = [json.loads(event[6:]) for event in events[:-1]]
    text = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces if piece["choices"])
    assert text == answer["choices"][0]["message"]["content"] != ""
    assert events[-1] == "data: [DONE]"
    assert '"neighbors":[' in result.stdout


def test_the_sdk_asks(server: tuple[Forked, str]) -> None:
    _, url = server
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "client.py"), "--url", url, "--space", "island", "--point", "'1'",
         "--other", "'2'"],
        env={**os.environ, **ISLANDS}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "models: islands" in result.stdout
    assert "{island}: " in result.stdout


def test_sigterm_lets_an_answer_end(server: tuple[Forked, str]) -> None:
    """The last test of the file: the process ends here."""
    process, url = server
    body = {
        "model": "islands", "stream": True, "max_tokens": 60,
        "messages": [{"role": "user", "content": "Describe island:'3'."}],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
    assert process.wait(30) == 0
    assert "Traceback" not in process.err.read_text()
    assert KEY not in process.err.read_text()
    assert "POST /v1/chat/completions 200" in process.err.read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "0.0.0.0"], "name the API key with --api-key-env NAME"),
        (["--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE, which is not set"),
        (["--api-key-env", "SHORT_KEY"], "fewer than 16 characters"),
        (["--engine", "sglang", "--port", "0"], "--engine is transformers or vllm-http"),
        (["--engine", "vllm-http", "--port", "0"], "needs --export DIR"),
    ],
)
def test_wrong_options_are_named(
    short_run: Run, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT_KEY", "short")
    code, out, err = call(["serve", str(short_run.path), *arguments], capsys)
    assert (code, out) == (2, "")
    assert text in " ".join(err.replace("│", " ").split())


def test_a_port_in_use_is_named(short_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = call(["serve", str(short_run.path), "--port", str(port)], capsys)
    assert code == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in err


def test_names_of_models(tmp_path: Path) -> None:
    (tmp_path / "films" / "run").mkdir(parents=True)
    assert model_name("hf://owner/name") == "owner/name"
    assert model_name(tmp_path / "films") == model_name(tmp_path / "films" / "run") == "films"

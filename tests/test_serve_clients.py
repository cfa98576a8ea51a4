"""`vectalk serve` and clients that people have: the command `llm`, and LangChain (`pip install 'vectalk[clients]'`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import vectalk as vt
from live_server import NAME, Live, served
from test_serve import run_with_texts  # noqa: F401 (a fixture)
from vectalk.readback.readback import ReadBack
from vectalk.serving.guard import Keys
from vectalk.talk import ELM

KEY = "a-key-of-this-test-0123456789"
ASKED = "Describe island:lerp('1', '2', 0.5)."
LENGTH = 20


@pytest.fixture(scope="module")
def elm(run_with_texts: Path) -> ELM:  # noqa: F811
    return vt.ELM.from_pretrained(run_with_texts, device="cpu")


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm, keys=Keys([KEY])) as live:
        yield live


@pytest.fixture(scope="module")
def expected(elm: ELM) -> str:
    return elm.ask("Describe {island}.", {"island": "lerp('1', '2', 0.5)"}, max_new_tokens=LENGTH).text


# ---- the command `llm`


@pytest.fixture
def llm_environment(live: Live, tmp_path: Path) -> dict[str, str]:
    """The environment of an `llm` that knows the server from `extra-openai-models.yaml`."""
    pytest.importorskip("llm", reason="the command llm is not installed: pip install 'vectalk[clients]'")
    entry = {"model_id": "my-islands", "model_name": NAME, "api_base": f"{live.url}/v1", "api_key_name": "vectalk"}
    (tmp_path / "extra-openai-models.yaml").write_text(yaml.safe_dump([entry]))
    (tmp_path / "keys.json").write_text(f'{{"vectalk": "{KEY}"}}')
    return {**os.environ, "LLM_USER_PATH": str(tmp_path), "NO_PROXY": "*", "no_proxy": "*"}


def llm(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llm", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("way", [["--no-stream"], []], ids=["whole", "stream"])
def test_llm_prints_what_elm_says(llm_environment: dict[str, str], expected: str, way: list[str]) -> None:
    done = llm(llm_environment, "-m", "my-islands", ASKED, "-o", "max_tokens", str(LENGTH), *way)
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_llm_goes_on_with_a_conversation(llm_environment: dict[str, str], expected: str) -> None:
    first = llm(llm_environment, "-m", "my-islands", "Describe island:'7'.", "-o", "max_tokens", str(LENGTH))
    assert first.returncode == 0, first.stderr
    second = llm(llm_environment, "-c", ASKED, "-o", "max_tokens", str(LENGTH))
    assert (second.returncode, second.stdout.strip()) == (0, expected), second.stderr


def test_llm_shows_the_message_of_an_error(llm_environment: dict[str, str]) -> None:
    done = llm(llm_environment, "-m", "my-islands", "Describe island:'Nowhere at all'.")
    assert done.returncode == 1
    assert "has no entity" in done.stderr
    done = llm(llm_environment, "-m", "my-islands", ASKED, "-s", "Be brief.")
    assert done.returncode == 1
    assert "a message of the system is not supported" in done.stderr


# ---- LangChain


@pytest.fixture
def chat(live: Live):
    module = pytest.importorskip("langchain_openai", reason="no LangChain: pip install 'vectalk[clients]'")
    return module.ChatOpenAI(
        model=NAME, base_url=f"{live.url}/v1", api_key=KEY, max_tokens=LENGTH, max_retries=0, use_responses_api=False
    )


def test_langchain_invokes_and_streams(chat, expected: str) -> None:
    answer = chat.invoke(ASKED)
    assert answer.content == expected
    assert answer.usage_metadata["output_tokens"] > 0
    pieces = list(chat.stream(ASKED, stream_usage=True))
    assert "".join(piece.content for piece in pieces) == expected
    assert sum(bool(piece.content) for piece in pieces) > 3
    assert [piece.usage_metadata for piece in pieces if piece.usage_metadata] == [answer.usage_metadata]


def test_langchain_sends_bindings_and_vector_parts(chat, elm: ELM, expected: str) -> None:
    vector = elm.spaces["island"].point("lerp('1', '2', 0.5)").values.tolist()
    bound = chat.bind(extra_body={"bindings": {"island": vector}})
    assert bound.invoke("Describe {island}.").content == expected
    part = {"type": "vector", "space": "island", "values": vector}
    content = [{"type": "text", "text": "Describe "}, part, {"type": "text", "text": "."}]
    assert chat.invoke([("user", content)]).content == expected


def test_langchain_batches_and_keeps_a_history(chat, elm: ELM, expected: str) -> None:
    numbers = range(1, 7)
    answers = chat.batch([f"Describe island:'{number}'." for number in numbers])
    for number, answer in zip(numbers, answers, strict=True):
        bindings = {"island": str(number)}
        assert answer.content == elm.ask("Describe {island}.", bindings, max_new_tokens=LENGTH).text
    history = [("user", "Describe island:'1'."), answers[0], ("user", ASKED)]
    assert chat.invoke(history).content == expected


def test_langchain_embeds(live: Live, elm: ELM, run_with_texts: Path) -> None:  # noqa: F811
    module = pytest.importorskip("langchain_openai", reason="no LangChain: pip install 'vectalk[clients]'")
    texts = ["An island of salt.", "Pearls and timber."]
    settings = {"model": f"{NAME}:island", "base_url": f"{live.url}/v1", "api_key": KEY}
    embeddings = module.OpenAIEmbeddings(**settings, check_embedding_ctx_length=False)
    readback = ReadBack.load(next((run_with_texts / "readback").iterdir()), elm.spaces["island"])
    assert np.allclose(embeddings.embed_documents(texts), readback(texts), atol=1e-5)
    assert np.allclose(embeddings.embed_query(texts[0]), readback(texts[:1])[0], atol=1e-5)

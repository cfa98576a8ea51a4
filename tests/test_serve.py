"""`vectalk serve` as its clients see it: the openai SDK, streams, vectors in every form, errors."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

import vectalk as vt
from live_server import NAME, Live, served
from offline import fake_transformers
from vectalk.model.run import Run
from vectalk.readback.readback import ReadBack
from vectalk.talk import ELM
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT

QUESTION = "Describe {island}."


@pytest.fixture(scope="module")
def run_with_texts(corpus: Corpus, random_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that was trained a little, with a read-back by a text encoder that counts letters."""
    folder = tmp_path_factory.mktemp("served")
    run = train(corpus, str(random_llm), folder / "run", TrainConfig.load(None, SHORT), device="cpu")
    space, task = corpus.spaces["island"], corpus.suite.tasks[0]
    examples, checks = (list(corpus.examples(split, task.name)) for split in ("train", "validation"))
    with pytest.MonkeyPatch.context() as patch:
        fake_transformers(patch, folder / "hub")
        readback = ReadBack.fit(space, examples, "minilm", about=task.about, validation=checks, most_texts=200)
        readback.save(run.path / "readback" / f"{task.name}-0")
        yield run.path


@pytest.fixture(scope="module")
def elm(run_with_texts: Path) -> ELM:
    return vt.ELM.from_pretrained(run_with_texts, device="cpu")


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm) as live:
        yield live


def asking(text: object, **more: object) -> dict:
    return {"messages": [{"role": "user", "content": text}], **more}


# ---- the openai SDK, unmodified


def test_the_sdk_gets_what_elm_says(live: Live, elm: ELM) -> None:
    title = elm.spaces["island"].title(3)
    expected = elm.ask(QUESTION, {"island": title}, max_new_tokens=20)
    client = live.openai()
    completion = client.chat.completions.create(
        model=NAME, **asking(QUESTION), max_tokens=20, extra_body={"bindings": {"island": title}}
    )
    choice = completion.choices[0]
    assert choice.message.content == expected.text
    assert choice.finish_reason == ("stop" if expected.finished else "length")
    grounds = choice.model_extra["vectalk"]
    assert grounds["question"] == QUESTION
    assert [near["title"] for near in grounds["slots"]["island"]["neighbors"]] == [n.title for n in expected.neighbors]
    assert grounds["slots"]["island"]["support"]["percentile"] == pytest.approx(expected.support.percentile)
    assert completion.usage.prompt_tokens == len(elm.prompts(QUESTION, {"island": "island"}))
    assert completion.usage.completion_tokens == 20 or expected.finished
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_stream_says_the_same_with_usage_at_its_end(live: Live, elm: ELM) -> None:
    expected = elm.ask(QUESTION, {"island": "lerp('1', '2', 0.5)"}, max_new_tokens=25)
    stream = live.openai().chat.completions.create(
        model=NAME,
        **asking(QUESTION),
        max_completion_tokens=25,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"bindings": {"island": "lerp('1', '2', 0.5)"}},
    )
    chunks = list(stream)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == expected.text
    assert sum(bool(text) for text in texts) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "support" in chunks[0].choices[0].model_extra["vectalk"]["slots"]["island"]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-2].choices[0].finish_reason == ("stop" if expected.finished else "length")
    assert chunks[-1].usage.completion_tokens > 10


def test_async_clients_at_once_get_their_own(live: Live, elm: ELM) -> None:
    titles = [elm.spaces["island"].title(row) for row in range(12)]
    expected = [elm.ask(QUESTION, {"island": title}, max_new_tokens=12).text for title in titles]

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client:

            async def one(number: int) -> str:
                bindings = {"bindings": {"island": titles[number]}}
                settings = {**asking(QUESTION), "max_tokens": 12, "extra_body": bindings}
                if number % 2:
                    answer = await client.chat.completions.create(model=NAME, **settings)
                    return answer.choices[0].message.content
                stream = await client.chat.completions.create(model=NAME, stream=True, **settings)
                return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

            return await asyncio.gather(*(one(number) for number in range(12)))

    assert asyncio.run(all_of_them()) == expected


def test_models_and_embeddings_of_the_sdk(live: Live, elm: ELM, run_with_texts: Path) -> None:
    client = live.openai()
    assert [model.id for model in client.models.list()] == [NAME, f"{NAME}:island"]
    assert client.models.retrieve(f"{NAME}:island").model_extra["vectalk"]["space"] == "island"
    texts = ["An island of salt.", "Pearls and timber."]
    answer = client.embeddings.create(model=f"{NAME}:island", input=texts)  # base64 on the wire
    plain = client.embeddings.create(model=f"{NAME}:island", input=texts, encoding_format="float")
    readback = ReadBack.load(next((run_with_texts / "readback").iterdir()), elm.spaces["island"])
    for made in (answer, plain):
        assert np.allclose([one.embedding for one in made.data], readback(texts), atol=1e-5)
    assert answer.model_extra["vectalk"]["r2"] == pytest.approx(readback.r2)
    assert "ridge" in answer.model_extra["vectalk"]["note"]
    assert answer.usage.prompt_tokens > 6
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length"):
        client.embeddings.create(model=f"{NAME}:island", input=[[1, 2, 3]])
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length"):
        client.embeddings.create(model=f"{NAME}:island", input=[1, 2, 3])
    with pytest.raises(openai.NotFoundError, match=r"there is islands:island"):
        client.embeddings.create(model="islands:iland", input="x")
    with pytest.raises(openai.BadRequestError, match="embeds texts"):
        client.chat.completions.create(model=f"{NAME}:island", **asking("Hello"))


# ---- vectors


def test_a_vector_in_every_form(live: Live, elm: ELM) -> None:
    space = elm.spaces["island"]
    point = space.point("lerp('1', '2', 0.25)")
    packed = base64.b64encode(point.values.astype("<f4").tobytes()).decode()
    expected = elm.ask(QUESTION, {"island": point}, max_new_tokens=10).text
    expression = "lerp('1', '2', 0.25)"
    part = {"type": "vector", "space": "island"}
    before, after = {"type": "text", "text": "Describe "}, {"type": "text", "text": "."}
    slot = {"type": "text", "text": QUESTION}
    requests = [
        asking([before, {**part, "expression": expression}, after]),
        asking([before, {**part, "values": point.values.tolist()}, after]),
        asking([before, {**part, "base64": packed}, after]),
        asking([{"type": "vector", "expression": expression}, slot]),
        asking([slot, {**part, "base64": packed, "slot": "island"}]),
        asking(QUESTION, bindings={"island": expression}),
        asking(QUESTION, bindings={"island": f"island:{expression}"}),
        asking(QUESTION, bindings={"island": point.values.tolist()}),
        asking(QUESTION, bindings={"island": {"space": "island", "base64": packed}}),
        asking(f"Describe island:{expression}."),
        asking(f"Describe island:({expression})."),
    ]
    for body in requests:
        reply = live.ask(**body, max_tokens=10).json()
        assert reply["choices"][0]["message"]["content"] == expected, body


def test_two_vectors_and_a_repeated_one(live: Live, elm: ELM) -> None:
    question = "What do {a} and {b} have in common?"
    expected = elm.ask(question, {"a": "1", "b": "2"}, max_new_tokens=10).text
    reply = live.ask(**asking("What do island:'1' and island:'2' have in common?"), max_tokens=10).json()
    assert reply["choices"][0]["message"]["content"] == expected
    assert list(reply["choices"][0]["vectalk"]["slots"]) == ["island", "island_2"]
    reply = live.ask(**asking("What do island:'1' and island:'1' have in common?"), max_tokens=10).json()
    assert reply["choices"][0]["vectalk"]["question"] == "What do {island} and {island} have in common?"


def test_a_remark_in_brackets_is_no_vector(live: Live) -> None:
    reply = live.ask(**asking("Which island: (see below) or island:none?"))
    assert reply.json()["choices"][0]["vectalk"]["slots"] == {}


def test_influence_and_strictness(live: Live) -> None:
    reply = live.ask(**asking(QUESTION, bindings={"island": "3"}, influence=True), max_tokens=6).json()
    influence = reply["choices"][0]["vectalk"]["influence"]
    assert len(influence["values"]["island"]) == len(influence["tokens"]) == 6
    far = {"island": [40.0] * 16}
    reply = live.ask(**asking(QUESTION, bindings=far, strict=True)).json()
    message = reply["choices"][0]["message"]
    assert (message["content"], reply["usage"]["completion_tokens"]) == ("", 0)
    assert "far from anything real" in message["refusal"]
    assert live.ask(**asking(QUESTION, bindings=far)).json()["choices"][0]["message"]["content"]


def test_samples_follow_their_seed(live: Live) -> None:
    def sample(**more: object) -> str:
        body = asking(QUESTION, bindings={"island": "3"}, temperature=1.2, **more)
        return live.ask(**body, max_tokens=15).json()["choices"][0]["message"]["content"]

    assert sample(seed=4) == sample(seed=4)
    assert len({sample() for _ in range(5)}) > 1


@pytest.mark.parametrize(
    "settings",
    [{"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}, {"names_weight": 1e6}, {"names": "link"}],
    ids=["penalties", "weight", "link"],
)
def test_settings_of_decoding_are_those_of_ask(live: Live, elm: ELM, settings: dict) -> None:
    question, bindings = "Who should visit {island}?", {"island": "3"}
    expected = elm.ask(question, bindings, max_new_tokens=40, **settings)
    reply = live.ask(**asking(question, bindings=bindings), max_tokens=40, **settings).json()["choices"][0]
    assert reply["message"]["content"] == expected.text
    assert {name: reply["vectalk"]["settings"][name] for name in settings} == settings


def test_names_are_forced_where_the_model_names_entities(run: Run) -> None:
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    titles = {elm.spaces["island"].title(int(row)) for row in elm.spaces["island"].rows("train")}
    with served(elm) as live:
        for row in range(4):
            question, bindings = "Who should visit {island}?", {"island": str(row)}
            reply = live.ask(**asking(question, bindings=bindings, stream=False), max_tokens=120).json()["choices"][0]
            assert reply["message"]["content"] == elm.ask(question, bindings, max_new_tokens=120).text
            names = [mention["name"] for mention in reply["vectalk"]["mentions"]]
            assert names
            assert set(names) <= titles


# ---- errors


@pytest.mark.parametrize(
    ("change", "param", "text"),
    [
        ({"bindings": {"island": "Nowhere at all"}}, "bindings.island", "has no entity"),
        ({"bindings": {"island": [1.0, 2.0]}}, "bindings.island", "has 16 numbers, this one has 2"),
        ({"bindings": {"island": [1e39] * 16}}, "bindings.island", "standard deviations from the mean"),
        ({"bindings": {"island": "'1' * 1e30"}}, "bindings.island", "standard deviations from the mean"),
        ({"bindings": {"island": {"base64": "AAA"}}}, "bindings.island", "base64 is malformed"),
        ({"bindings": {"island": {"base64": "AAAA"}}}, "bindings.island", "no multiple of 4"),
        ({"bindings": {"island": {"space": "iland", "expression": "'1'"}}}, "bindings.island.space", "mean island?"),
        ({"bindings": {"island": {"space": "island"}}}, "bindings.island", "exactly one of"),
        ({"bindings": {"island": "(" * 1_500 + "'1'" + ")" * 1_500}}, "bindings.island", "inside each other"),
        ({"bindings": {"island": "'" + "a" * 5_000}}, "bindings.island", "5001 characters; allowed are 4000"),
        ({"messages": [{"role": "user", "content": "a" * 20_001}]}, "messages", "20001 characters"),
        ({"messages": [{"role": "user", "content": "a b " * 2_000}], "bindings": {}}, None, "shorten the question"),
        ({"bindings": {}}, None, "has no vector"),
        ({"bindings": {"island": "1", "b": "2"}}, None, "has no slot"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"max_tokens": 100_000}, "max_tokens", "allows 1024"),
        ({"n": 2}, "n", "n is not supported"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
        ({"temperatur": 0.5}, "temperatur", "did you mean temperature"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"messages": []}, "messages", "messages is empty"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages.0", "not supported"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role", "last message must be of the user"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None, "image_url"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "question is empty"),
        (
            {"messages": [{"role": "user", "content": "island:'1'" * 3 + "island:'2'" * 3 + "".join(
                f"island:'{n}' " for n in range(3, 20))}]},
            "messages", "at most 16 vectors",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_400(live: Live, change: dict, param: str | None, text: str) -> None:
    reply = live.ask(**{**asking(QUESTION, bindings={"island": "1"}), **change})
    error = reply.json()["error"]
    assert reply.status_code == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert text in error["message"]
    if param is not None:
        assert error["param"] == param


def test_nan_and_infinity_are_refused(live: Live) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        values = ", ".join([number] + ["0"] * 15)
        body = f'{{"model": "{NAME}", "messages": [{{"role": "user", "content": "{{island}}"}}], '
        with live.http() as client:
            reply = client.post(
                "/v1/chat/completions",
                content=body + f'"bindings": {{"island": [{values}]}}}}',
                headers={"content-type": "application/json"},
            )
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (400, "bindings.island.0")
        assert "finite number" in error["message"]


def test_harmless_parameters_are_ignored(live: Live) -> None:
    harmless = {
        "user": "me", "store": True, "metadata": {"a": "b"}, "n": 1, "logprobs": False, "presence_penalty": 0.0,
        "frequency_penalty": 0, "tools": [], "tool_choice": "auto", "response_format": {"type": "text"},
        "logit_bias": None, "reasoning_effort": None, "parallel_tool_calls": True, "stop": None, "top_p": None,
    }  # fmt: skip
    plain = live.ask(**asking(QUESTION, bindings={"island": "1"}))
    reply = live.ask(**asking(QUESTION, bindings={"island": "1"}, **harmless))
    assert reply.json()["choices"][0]["message"] == plain.json()["choices"][0]["message"]


def test_earlier_turns_are_not_read_and_the_answer_says_so(live: Live) -> None:
    alone = live.ask(**asking("Describe island:'4'.")).json()["choices"][0]
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}]
    turn = live.ask(messages=[*history, {"role": "user", "content": "Describe island:'4'."}]).json()["choices"][0]
    assert turn["message"] == alone["message"]
    assert "notes" not in alone["vectalk"]
    assert "earlier messages were not read" in turn["vectalk"]["notes"][0]


def test_unknown_models_and_addresses_have_the_shape_of_errors(live: Live) -> None:
    reply = live.ask(**asking("Hello"), model="gpt-4o")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    with live.http() as client:
        for path in ("/v1/nothing", "/nothing", "/v1/models/nothing"):
            reply = client.get(path)
            assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")
        assert client.get("/v1/chat/completions").json()["error"]["message"].startswith("this address does not take")
        reply = client.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


def test_the_documentation_explains_the_content_part(live: Live) -> None:
    with live.http() as client:
        page = client.get("/docs")
        schema = client.get("/openapi.json").json()
    assert "little-endian float32" in page.text
    assert "/api/spaces/{space}/place" in page.text
    assert "<script" not in page.text.lower()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    parts = json.dumps(schema["components"]["schemas"]["VectorPart"])
    assert "expression" in parts
    assert "base64" in parts

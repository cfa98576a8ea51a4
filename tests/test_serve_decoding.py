"""Settings of decoding over HTTP: their documentation, wrong values, defaults of the run, and names in the answer."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import vectalk as vt
from live_server import NAME, Live, served
from vectalk.decoding.defaults import write_defaults
from vectalk.model.run import Run
from vectalk.talk import ELM

QUESTION, BINDINGS = "Who should visit {island}?", {"island": "3"}
SETTINGS = ("top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size", "names", "names_weight")


@pytest.fixture(scope="module")
def elm(run: Run, tmp_path_factory: pytest.TempPathFactory) -> ELM:
    """A run with default settings of decoding of its own."""
    folder = Path(shutil.copytree(run.path, tmp_path_factory.mktemp("defaults") / "run"))
    write_defaults(folder, {"repetition_penalty": 1.5, "no_repeat_ngram_size": 1})
    spaces = {name: str(space.path) for name, space in run.spaces().items()}
    return vt.ELM.from_pretrained(folder, device="cpu", spaces=spaces)


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm) as live:
        yield live


def choice_of(live: Live, **more: object) -> dict:
    body = {"messages": [{"role": "user", "content": QUESTION}], "bindings": BINDINGS, "max_tokens": 80, **more}
    return live.ask(**body).json()["choices"][0]


def test_each_setting_is_documented(live: Live) -> None:
    with live.http() as client:
        page, schema = client.get("/docs").text, client.get("/openapi.json").json()
    fields = schema["components"]["schemas"]["ChatRequest"]["properties"]
    for name in SETTINGS:
        assert len(fields[name]["description"]) > 20
        assert name in page


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", -2), ("top_k", 1.5), ("top_k", "many"), ("min_p", 1.1), ("min_p", -0.1), ("repetition_penalty", 0),
        ("repetition_penalty", 101), ("no_repeat_ngram_size", -1), ("names", "maybe"), ("names", 1),
        ("names_weight", -1), ("names_weight", "heavy"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(live: Live, name: str, value: object) -> None:
    body = {"messages": [{"role": "user", "content": QUESTION}], "bindings": BINDINGS, name: value}
    reply = live.ask(**body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, name)
    assert reply.json()["error"]["message"].startswith(f"{name}: ")


def test_the_defaults_of_the_run_hold_for_the_server(live: Live, elm: ELM, run: Run) -> None:
    choice = choice_of(live)
    assert choice["message"]["content"] == elm.ask(QUESTION, BINDINGS, max_new_tokens=80).text
    assert choice["vectalk"]["settings"]["repetition_penalty"] == 1.5
    assert choice["vectalk"]["settings"]["no_repeat_ngram_size"] == 1
    without = {"repetition_penalty": 1, "no_repeat_ngram_size": 0}
    plain = vt.ELM.from_pretrained(run.path, device="cpu").ask(QUESTION, BINDINGS, max_new_tokens=80, **without).text
    assert choice_of(live, **without)["message"]["content"] == plain != choice["message"]["content"]


@pytest.mark.parametrize("names", ["force", "link", "off"])
def test_names_are_reported_at_the_end_of_a_stream_too(live: Live, names: str) -> None:
    settings = {"repetition_penalty": 1, "no_repeat_ngram_size": 0, "names": names}
    whole = choice_of(live, **settings)
    chunks = list(
        live.openai().chat.completions.create(
            model=NAME, messages=[{"role": "user", "content": QUESTION}], max_tokens=80, stream=True,
            extra_body={"bindings": BINDINGS, **settings},
        )
    )  # fmt: skip
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    mentions = chunks[-1].choices[0].model_extra["vectalk"]["mentions"]
    assert text == whole["message"]["content"]
    assert mentions == whole["vectalk"]["mentions"]
    assert [text[one["start"] : one["end"]] for one in mentions] == [one["name"] for one in mentions]
    assert bool(mentions) == (names != "off")
    if names == "force":
        assert all(one["id"] is not None for one in mentions)

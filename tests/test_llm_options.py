"""The one door to LLMs that write or judge, from Python and from the command line."""

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest

from fake_endpoint import Answer, say, serving
from vectalk.cli import corpus, curves, evaluate, judge
from vectalk.cli.llm_options import LLMOptions
from vectalk.evaluation.judges import QUESTIONS
from vectalk.files import write_json
from vectalk.llm import open_chat
from worlds import call

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")


def test_the_older_name_of_endpoints_is_understood(tmp_path: Path) -> None:
    with serving("Hello.") as fake:
        for name in ("openai:m", "llm:m"):
            with open_chat(name, {"base_url": fake.url}, cache=tmp_path / "cache") as client:
                assert client.map(client.chat, [say("Hi")])[0].text == "Hello."
        assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("settings", "temperature"), [({}, 0), ({"params.temperature": 0.5}, 0.5), ({"params.temperature": None}, None)]
)
def test_greedy_gives_way_to_what_the_user_says(settings: dict, temperature: float | None, tmp_path: Path) -> None:
    with serving() as fake:
        with open_chat("openai:m", {"base_url": fake.url, **settings}, greedy=True, cache=tmp_path / "c") as client:
            client.map(client.chat, [say("Hi")])
        assert fake.requests[0].get("temperature") == temperature


def test_every_verb_that_opens_an_llm_spells_its_options_alike() -> None:
    own = {field.name for field in fields(LLMOptions)}
    for verb in (corpus.build, judge.llm, evaluate.evaluate, curves.curves):
        taken = set(inspect.signature(verb).parameters)
        assert own <= taken
        assert "llm_options" not in taken


@pytest.mark.parametrize("verb", ["evaluate", "curves"])
def test_options_of_an_llm_that_is_not_there_are_told(verb: str, tmp_path: Path, capsys) -> None:
    code, _, err = call([verb, str(tmp_path), "--out", str(tmp_path / "o"), "--base-url", "http://localhost"], capsys)
    assert code == 2
    assert "--base-url needs an LLM that writes or judges texts; name the LLM with --text-llm openai:MODEL" in " ".join(
        err.split()
    )
    assert not (tmp_path / "o").exists()


def test_a_judge_from_the_command_line(tmp_path: Path, capsys) -> None:
    texts = {"task": "summary", "question": "What is it?", "known": "", "condition": "elm", "sc": None}
    items = [{**texts, "item": f"{n}", "text": f"Text {n}.", "example": n} for n in range(3)]
    write_json(tmp_path / "key.json", {"items": items, "evaluation": str(tmp_path)})
    rating = json.dumps(dict.fromkeys(QUESTIONS, 4))
    with serving(lambda request, number: Answer(rating if request["max_tokens"] == 50 else "no")) as fake:
        more = ["--judge", "openai:m", "--base-url", fake.url, "--max-reply-tokens", "50", "--json"]
        code, out, err = call(["judge", "llm", str(tmp_path), "--cache", str(tmp_path / "cache"), *more], capsys)
    assert code == 0, err
    assert json.loads(out)["rated"] == 3
    assert (tmp_path / "ratings-openai-m.csv").is_file()
    assert all(request["temperature"] == 0 for request in fake.requests)

"""What a user leaves out: the run's own default first, and with `sample` what the LLM recommends."""

import json
from pathlib import Path

import pytest
from transformers import GenerationConfig

import vectalk as vt
from vectalk.decoding.defaults import complete, read_defaults, write_defaults
from vectalk.errors import PromptError, RunError
from vectalk.llm.loading import load_llm
from vectalk.model.export import ExportCard, export_merged
from vectalk.model.hub import bundle
from vectalk.model.run import Run, save_model
from vectalk.talk import ELM, Answer, Decoding
from vectalk.talk.chat import Chat
from vectalk.talk.narrate import job
from worlds import call, save_llm

QUESTION = "Describe {island}."
LIMIT = {"max_new_tokens": 40}
STORED = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
RECOMMENDED = {"temperature": 0.6, "top_k": 20, "top_p": 0.9}


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return vt.ELM.from_pretrained(run.path, device="cpu")


@pytest.fixture(scope="module")
def stored(elm: ELM, tmp_path_factory: pytest.TempPathFactory) -> ELM:
    """The same run with defaults of its own, and with an LLM that recommends a way of sampling."""
    folder = elm.save_pretrained(tmp_path_factory.mktemp("defaults") / "run")
    write_defaults(folder, STORED, [{**STORED, "loops": 0.0, "f1": 0.5}])
    GenerationConfig(do_sample=True, **RECOMMENDED).save_pretrained(folder / "llm")
    return vt.ELM.from_pretrained(folder, device="cpu")


# ---- the rule


def test_the_caller_comes_before_the_run_and_the_run_before_the_llm() -> None:
    defaults, recommended = {"repetition_penalty": 1.1}, {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.5}
    assert complete({}, {}, recommended) == Decoding(repetition_penalty=1.0, no_repeat_ngram_size=0)
    assert complete({"top_p": None}, defaults, recommended).settings() == complete({}, defaults, None).settings()
    sampled = complete({"sample": True}, defaults, recommended)
    assert (sampled.temperature, sampled.top_k, sampled.repetition_penalty) == (0.6, 20, 1.1)
    assert complete({"sample": True}, {}, recommended).repetition_penalty == 1.5
    said = complete({"sample": True, "temperature": 1.2, "repetition_penalty": 1.0}, defaults, recommended)
    assert (said.temperature, said.top_k, said.repetition_penalty) == (1.2, 20, 1.0)
    assert complete({"sample": True}, {}, {}).temperature == 1.0
    assert complete({"temperature": 0.7}, {}, recommended).top_k == 0


@pytest.mark.parametrize(
    ("settings", "recommended", "message"),
    [
        ({"sample": True, "temperature": 0}, {}, "sample is set, but temperature is 0"),
        ({"sample": True}, None, "does not know what the LLM recommends"),
        ({"sample": 1}, {}, "sample is 1; allowed is True or False"),
        ({"samples": True}, {}, "unknown setting 'samples'; the settings are .*sample, .*no_repeat_ngram_size"),
    ],
)
def test_contradictions_are_named(settings: dict, recommended: dict | None, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        complete(settings, {}, recommended)


# ---- what a run stores


def test_an_older_run_has_no_defaults(run: Run, tmp_path: Path) -> None:
    assert read_defaults(run.path) == {} == read_defaults(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "repetition_penalty": 0}', "repetition_penalty"),
        ('{"format": 1, "no_repeat_ngram_size": 1.5}', "no_repeat_ngram_size"),
        ('{"format": 99}', "update vectalk"),
        ("[]", "malformed"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "decoding.json").write_text(text)
    with pytest.raises(RunError, match=message) as error:
        read_defaults(tmp_path)
    assert "decoding.json" in str(error.value)


def test_defaults_of_a_run_are_used_wherever_it_answers(elm: ELM, stored: ELM, tmp_path: Path) -> None:
    bindings = {"island": "3"}
    plain = elm.ask(QUESTION, bindings, **LIMIT)
    answer = stored.ask(QUESTION, bindings, **LIMIT)
    assert answer.text == elm.ask(QUESTION, bindings, **LIMIT, **STORED).text != plain.text
    assert STORED.items() <= answer.settings.items()
    *_, streamed = stored.stream(QUESTION, bindings, **LIMIT)
    assert isinstance(streamed, Answer)
    assert streamed.text == answer.text
    vector = {"island": ("island", stored.point("island", "3").values)}
    assert stored.generate([QUESTION], [vector], **LIMIT) == [answer.text]
    assert STORED.items() <= job(stored, "island", tmp_path, question=QUESTION).decoding.settings().items()
    off = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    assert stored.ask(QUESTION, bindings, **LIMIT, **off).text == plain.text
    narration = job(stored, "island", tmp_path, question=QUESTION, decoding=Decoding(**off))
    assert not narration.decoding.penalizes


def test_defaults_travel_with_the_run(stored: ELM, tmp_path: Path) -> None:
    assert read_defaults(stored.save_pretrained(tmp_path / "copy")) == STORED
    with bundle(stored.run) as folder:
        assert read_defaults(folder) == STORED


# ---- what an LLM recommends


def test_recommended_settings_are_stored_and_change_no_answer(tokenizer, tmp_path: Path) -> None:
    folder = save_llm("llama", tokenizer, tmp_path / "llm")
    assert load_llm(str(folder), device="cpu").recommended == {}
    GenerationConfig(do_sample=True, typical_p=0.3, eos_token_id=1, **RECOMMENDED).save_pretrained(folder)
    language = load_llm(str(folder), device="cpu")
    assert language.recommended == RECOMMENDED
    assert not RECOMMENDED.keys() & language.model.generation_config.to_diff_dict().keys()


def test_sampling_takes_what_the_llm_recommends(elm: ELM, stored: ELM) -> None:
    bindings = {"island": "3"}
    assert stored.ask(QUESTION, bindings, **LIMIT).settings["temperature"] == 0
    sampled = stored.ask(QUESTION, bindings, sample=True, seed=4, **LIMIT)
    assert {**RECOMMENDED, **STORED}.items() <= sampled.settings.items()
    assert sampled.text == elm.ask(QUESTION, bindings, seed=4, **RECOMMENDED, **STORED, **LIMIT).text
    assert elm.ask(QUESTION, bindings, sample=True, **LIMIT).settings["temperature"] == 1.0


def test_recommended_settings_outlive_full_fine_tuning_and_export(stored: ELM, tmp_path: Path) -> None:
    save_model(tmp_path, stored.model, "full")
    assert load_llm(str(tmp_path / "llm"), device="cpu").recommended == RECOMMENDED
    export_merged(stored.run, tmp_path / "plain")
    assert ExportCard.read(tmp_path / "plain").recommended == RECOMMENDED
    # A server applies what it finds there to every request.
    saved = json.loads((tmp_path / "plain" / "generation_config.json").read_text())
    assert not RECOMMENDED.keys() & saved.keys()


# ---- verbs


def test_a_chat_samples_when_told_to(stored: ELM) -> None:
    chat = Chat(stored, dict(LIMIT))
    list(chat.hear("/bind island = 3"))
    list(chat.hear("/set sample true"))
    list(chat.hear(QUESTION))
    assert chat.turns[-1].answer.settings["top_k"] == RECOMMENDED["top_k"]
    with pytest.raises(PromptError, match="sample is set, but temperature is 0"):
        list(chat.hear("/set temperature 0"))
    assert chat.settings == {**LIMIT, "sample": True}


def test_json_names_the_settings_that_were_used(stored: ELM, tmp_path: Path, capsys) -> None:
    run = str(stored.run.path)
    words = ["ask", run, QUESTION, "--bind", "island=3", "--max-new-tokens", "8", "--device", "cpu", "--json"]
    code, out, _ = call([*words, "--sample", "--top-k", "7", "--repetition-penalty", "1.2"], capsys)
    assert code == 0
    used = {**RECOMMENDED, **STORED, "top_k": 7, "repetition_penalty": 1.2}
    assert used.items() <= json.loads(out)["settings"].items()
    narrate = ["narrate", run, "island", "--question", QUESTION, "--out", str(tmp_path / "texts"), "--json"]
    options = ["--max-new-tokens", "2", "--no-repeat-ngram-size", "3", "--device", "cpu"]
    code, out, _ = call([*narrate, *options], capsys)
    assert code == 0
    settings = json.loads(out)["decoding"]
    assert (settings["repetition_penalty"], settings["no_repeat_ngram_size"], settings["temperature"]) == (1.3, 3, 0)


@pytest.mark.parametrize("verb", ["ask", "chat", "narrate"])
def test_wrong_options_end_with_one_message(stored: ELM, tmp_path: Path, verb: str, capsys) -> None:
    arguments = {
        "ask": [QUESTION, "--bind", "island=3"],
        "chat": [],
        "narrate": ["island", "--question", QUESTION, "--out", str(tmp_path / "x")],
    }
    words = [verb, str(stored.run.path), *arguments[verb], "--device", "cpu", "--repetition-penalty", "-1"]
    code, out, err = call(words, capsys)
    assert (code, out) == (2, "")
    assert "repetition_penalty is -1.0; allowed is above 0" in err
    assert "Traceback" not in err

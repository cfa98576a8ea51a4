"""Bad input is one clear message and exit code 2; good input is what was asked for and nothing else."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import forked
from vectalk.cli import ask as _ask  # noqa: F401  (loaded once, so that single tests are quick)
from vectalk.cli.main import VERBS
from vectalk.demo.world import World
from vectalk.llm.loading import LanguageModel
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk import ELM
from vectalk.tasks import Corpus
from worlds import SHORT, call, make_islands, save_llm

QUESTION = "Describe {island}."


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *parts: str, usage: bool = False) -> str:
    """Check exit code 2, one message on stderr, nothing on stdout; returns the message."""
    code, out, err = call(arguments, capsys)
    assert (code, out) == (2, ""), err
    if usage:
        assert err.startswith("Usage: ")
    else:
        assert err.startswith("vectalk: error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
    assert "Traceback" not in err
    flat = " ".join(err.replace("│", " ").split())  # typer's frame breaks lines
    for part in parts:
        assert part in flat, err
    return err


@pytest.fixture
def asked(run: Run) -> list[str]:
    return ["ask", str(run.path), QUESTION, "--device", "cpu"]


def building(corpus: Corpus, out: Path, suite: str | Path) -> list[str]:
    space = corpus.spaces["island"].path
    return ["corpus", "build", "--space", f"island={space}", "--suite", str(suite), "--out", str(out)]


def training(corpus: Path, llm: Path | str, out: Path) -> list[str]:
    sets = [part for name, value in SHORT.items() for part in ("--set", f"{name}={value}")]
    return ["train", str(corpus), "--llm", str(llm), "--out", str(out), "--device", "cpu", *sets]


SUITE = str(Path(sys.modules[World.__module__].__file__ or "").with_name("islands.yaml"))


# ---- ask: bad input


def test_a_missing_run(tmp_path: Path, capsys) -> None:
    refused(["ask", str(tmp_path / "no"), QUESTION], capsys, "is not a run (no such folder)", "vectalk train")


def test_a_folder_that_is_no_run(corpus: Corpus, capsys) -> None:
    refused(["ask", str(corpus.path), QUESTION], capsys, "is not a run (it has no elm.json)")


def test_an_unfinished_run(tmp_path: Path, capsys) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    refused(["ask", str(tmp_path / "run"), QUESTION], capsys, "has not finished", "--resume")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_a_broken_card(tmp_path: Path, text: str, capsys) -> None:
    (tmp_path / "elm.json").write_text(text)
    refused(["ask", str(tmp_path), QUESTION], capsys, "elm.json")


def test_a_space_of_another_dimension(asked: list[str], tmp_path: Path, capsys) -> None:
    other = World.make(dim=9).space(40).save(tmp_path / "other")
    command = [*asked, "--bind", "island=1", "--space", f"island={other.path}"]
    refused(command, capsys, "vectors of 16 dimensions for 'island'", "has 9")


def test_a_replaced_space(asked: list[str], tmp_path: Path, capsys) -> None:
    other = World.make(seed=9).space(40).save(tmp_path / "other")
    command = [*asked, "--bind", "island=1", "--space", f"island={other.path}"]
    refused(command, capsys, other.fingerprint[:12], "--space island=DIR")


def test_a_space_that_is_not_there(asked: list[str], tmp_path: Path, capsys) -> None:
    command = [*asked, "--bind", "island=1", "--space"]
    refused([*command, f"island={tmp_path}"], capsys, f"{tmp_path} is not a space (it has no space.json)")
    refused([*command, f"film={tmp_path}"], capsys, "no space 'film'; it has island")


def test_an_unknown_title_names_the_closest(asked: list[str], islands: VectorSpace, capsys) -> None:
    title = max(islands.column("title").to_pylist(), key=len)
    slip = title[:-1] + "x"
    refused([*asked, "--bind", f"island={slip}"], capsys, f"no entity {slip!r}", "did you mean", title)


@pytest.mark.parametrize("more", [[], ["--json"], ["--beams", "2"]])
def test_slots_and_vectors_that_do_not_agree(asked: list[str], more: list[str], capsys) -> None:
    refused([*asked, *more], capsys, "slot {island} has no vector")
    refused([*asked, *more, "--bind", "island=1", "--bind", "film=2"], capsys, "no slot {film}")


@pytest.mark.parametrize("bind", ["island", "=1", "island=", "island= "])
def test_a_malformed_binding(asked: list[str], bind: str, capsys) -> None:
    refused([*asked, "--bind", bind], capsys, f"--bind takes NAME=VALUE, not {bind!r}", usage=True)


def test_a_binding_given_twice(asked: list[str], capsys) -> None:
    refused([*asked, "--bind", "island=1", "--bind", "island=2"], capsys, "has 'island' twice", usage=True)


@pytest.mark.parametrize("expression", ["lerp('1', '2'", "lerp('1')", "'1' + 2", "frob('1')", "'1' *"])
def test_a_malformed_expression(asked: list[str], expression: str, capsys) -> None:
    refused([*asked, "--bind", f"island={expression}"], capsys)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu"])
def test_an_unknown_device(run: Run, device: str, capsys) -> None:
    refused(["ask", str(run.path), QUESTION, "--bind", "island=1", "--device", device], capsys, f"device {device!r}")


def test_wrong_settings(asked: list[str], capsys) -> None:
    command = [*asked, "--bind", "island=1"]
    refused([*command, "--temperature", "-1"], capsys, "temperature is -1.0")
    refused([*command, "--max-new-tokens", "0"], capsys, "max_new_tokens is 0")
    refused([*command, "--beams", "0"], capsys, "beams is 0")
    refused([*command, "--frob"], capsys, "--frob", usage=True)


# ---- corpus: bad input


def test_an_empty_corpus(tmp_path: Path, capsys) -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    space = VectorSpace.create("island", vectors, {"id": [str(n) for n in range(60)]}).save(tmp_path / "bare")
    command = ["corpus", "build", "--space", f"island={space.path}", "--suite", SUITE, "--out", str(tmp_path / "out")]
    refused([*command, "--task", "summary"], capsys, "the corpus is empty", "summary")
    assert {path.name for path in tmp_path.iterdir()} == {"bare"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name: x\ntasks: [", "not valid YAML"),
        ("name: x\ntasks: []", "tasks: "),
        ("name: x\ncolour: red\ntasks: []", "colour: "),
        ("", "is malformed"),
    ],
)
def test_a_malformed_suite(corpus: Corpus, tmp_path: Path, text: str, part: str, capsys) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    code, out, err = call(building(corpus, tmp_path / "out", path), capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"vectalk: error: suite {path}")
    assert part in err
    assert tree(tmp_path) == ["mine.yaml"]


def test_wrong_choices_of_a_corpus(corpus: Corpus, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    refused(building(corpus, out, "music"), capsys, "no suite 'music'", "movies")
    refused(building(corpus, out, tmp_path / "no.yaml"), capsys, "no.yaml does not exist")
    refused([*building(corpus, out, SUITE), "--teacher", "oracle"], capsys, "unknown teacher 'oracle'", "openai:MODEL")
    refused([*building(corpus, out, SUITE), "--task", "sumary"], capsys, "no task 'sumary'", "summary")
    refused([*building(corpus, out, SUITE), "--variants", "0"], capsys, "variants must be at least 1")
    refused(building(corpus, out, "movies"), capsys, "--space film=DIR")
    refused(["corpus", "build", "--space", f"island={tmp_path}", "--suite", SUITE, "--out", str(out)], capsys, "space")
    refused(["corpus", "build", "--suite", SUITE, "--out", str(out)], capsys, "--space", usage=True)
    assert tree(tmp_path) == []


def test_an_out_that_exists(corpus: Corpus, random_llm: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    refused(building(corpus, tmp_path / "out", SUITE), capsys, "exists already", "--overwrite")
    refused(training(corpus.path, random_llm, tmp_path / "out"), capsys, "is not empty", "--out")
    refused(building(corpus, tmp_path / "out" / "mine.txt", SUITE), capsys, "exists already")
    assert tree(tmp_path) == ["out", "out/mine.txt"]


def test_wrong_choices_of_a_show(corpus: Corpus, tmp_path: Path, capsys) -> None:
    refused(["corpus", "show", str(tmp_path)], capsys, "is not a corpus (it has no corpus.json)")
    refused(["corpus", "show", str(corpus.path), "--split", "tset"], capsys, "unknown split 'tset'")
    refused(["corpus", "show", str(corpus.path), "-n", "-1"], capsys, "--count", usage=True)
    refused(["corpus", "show", str(corpus.path), "--task", "sumary"], capsys, "no task 'sumary'")
    refused(["corpus", "show", str(corpus.path), "--llm", str(tmp_path)], capsys, "it has no config.json")


# ---- train: bad input


def test_a_missing_corpus(random_llm: Path, tmp_path: Path, capsys) -> None:
    refused(training(tmp_path / "no", random_llm, tmp_path / "run"), capsys, "is not a corpus (no such folder)")
    assert tree(tmp_path) == []


def test_an_llm_that_is_not_there_leaves_nothing(corpus: Corpus, tokenizer, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    refused(training(corpus.path, tmp_path / "no", run), capsys, "LLM folder", "no such folder")
    refused(training(corpus.path, corpus.path, run), capsys, "it has no config.json")
    refused(training(corpus.path, "nobody/nothing-at-all", run), capsys, "'nobody/nothing-at-all' cannot be loaded")
    refused([*training(corpus.path, "no", run), "--device", "gpu"], capsys)
    assert tree(tmp_path) == []


def test_a_wrong_device_leaves_nothing(corpus: Corpus, random_llm: Path, tmp_path: Path, capsys) -> None:
    refused([*training(corpus.path, random_llm, tmp_path / "run"), "--device", "gpu"], capsys, "device 'gpu'")
    assert tree(tmp_path) == []


def test_wrong_settings_of_training(corpus: Corpus, random_llm: Path, tmp_path: Path, capsys) -> None:
    command = training(corpus.path, random_llm, tmp_path / "run")
    refused([*command, "--set", "stage1.step=5"], capsys, "there is no setting stage1.step; did you mean stage1.steps")
    refused([*command, "--set", "dtype=float7"], capsys, "dtype: ", "float7", "bfloat16")
    refused([*command, "--set", "stage9"], capsys, "--set takes NAME=VALUE", usage=True)
    refused([*command, "--set", "stage9=[1,"], capsys, "--set stage9: '[1,' is not a valid YAML value", usage=True)
    refused([*command, "--config", str(tmp_path / "no.yaml")], capsys, "no.yaml does not exist")
    refused([*command, "--resume"], capsys, "has no run to resume")
    assert tree(tmp_path) == []


def test_a_corpus_whose_space_was_replaced(random_llm: Path, tmp_path: Path, capsys) -> None:
    corpus = make_islands(tmp_path / "world", rows=40)
    World.make().space(40, seed=7).save(tmp_path / "world" / "islands", overwrite=True)
    before = tree(tmp_path)
    refused(training(corpus.path, random_llm, tmp_path / "run"), capsys, "fingerprint", "--space island=DIR")
    refused(["corpus", "show", str(corpus.path)], capsys, "fingerprint")
    assert tree(tmp_path) == before


# ---- good input


def test_ask_json_is_one_document(asked: list[str], run: Run, capsys) -> None:
    code, out, err = call([*asked, "--bind", "island=lerp('1', '2', 0.5)", "--json", "--quiet"], capsys)
    assert (code, err) == (0, "")
    elm = ELM.from_pretrained(run.path, device="cpu")
    assert json.loads(out) == json.loads(json.dumps(elm.ask(QUESTION, {"island": "lerp('1', '2', 0.5)"}).to_dict()))
    assert out.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--beams", "2"]])
def test_ask_writes_the_answer_and_its_grounds(asked: list[str], run: Run, more: list[str], capsys) -> None:
    elm = ELM.from_pretrained(run.path, device="cpu")
    title = elm.spaces["island"].title(7)
    answer = elm.ask(QUESTION, {"island": title}, neighbors=2, beams=2 if more else 1)
    code, out, err = call([*asked, "--bind", f"island={title}", "--neighbors", "2", *more], capsys)
    assert (code, out) == (0, answer.text + "\n")
    assert f"{{island}} = {title!r}: {answer.support}" in err
    assert [line.split()[-1] for line in err.splitlines()[2:]] == [near.title for near in answer.neighbors]
    code, out, err = call([*asked, "--bind", "island=7", "--quiet", *more], capsys)
    assert (code, out, err) == (0, answer.text + "\n", "")


def test_ask_says_when_it_cut(asked: list[str], capsys) -> None:
    code, _, err = call([*asked, "--bind", "island=7", "--max-new-tokens", "3"], capsys)
    assert code == 0
    assert "(the answer is cut off at 3 tokens; raise --max-new-tokens to get more)" in err


def test_ask_says_what_cut_it(run: Run, asked: list[str], capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    length = ELM.from_pretrained(run.path, device="cpu").engine.prompt(QUESTION, {"island": ("island", None)})
    monkeypatch.setattr(LanguageModel, "context", property(lambda language: len(length) + 3))
    for more, cut in ((["--max-new-tokens", "400"], "context"), (["--max-new-tokens", "2"], "max_new_tokens")):
        for beams in ([], ["--beams", "2"]):
            code, _, err = call([*asked, "--bind", "island=7", *more, *beams], capsys)
            assert code == 0
            limit = f"the LLM's context of {len(length) + 3} tokens)"
            said = f"(the answer is cut off, because question and answer fill {limit}"
            assert (said in err) == (cut == "context")
            assert ("(the answer is cut off at 2 tokens; raise --max-new-tokens to get more)" in err) == (
                cut == "max_new_tokens"
            )
            code, out, _ = call([*asked, "--bind", "island=7", *more, *beams, "--json"], capsys)
            assert (json.loads(out)["finished"], json.loads(out)["cut"]) == (False, cut)


def test_build_show_train(tmp_path: Path, tokenizer, capsys) -> None:
    corpus = make_islands(tmp_path, rows=60, variants=4)
    code, out, err = call([*building(corpus, tmp_path / "again", SUITE), "--json", "-q"], capsys)
    assert (code, err) == (0, "")
    assert json.loads(out)["counts"] == corpus.card["counts"]
    again = Corpus.load(tmp_path / "again")
    assert list(again.examples("train")) == list(corpus.examples("train"))

    code, out, _ = call(["corpus", "show", str(again.path), "-n", "3", "--task", "visitor", "--json"], capsys)
    shown = json.loads(out)
    assert (code, len(shown)) == (0, 3)
    assert {example["task"] for example in shown} == {"visitor"}
    llm = save_llm("llama", tokenizer, tmp_path / "llm")
    code, out, _ = call(["corpus", "show", str(again.path), "-n", "1", "--llm", str(llm)], capsys)
    assert code == 0
    assert "<|end|>«" in out

    code, out, err = call([*training(again.path, llm, tmp_path / "run"), "--lora", "--seed", "3", "--json"], capsys)
    assert code == 0
    card = json.loads(out)
    assert (card["run"], card["llm"]["trained"]) == (str(tmp_path / "run"), "lora")
    assert Run.load(tmp_path / "run").config["seed"] == 3
    assert "one example, with the tokens to learn between »«" in err
    code, out, err = call(["ask", str(tmp_path / "run"), QUESTION, "--bind", "island=7", "--json", "-q"], capsys)
    assert code == 0
    assert json.loads(out)["settings"]["trained"] == "lora"


def test_help_names_every_verb(capsys) -> None:
    code, out, _ = call(["--help"], capsys)
    assert code == 0
    assert all(verb in out for verb in VERBS)
    for verb in VERBS:
        group = typer.main.get_command(importlib.import_module(f"vectalk.cli.{verb.replace('-', '_')}").app)
        for words in ([verb], *([verb, name] for name in getattr(group, "commands", {}))):
            code, out, _ = call([*words, "--help"], capsys)
            assert code == 0, words
            assert "Usage" in out
    code, out, err = call(["frobnicate"], capsys)
    assert (code, out) == (2, "")
    assert "frobnicate" in err


def test_the_version(capsys) -> None:
    import vectalk

    assert call(["--version"], capsys) == (0, f"vectalk {vectalk.__version__}\n", "")


# ---- in a process of its own


def test_corpora_take_the_options_that_do_something(corpus: Corpus, tmp_path: Path, capsys) -> None:
    for command in (["corpus", "show", str(corpus.path)], building(corpus, tmp_path / "out", SUITE)):
        code, out, err = call([*command, "--quiet", "--seed", "3", "--json"], capsys)
        assert (code, err) == (0, ""), command
        assert json.loads(out)
        code, out, err = call([*command, "--device", "cpu"], capsys)
        assert (code, out) == (2, "")
        assert "No such option: --device" in " ".join(err.split())


def test_the_command_itself(asked: list[str]) -> None:
    vectalk = Path(sys.executable).with_name("vectalk")
    done = subprocess.run([vectalk, *asked, "--bind", "island=7", "--json", "--quiet"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    keys = {"text", "question", "slots", "settings", "finished", "influence", "abstained", "consistency", "cut"}
    keys.add("mentions")
    assert set(json.loads(done.stdout)) == keys
    done = forked.run(*asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vectalk: error: ")
    assert done.stderr.count("\n") == 1


def test_a_question_in_other_words_is_told_apart(run, capsys) -> None:
    asked = ["ask", str(run.path), "--bind", "island=7", "--device", "cpu", "--max-new-tokens", "4"]
    code, _, err = call([*asked, "How many beaches has {island}?"], capsys)
    assert code == 0
    assert "trained on other wordings, such as: Describe {island}." in err
    code, _, err = call([*asked, "Describe {island}."], capsys)
    assert code == 0
    assert "other wordings" not in err

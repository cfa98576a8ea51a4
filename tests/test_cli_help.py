"""The help of every verb: complete, with options that all verbs share, and an example that really parses."""

import importlib
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from vectalk.cli.examples import EXAMPLES
from vectalk.cli.main import VERBS, LazyGroup
from worlds import call


def leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield every verb that does something, with its words."""
    if isinstance(command, TyperGroup):
        for name, verb in command.commands.items():
            yield from leaves(f"{words} {name}", verb)
    else:
        yield words, command


def every_verb() -> list[tuple[str, Any]]:
    found = []
    for verb in VERBS:
        module = importlib.import_module(f"vectalk.cli.{verb.replace('-', '_')}")
        found += leaves(verb, typer.main.get_command(module.app))
    return found


EVERY = every_verb()


@pytest.mark.parametrize(("words", "command"), EVERY, ids=[words for words, _ in EVERY])
def test_a_verb_explains_itself(words: str, command: Any) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--quiet"} <= options
    for parameter in command.params:
        text = (getattr(parameter, "help", "") or "").strip()
        assert text.endswith((".", "?")), f"{parameter.name}: {text!r}"
        assert "with commas" not in text


@pytest.mark.parametrize(("words", "command"), EVERY, ids=[words for words, _ in EVERY])
def test_an_example_parses(words: str, command: Any) -> None:
    example = shlex.split(EXAMPLES[words].partition(" > ")[0])
    assert example[: 1 + len(words.split())] == ["vectalk", *words.split()]
    command.make_context(words, example[1 + len(words.split()) :], resilient_parsing=False)


def test_no_example_is_of_a_verb_that_is_gone() -> None:
    assert EXAMPLES.keys() == {words for words, _ in EVERY}


def test_help_ends_with_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ask"], ["space", "import"]):
        code, out, _ = call([*words, "--help"], capsys)
        assert code == 0
        assert "Example: vectalk " + " ".join(words) in " ".join(out.replace("\n", " ").split())


def test_a_shared_option_without_effect_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["space", "info", "x", "--seed", "1"], ["suite", "list", "--device", "cpu"]):
        code, out, err = call(command, capsys)
        assert (code, out) == (2, "")
        assert "No such option" in err


def test_the_group_lists_verbs_by_their_job(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["--help"], capsys)
    assert code == 0
    for heading in ("Vectors", "Training data", "Models", "Talk", "Evaluation"):
        assert f"\n{heading}\n" in out
    assert issubclass(LazyGroup, TyperGroup)

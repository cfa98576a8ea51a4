"""Folders of LLMs whose files are damaged, missing or from several models: the message names the file and the fix."""

import json
import shutil
from pathlib import Path

import pytest

from vectalk.errors import LanguageModelError
from vectalk.llm.loading import load_llm
from vectalk.llm.tokenizer import load_context


@pytest.fixture
def folder(random_llm: Path, tmp_path: Path) -> Path:
    """A copy of a complete LLM, for tests that damage it."""
    shutil.copytree(random_llm, tmp_path / "llm")
    return tmp_path / "llm"


def refused(place: Path | str) -> str:
    """The message about an LLM that cannot be loaded."""
    with pytest.raises(LanguageModelError) as error:
        load_llm(str(place), device="cpu")
    return str(error.value)


def in_parts(folder: Path, count: int) -> list[Path]:
    """Turn the weights into the first of several files, with an index that names all of them."""
    names = [f"model-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(count)]
    (folder / "model.safetensors").rename(folder / names[0])
    index = {"metadata": {}, "weight_map": {f"w{n}": name for n, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return [folder / name for name in names]


@pytest.mark.parametrize(
    "content", [b"", b"<html><title>Sign in</title></html>", b"# xet version 0\nfilesize = 100\nhash = 'abc'\n", None]
)
@pytest.mark.parametrize("parts", [False, True])
def test_weights_that_were_not_completely_downloaded_are_named(
    folder: Path, content: bytes | None, parts: bool
) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()[:-100] if content is None else content
    if parts:
        first, file = in_parts(folder, 2)
        assert first.is_file()
    file.write_bytes(content)
    message = refused(folder)
    assert f"{file.name} ({len(content):,} bytes) cannot be read as safetensors" in message
    assert "not completely downloaded; download it again" in message
    assert load_context(str(folder)) == 256  # the rest can be read


def test_a_missing_part_of_the_weights_is_named(folder: Path) -> None:
    in_parts(folder, 3)
    message = refused(folder)
    assert "2 of the 3 files in model.safetensors.index.json are missing (model-00002-of-00003.safetensors)" in message
    (folder / "model.safetensors.index.json").unlink()
    message = refused(folder)
    assert "parts of the weights (model-00001-of-00003.safetensors) but no model.safetensors.index.json" in message


def test_weights_of_another_model_do_not_fit_the_configuration(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 2 * config["intermediate_size"]}))
    assert "the shapes of its weights do not fit its config.json" in refused(folder)


def test_a_tokenizer_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    assert "its tokenizer cannot be read: the key 'added_tokens' is missing" in refused(folder)


@pytest.mark.parametrize("text", ["<html>404</html>", "", "[]", "{"])
def test_a_configuration_that_is_no_object_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "its config.json is not a JSON object; download it again" in refused(folder)


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT"])
def test_a_learned_prompt_cannot_be_merged(tmp_path: Path, kind: str) -> None:
    card = {"peft_type": kind, "base_model_name_or_path": "someone/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(card))
    message = refused(tmp_path)
    assert f"it is a {kind} adapter (PEFT) of 'someone/base'" in message
    assert "give the base LLM without it" in message
    assert "merge_and_unload" not in message


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert refused(name).startswith("the name of the LLM is empty")

"""Suites and settings of training: a suite or a SuiteError, settings or a TrainingError, whatever the text is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import damaged_bytes, damaged_values, search
from vectalk.errors import SuiteError, TrainingError
from vectalk.tasks import Suite
from vectalk.training import TrainConfig

SUITE = """
name: all
description: what a suite may hold
attributes:
  film:
    genres: &list {kind: list, words: {Drama: drama}, order: common, within: "of ([^.]*)"}
    decade: {kind: decade, column: year}
    length: {kind: band, labels: [short, long]}
    year: {kind: number, pattern: "\\\\d{4}"}
    near: {kind: neighbors, near: 10, count: 3, where: {genres: Drama}}
    around: {kind: around, of: genres, lean: less}
    rarest: {kind: rarest, of: genres}
    place: {kind: density, labels: [far, near]}
tasks:
- name: summary
  slots: {film: film}
  about: film
  states: [genres, decade]
  prompts: ["Summarise {film}.", "What is {film}?"]
  facts:
  - A film of {{ film.genres | listed }}.
  - ["Made in the {{ film.decade }}.", otherwise, "Of unknown age, {{ film.genres | series }}."]
  - {when: film.genres, say: ["It is {{ film.length }}.", "[[{{ film.decade }} || {{ film.genres | at(0) }}]]"]}
  most: 3
  numbered: true
- name: middle
  slots: {a: film, b: film}
  about: lerp(a, b, 0.5)
  prompts: ["What lies between {a} and {b}?"]
  pairs: neighbor
  facts: [["Both are {{ a.genres | shared(b.genres) | listed }}.", "Near {{ about.near | titles }}."]]
  teacher: Say what lies between.
  names_title: true
"""
SETTINGS = """
adapter: {kind: mlp, soft_tokens: 4, width: 64, shared: [[film, user]]}
stage1: {steps: 10, lr_adapter: 1e-3, tasks: [summary]}
stage2: &stage {steps: 20, llm: lora, schedule: constant}
lora: {rank: 4, alpha: 8}
batch_size: 8
dtype: auto
"""
# What means something to YAML, to Jinja2 or to a regular expression.
SIGNS = [
    "&a ", "*a ", "*list ", "<<: *list\n", "? ", "- ", ": ", "[", "]", "{", "}", "{{", "}}", "{%", "|", ">", "'", '"',
    "!!set ", "!!binary ", "!!timestamp ", "!!int ", "!!omap ", "!!python/name:os.system ", "\n", "\t", "#", "---\n",
    "...\n", "%YAML 9\n", "~", "2020-13-45", "0x", "0b_", "1e999", ".nan", "\\ud800", "(", ")", "(?P<", "|listed",
    "film.", "\x85", "\u2028", "\ufeff", "\0", "()" * 400, "[" * 400, "{{ film.genres " + "+ film.genres " * 300 + "}}",
]  # fmt: skip


@st.composite
def damaged_text(draw: st.DrawFn, text: str) -> str:
    """Draw a text with signs put in, in place of what stands there or before it."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.sampled_from([0, 0, 1, 3, 20])))
        sign = draw(st.one_of(st.sampled_from(SIGNS), st.text(max_size=5)))
        text = text[:start] + sign + text[stop:]
    return text


def texts(whole: str) -> st.SearchStrategy[str]:
    values: Any = yaml.safe_load(whole)
    return st.one_of(
        damaged_text(whole),
        damaged_values(values).map(lambda value: yaml.safe_dump(value, allow_unicode=False)),
        damaged_bytes(whole.encode()).map(lambda content: content.decode("utf-8", "replace")),
    )


def read_suite(text: str) -> None:
    suite, problems = Suite.check(text)
    assert (suite is None) == bool(problems)
    for problem in problems:
        assert str(problem)
    if suite is None:
        with pytest.raises(SuiteError):
            Suite.parse(text, "suite")
    else:
        assert suite.dump()
        assert suite.spaces


def test_whole_ones_are_read(tmp_path: Path) -> None:
    read_suite(SUITE)
    assert Suite.parse(Suite.parse(SUITE, "a").dump(), "b") == Suite.parse(SUITE, "a")
    (tmp_path / "train.yaml").write_text(SETTINGS)
    assert TrainConfig.load(tmp_path / "train.yaml").lora.rank == 4


@search
@given(texts(SUITE))
def test_any_text_is_a_suite_or_named_problems(text: str) -> None:
    read_suite(text)


@search
@given(st.binary(max_size=60))
def test_any_file_is_a_suite_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-suite.yaml"
    path.write_bytes(content)
    with pytest.raises(SuiteError):
        Suite.load(path)


@search
@given(texts(SETTINGS), st.sampled_from([{}, {"stage1.steps": 3}, {"adapter.kind": "linear", "seed": "x"}]))
def test_any_settings_are_taken_or_named(
    tmp_path_factory: pytest.TempPathFactory, text: str, overrides: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-train.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert TrainConfig.load(path, overrides).dump()
    except TrainingError as error:
        assert "fuzz-train.yaml" in str(error)  # noqa: PT017 - most texts are refused, some are not

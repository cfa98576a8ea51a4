"""YAML from anywhere: a value or one error with its line, in suites, in settings of training, and on its own."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vectalk.errors import SuiteError, TrainingError, VectalkError
from vectalk.reading.yaml_text import YamlError, parse_yaml, read_yaml
from vectalk.tasks import Suite
from vectalk.training import TrainConfig
from worlds import SUITE, call

WRONG = [
    ("a: &a [*a]", 1, "contains itself"),
    ("\na: &a {b: *a}", 2, "contains itself"),
    ("a: &a {<<: *a}", 1, "contains itself"),
    ("b: 1\n? [1, 2]\n: c", 2, "a key is a list or a mapping"),
    ("? {a: 1}\n: c", 1, "a key is a list or a mapping"),
    ("a: [", 1, "expected"),
    ("a: b: c", 1, "mapping values"),
    ("a: 2020-13-45", None, "does not fit its type"),
    ("a: !!timestamp never", None, "does not fit its type"),
    ("a: !!bool perhaps", None, "does not fit its type"),
    ("a: !!float ''", None, "does not fit its type"),
    ("a: !!python/object:os.system {}", 1, "could not determine a constructor"),
    ('a: "\\uD800"', 1, "half of a surrogate pair"),
    ('a: "\\UFFFFFFFF"', None, "an escape sequence is not a valid character"),
    ("a: 0x" + "f" * 5000, 1, "more than 300 digits"),
    ("[" * 2000, None, "nested too deeply"),
    ("\x00", None, "special characters"),
]
# Nine lines of aliases that would be a thousand million values.
LAUGHS = "\n".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" if n else "x0: &x0 [a]" for n in range(10))


@pytest.mark.parametrize(("text", "line", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_plain_yaml_is_one_error_with_its_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(YamlError, match=words) as found:
        parse_yaml(text)
    assert found.value.line == line


def test_aliases_are_counted_and_not_written_out() -> None:
    with pytest.raises(YamlError, match="with its aliases expanded, it has more than"):
        parse_yaml(LAUGHS)
    assert parse_yaml("a: &a [1]\nb: [*a, *a]") == {"a": [1], "b": [[1], [1]]}


def test_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VectalkError, match=r"none\.yaml does not exist"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff")
    with pytest.raises(TrainingError, match=r"x\.yaml is no text in UTF-8"):
        read_yaml(tmp_path / "x.yaml", TrainingError)


# ---- suites


@pytest.mark.parametrize(("text", "line", "words"), WRONG, ids=range(len(WRONG)))
def test_a_suite_is_refused_by_its_line(text: str, line: int | None, words: str) -> None:
    suite, problems = Suite.check(text)
    assert suite is None
    assert problems[0].line == line
    with pytest.raises(SuiteError, match="suite x is malformed"):
        Suite.parse(text, "x")


def small(**task: Any) -> str:
    return yaml.safe_dump({**SUITE, "tasks": [{**SUITE["tasks"][0], **task}]})


def with_attribute(**x: Any) -> str:
    return yaml.safe_dump({**SUITE, "attributes": {"film": {**SUITE["attributes"]["film"], "x": x}}})


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"slots": {"film(": "film"}, "about": "film"}, r"names none of the slots"),
        ({"facts": [["{{ " + "(" * 2000 + "film.genres" + ")" * 2000 + " }}"]]}, "cannot be read"),
        ({"facts": [["{% for a in [1] %}" * 30 + "{{ film.genres }}" + "{% endfor %}" * 30]]}, "cannot be read"),
        ({"facts": [["{{ film.genres }}{{ " + "1" * 5000 + " }}"]]}, "cannot be read"),
        ({"facts": [[{"when": "film.genres", "say": ["{{ film.genres"]}]]}, "facts"),
    ],
)
def test_wordings_and_slots_that_break_their_reader_are_named(task: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        Suite.parse(small(**task), "x")


@pytest.mark.parametrize("pattern", ["a{99999999999}", "(" * 2000, "["])
def test_a_pattern_that_is_none_is_named(pattern: str) -> None:
    values = with_attribute(kind="number", pattern=pattern)
    with pytest.raises(SuiteError, match=r"attributes\.film\.x: pattern is not a valid pattern"):
        Suite.parse(values, "x")


def test_a_pattern_within_which_is_read_has_a_group() -> None:
    values = with_attribute(kind="list", within="Of .*")
    with pytest.raises(SuiteError, match="`within` has no group"):
        Suite.parse(values, "x")


def test_reading_a_suite_computes_nothing() -> None:
    # Worked out while it is compiled, any of these would take all time or memory there is.
    wordings = ["{{ film.genres | listed }} {{ 9**9**9**9 }}", "{{ film.genres | listed }}{{ 'a' | center(10**12) }}"]
    assert len(Suite.parse(small(facts=[wordings]), "x").tasks) == 1


def test_a_suite_may_use_anchors() -> None:
    text = 'name: s\ntasks:\n- &a {name: one, slots: {film: film}, prompts: ["Say {film}."]}\n- {<<: *a, name: two}\n'
    assert [task.name for task in Suite.parse(text, "x").tasks] == ["one", "two"]


def test_the_command_line_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text("name: s\ntasks: &a [*a]\n")
    code, _, err = call(["suite", "check", str(tmp_path / "s.yaml")], capsys)
    assert code == 2
    assert err == f"{tmp_path}/s.yaml:2: suite: not valid YAML: an anchor contains itself\n"


# ---- settings


@pytest.mark.parametrize("text", [text for text, _, _ in WRONG] + ["[]", "false", "1: 2", "a: {b: 1}", "stage1: []"])
def test_settings_of_training_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(TrainingError, match=r"train\.yaml"):
        TrainConfig.load(tmp_path / "train.yaml")


@pytest.mark.parametrize("verb", ["train", "corpus"])
def test_a_setting_that_is_no_yaml_is_named(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", str(tmp_path), "--llm", "x", "--out", str(tmp_path / "run"), "--set", "seed=!!timestamp x"]
    films = ["--space", f"film={tmp_path / 'films'}", "--suite", "movies", "--teacher", "llm:x"]
    corpus = ["corpus", "build", *films, "--out", str(tmp_path / "c"), "--set", "seed=[1"]
    if verb == "corpus":
        from worlds import make_films

        make_films().save(tmp_path / "films")
    code, _, err = call(train if verb == "train" else corpus, capsys)
    assert code == 2
    assert "is not a valid YAML value" in " ".join(err.replace("│", " ").split())

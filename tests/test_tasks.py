"""Suites: what is whole is loaded, and what is not is named with its field."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vectalk.demo.world import islands_suite
from vectalk.errors import SuiteError
from vectalk.tasks import Suite, load_suite
from vectalk.tasks.packaged import packaged_suites
from vectalk.tasks.suite import pieces_of, slots_in
from worlds import SUITE

# ---- prompts


def test_slots_are_single_braces_only() -> None:
    assert slots_in("Compare {a} with {b}, not {{c}} nor {1} nor { d }.") == ["a", "b"]
    pieces = pieces_of("{a}, {{b}} and {c}")
    assert pieces == [("a", True), (", {b} and ", False), ("c", True)]


# ---- suites


@pytest.mark.parametrize(("name", "spaces"), [("movies", ["film"]), ("users", ["user"])])
def test_packaged_suites_load(name: str, spaces: list[str]) -> None:
    suite = load_suite(name)
    assert (suite.name, suite.spaces) == (name, spaces)
    assert name in packaged_suites()
    assert all(task.facts for task in suite.tasks)


def test_the_suite_of_islands_loads() -> None:
    suite = islands_suite()
    assert [task.name for task in suite.tasks] == ["summary", "visitor", "similarities"]
    assert suite.task("similarities").slots == {"a": "island", "b": "island"}


@pytest.mark.parametrize("name", [*packaged_suites(), "islands"])
def test_a_written_suite_reads_as_itself(name: str, tmp_path: Path) -> None:
    suite = islands_suite() if name == "islands" else load_suite(name)
    (tmp_path / "suite.yaml").write_text(suite.dump(), encoding="utf-8")
    assert Suite.load(tmp_path / "suite.yaml") == suite


def test_the_suite_in_the_docs_is_whole() -> None:
    page = Path(__file__).parent.parent / "docs" / "suites.md"
    written = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert [Suite.parse(text, "docs").name for text in written] == ["wines"]


def test_conditions_are_printed_as_they_are_written() -> None:
    """`when` and `say` are a short way to write wordings; a suite that is printed keeps it."""
    values = yaml.safe_load(yaml.safe_dump(SUITE))
    facts = [
        ["One.", {"when": "film.decade == '1990s'", "say": ["Two.", "Three."]}, "otherwise", "Four."],
        {"when": "film.genres", "say": "Five."},
    ]
    values["tasks"][0]["facts"] = facts
    suite = Suite.model_validate(values)
    printed = yaml.safe_load(suite.dump())["tasks"][0]["facts"]
    assert printed == [facts[0], [{"when": "film.genres", "say": ["Five."]}]]
    assert Suite.parse(suite.dump(), "printed") == suite


def test_joining_and_choosing() -> None:
    both = Suite.join([load_suite("movies"), load_suite("users")])
    assert both.spaces == ["film", "user"]
    assert [task.name for task in both.only(["user_profile", "summary"]).tasks] == ["user_profile", "summary"]
    with pytest.raises(SuiteError, match=r"no task 'sumary'; it has summary"):
        both.only(["sumary"])
    with pytest.raises(SuiteError, match=r"task name 'summary' is used more than once"):
        Suite.join([load_suite("movies"), load_suite("movies")])


def changed(change: Callable[[dict[str, Any]], Any]) -> str:
    values = yaml.safe_load(yaml.safe_dump(SUITE))
    change(values)
    return yaml.safe_dump(values)


def put(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda suite: suite["tasks"][0].update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(colour="red"), r"colour: Extra inputs"),
        (put("promts", []), r"tasks\.0\.promts: Extra inputs"),
        (put("prompts", []), r"tasks\.0\.prompts: .*at least 1"),
        (put("prompts", ["Summarise it."]), r"prompts\.0: 'Summarise it\.' holds the slots \[\], .* \['film'\]"),
        (put("prompts", ["{film}?", "{film} {b}"]), r"prompts\.1: .* holds the slots \['b', 'film'\]"),
        (put("slots", {}), r"tasks\.0\.slots"),
        (put("slots", {"a": "film", "b": "film", "c": "film"}), r"tasks\.0\.slots"),
        (put("name", "Sum mary"), r"tasks\.0\.name"),
        (put("about", "lerp(a, b, 0.5)"), r"tasks\.0\.about: .* names none of the slots \['film'\]"),
        (put("states", ["colour"]), r"task 'summary': states 'colour'"),
        (put("facts", ["{{ film.genre }}."]), r"task 'summary': facts\[0\].*no attribute 'genre'; did you mean genres"),
        (put("facts", ["{{ user.genres }}."]), r"facts\[0\].*'user' is not a slot; slots are \['film'\]"),
        (put("facts", ["{{ genres | listed }}."]), r"facts\[0\].*'genres' is not a slot"),
        (put("facts", ["{{ film }}."]), r"facts\[0\].*film"),
        (put("facts", ["fine", "{{ film.genres | listed"]), r"facts\[1\] .*(end of|unexpected)"),
        (put("facts", ["{{ film.genres | liste }}"]), r"facts\[0\] .*[Nn]o filter named 'liste'"),
        (lambda s: s["tasks"].append(s["tasks"][0]), r"task name 'summary' is used more than once"),
        (lambda s: s["attributes"]["film"]["genres"].update(kind="lists"), r"attributes\.film\.genres\.kind"),
        (lambda s: s["attributes"]["film"].update(x={"kind": "band", "labels": ["a"]}), r"attributes\.film\.x: .*two"),
        (
            lambda s: s["attributes"]["film"].update(x={"kind": "number", "pattern": "("}),
            r"attributes\.film\.x: pattern is not a valid pattern",
        ),
    ],
)
def test_a_malformed_suite_is_refused_by_file_and_field(change, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(changed(change), encoding="utf-8")
    with pytest.raises(SuiteError, match=message) as refused:
        load_suite(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["tasks: [", "", "just words", "- a\n- b", "name: x\ttasks: {"])
def test_bad_yaml_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError, match=re.escape(str(path))):
        load_suite(path)


def test_a_file_of_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(SuiteError, match=re.escape(str(path))):
        load_suite(path)


def test_an_unknown_suite_names_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SuiteError, match=r"no suite 'music'; the package has .*movies"):
        load_suite("music")
    with pytest.raises(SuiteError, match=r"music\.yaml does not exist"):
        load_suite("music.yaml")
    (tmp_path / "movies").mkdir()  # a folder of that name does not hide the suite
    monkeypatch.chdir(tmp_path)
    assert load_suite("movies").name == "movies"

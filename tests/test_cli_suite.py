"""`vectalk suite`: suites are listed, printed and checked; each mistake is named by its line."""

import json
from pathlib import Path

import pytest
import yaml

from film_world import film_space, wine_space
from vectalk.tasks import Corpus, Suite, load_suite
from vectalk.tasks.packaged import packaged_suites, packaged_text
from worlds import SUITE, call

MISTAKEN = """\
name: films
attributes:
  film:
    genres: {kind: list}
    decade: {kind: decades, column: year}
tasks:
  - name: summary
    slots: {film: film}
    about: film
    prompts:
      - Summarise {film}.
      - Summarise it.
    facts:
      - "A film of {{ film.genres | listed }}."
"""
WRONG_FACTS = """\
name: films
attributes:
  film:
    genres: {kind: list}
    kin: {kind: around, of: genre}
tasks:
  - name: summary
    slots: {film: film}
    states: [genres, kin, colour]
    prompts:
      - Summarise {film}.
    facts:
      - - "A film of {{ film.genres | listed }}."
        - when: film.gnres
          say:
            - "One."
            - "A film, {{ film.genres | lsted }}."
      - "In the {{ film.decade }}."
  - name: summary
    slots: {film: film}
    prompts: ["What is {film}?"]
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spaces") / "film"
    film_space(120).save(folder)
    return folder


def check(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[tuple[int, str]], str]:
    """Return exit code, lines and fields of the mistakes, and what people are told."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    code, out, _ = call(["suite", "check", str(path), "--json"], capsys)
    told = call(["suite", "check", str(path)], capsys)[2]
    return code, [(p["line"], p["field"]) for p in json.loads(out)["problems"]], told


def test_mistakes_are_named_by_line_and_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, told = check(MISTAKEN, tmp_path, capsys)
    assert code == 2
    assert found == [(5, "attributes.film.decade.kind"), (12, "tasks.0.prompts.1")]
    assert f"{tmp_path / 'mine.yaml'}:12: tasks.0.prompts.1: 'Summarise it.' holds the slots []" in told


def test_all_mistakes_of_the_facts_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found, told = check(WRONG_FACTS, tmp_path, capsys)
    assert found == [
        (5, "attributes.film.kin.of"),
        (9, "tasks.0.states.1"),
        (9, "tasks.0.states.2"),
        (16, "tasks.0.facts.0"),
        (17, "tasks.0.facts.0"),
        (18, "tasks.0.facts.1"),
        (19, "tasks.1.name"),
    ]
    for said in ("'genre' must be an attribute", "cannot be read back", "did you mean genres", "No filter named 'lsted'"):
        assert said in told


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: a\ntasks: [", 2, "not valid YAML"),
        ("name: a\nname: b\ntasks: []\n", 2, "appears twice, in lines 1 and 2"),
        ("name: a\ntasks:\n  - name: b\n    nmae: c\n", 4, "Extra inputs"),
        ("name: a\ntasks: []\n", 2, "at least 1"),
        (MISTAKEN.replace("decades", "decade").replace("      - Summarise it.\n", "    colour: red\n"), 12, "Extra"),
        (MISTAKEN.replace('"A film', '{when: x, sy: y}\n      - "A film'), 13, "{when: CONDITION, say: WORDINGS}"),
    ],
)
def test_other_mistakes(text: str, line: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, told = check(text, tmp_path, capsys)
    assert code == 2
    assert line in [place for place, _ in found]
    assert said in told


def test_a_suite_that_is_loaded_names_its_lines_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MISTAKEN, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"mine\.yaml is malformed: line 5: attributes\.film\.decade\.kind.*; line 12:"
    ):
        Suite.load(tmp_path / "mine.yaml")


def test_a_check_on_a_space_shows_texts(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["suite", "check", "movies", "--space", f"film={films}", "--json"], capsys)
    assert code == 0
    result = json.loads(out)
    assert [trial["task"] for trial in result["trials"]] == result["tasks"]
    assert len(result["tasks"]) == 24
    assert all(trial["text"] and trial["written"] == 1.0 for trial in result["trials"])
    assert all(share >= 0.9 for trial in result["trials"] for share in trial["read_back"].values())
    assert result["warnings"] == []
    code, out, _ = call(["suite", "check", "movies", "--space", f"film={films}"], capsys)
    assert "Summarise {film}.  {film} = " in out


def test_a_check_on_a_space_names_columns_and_silent_tasks(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = yaml.safe_load(yaml.safe_dump(SUITE))
    suite["attributes"]["film"] = {
        "genres": {"kind": "list", "column": "genre"},
        "decade": {"kind": "decade", "column": "yea"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    code, _, err = call(["suite", "check", str(tmp_path / "mine.yaml"), "--space", f"film={films}"], capsys)
    assert code == 2
    assert "no column 'genre' (did you mean 'genres'?)" in err
    assert "no text can be written for summary" in err
    suite["attributes"]["film"] = {
        "genres": {"kind": "list", "column": "title"},
        "decade": {"kind": "decade", "column": "year"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    code, _, err = call(["suite", "check", str(tmp_path / "mine.yaml"), "--space", f"film={films}"], capsys)
    assert code == 2
    assert "column 'title' holds string, but attribute 'genres' of kind 'list' needs lists of text" in err


def test_a_stated_attribute_that_cannot_be_read_is_told(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = yaml.safe_load(yaml.safe_dump(SUITE))
    suite["tasks"][0] |= {"facts": ["A film of the {{ film.decade }}."], "states": ["decade", "genres"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    code, _, err = call(["suite", "check", str(tmp_path / "mine.yaml"), "--space", f"film={films}"], capsys)
    assert code == 0
    assert "states 'genres', but only 0% of the texts are read back correctly" in err
    assert "'decade', but" not in err


def test_suites_are_listed_and_printed(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["suite", "list", "--json"], capsys)
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == [*packaged_suites(), "generic:SPACE"]
    code, out, _ = call(["suite", "show", "users"], capsys)
    assert out.rstrip("\n") == packaged_text("users").rstrip("\n")
    code, out, err = call(["suite", "show", "generic:film=movie", "--space", f"film={films}"], capsys)
    assert code == 0
    assert Suite.parse(out, "printed").description == "What can be asked about movies."
    code, _, err = call(["suite", "show", "generic:film"], capsys)
    assert code == 2
    assert "--space NAME=DIR" in err


def test_a_corpus_of_the_generic_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wine_space(120).save(tmp_path / "wine")
    bound = ["--space", f"wine={tmp_path / 'wine'}", "--suite", "generic:wine"]
    code, _, _ = call(["corpus", "build", *bound, "--out", str(tmp_path / "corpus"), "--variants", "1"], capsys)
    assert code == 0
    corpus = Corpus.load(tmp_path / "corpus")
    assert corpus.suite == load_suite("generic", corpus.spaces)
    assert {example.task for example in corpus.examples("test")} == {task.name for task in corpus.suite.tasks}

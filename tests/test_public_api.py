"""What a user gets from `import vectalk as vt` alone: names, tables, notebooks, copies of runs."""

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import vectalk as vt
from vectalk.display import html_table, to_pandas
from vectalk.errors import VectalkError
from worlds import CONFIG

QUESTION = "Describe {island}."


class Tags(HTMLParser):
    """Collects tags and text, and fails on a tag that is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.names: set[str] = set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_public_name_loads() -> None:
    assert {"train", "evaluate", "build_corpus", "TrainConfig", "FactsTeacher"} <= set(vt.__all__)
    for name in vt.__all__:
        assert getattr(vt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vt.nothing  # noqa: B018


def test_the_quickstart_imports_vectalk_alone() -> None:
    text = (Path(__file__).parents[1] / "examples" / "quickstart.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:from|import) (vectalk\S*)", text, re.M)) == {"vectalk"}


@pytest.fixture(scope="module")
def elm(run: vt.Run) -> vt.ELM:
    return vt.ELM.from_pretrained(run.path, device="cpu")


@pytest.mark.parametrize("spaces", [False, True])
def test_a_copy_of_a_run_gives_the_same_answers(elm: vt.ELM, tmp_path: Path, spaces: bool) -> None:
    place = elm.save_pretrained(tmp_path / "deep" / "copy", spaces=spaces)
    again = vt.ELM.from_pretrained(place, device="cpu")
    assert again.ask(QUESTION, {"island": "3"}).text == elm.ask(QUESTION, {"island": "3"}).text
    inside = again.spaces["island"].path == place / "spaces" / "island"
    assert inside == spaces
    assert again.corpus_path == elm.corpus_path
    with pytest.raises(VectalkError, match="exists already"):
        elm.save_pretrained(place)
    elm.save_pretrained(place, overwrite=True)


def test_answers_show_themselves(elm: vt.ELM) -> None:
    answer = elm.ask(QUESTION, {"island": "lerp('3', '4', 0.5)"})
    html = Tags(answer._repr_html_())
    assert answer.text in html.text
    assert answer.slots["island"].source in html.text
    assert all(near.title in html.text for near in answer.neighbors)
    assert answer.to_arrow().to_pylist()[0]["text"] == answer.text


def test_concepts_show_themselves(islands: vt.VectorSpace) -> None:
    concept = vt.Concept.fit(
        islands, islands.where("riches", "salt"), name="<b>salt</b>", random_concepts=5, bootstraps=5
    )
    html = Tags(concept._repr_html_())
    assert "b" not in html.names
    assert "<b>salt</b>" in html.text
    table = concept.to_arrow(7)
    assert table.column_names == ["id", "title", "score", "split"]
    scores = table["score"].to_pylist()
    assert scores == sorted(scores, reverse=True)
    row = islands.find(table["id"][0].as_py())
    assert scores[0] == pytest.approx(concept.score(islands[row]), abs=1e-5)
    assert len(concept.to_arrow()) == len(islands)


def test_evaluations_are_tables(tmp_path: Path) -> None:
    from vectalk.files import write_jsonl

    row = {"space": "film", "task": "summary", "metric": "sc", "condition": "elm", "low": 0.1, "high": 0.3, "n": 5}
    rows = [{**row, "value": 0.25}, {**row, "condition": "<i>", "value": None, "low": None, "high": None}]
    write_jsonl(tmp_path / "metrics.jsonl", rows)
    found = vt.Evaluation.load(tmp_path)
    assert list(found) == rows
    assert (len(found), found[0]["value"]) == (2, 0.25)
    assert found.to_arrow().to_pylist() == rows
    html = Tags(found._repr_html_())
    assert "0.25" in html.text
    assert "i" not in html.names
    with pytest.raises(VectalkError, match=r"not a finished evaluation \(it has no metrics.jsonl\)"):
        vt.Evaluation.load(tmp_path / "nowhere")


def test_tables_are_text_never_markup() -> None:
    html = Tags(html_table(["<a>"], [["<script>", 0.12345, None, ["x", 1]]], "<h1>"))
    assert html.names == {"table", "caption", "thead", "tr", "th", "tbody", "td"}
    assert html.text == "<h1><a><script>0.123x, 1"


def test_pandas_is_asked_for_where_it_is_missing() -> None:
    table = pa.table({"x": np.arange(3)})
    if importlib.util.find_spec("pandas") is None:
        with pytest.raises(VectalkError, match="needs pandas: pip install pandas"):
            to_pandas(table)
    else:
        assert to_pandas(table)["x"].tolist() == [0, 1, 2]


def test_training_settings_come_from_the_package(corpus: vt.Corpus) -> None:
    assert vt.TrainConfig.load(None, dict(CONFIG)).stage1.steps == CONFIG["stage1.steps"]


def test_spaces_are_tables(islands: vt.VectorSpace, tmp_path: Path) -> None:
    assert islands.to_arrow().equals(islands.entities)
    table = islands.to_arrow(vectors=True)
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), islands.vectors)
    titles = [f"<b>{n}</b>" for n in range(40)]
    odd = vt.VectorSpace.create("odd", np.eye(40, 8) + 1, {"id": [str(n) for n in range(40)], "title": titles})
    html = Tags(odd._repr_html_())
    assert "<b>4</b>" in html.text
    assert "<b>5</b>" not in html.text
    assert "b" not in html.names
    assert "40 x 8" in html.text

"""The report: whole, self-contained, in plain words, and safe whatever the texts hold."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vectalk.errors import EvaluationError
from vectalk.evaluation.report import write_report

TASKS = ("summary", "pitch", "improve")
CONDITIONS = ("elm", "shuffled", "mean", "copy_text", "probe_text", "own_text")
SC = {"elm": 0.6, "shuffled": 0.02, "mean": 0.05, "copy_text": 0.5, "probe_text": 0.62, "own_text": 0.7}
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
VOID = {"meta", "br", "img", "link"}


def row(task: str, metric: str, condition: str, value: float, width: float = 0.05) -> dict[str, Any]:
    where = {"space": "film", "task": task, "metric": metric, "condition": condition}
    return {**where, "value": value, "low": value - width, "high": value + width, "n": 8}


def answer(task: str, condition: str, number: int) -> dict[str, Any]:
    title = HOSTILE if number == 0 else f"Film {number}"
    said = f"{task} {condition} {number} {HOSTILE}"
    scores = {"sc": SC[condition] - 0.1 * number if task != "improve" else None, "true": 1 - 0.1 * number}
    slots = {"film": {"space": "film", "row": number, "title": title}}
    kept = {"task": task, "condition": condition, "prompt": "Summarise {film}.", "slots": slots}
    return {**kept, "answer": said, "reference": f"reference {number}", **scores}


def config() -> dict[str, Any]:
    spaces = {"film": {"path": "films", "fingerprint": "f" * 64, "split_hash": "5" * 64, "dim": 4}}
    corpus = {"path": "corpus", "suite": HOSTILE, "teacher": "facts", "counts": {"train": 9, "test": 8}}
    return {
        "vectalk": "0.1.0",
        "python": "3.11",
        "run": {"path": "runs/films", "identity": "abcdef0123456789ff"},
        "corpus": {**corpus, "spaces": spaces},
        "tasks": list(TASKS),
        "encoder": "tfidf",
        "seed": 0,
        "readback": {"summary": {"encoder": "tfidf", "r2": 0.31, "strength": 1.0}},
        "not_run": {"stage1": "not asked for"},
        "notes": ["a note of its own"],
    }


def space_map() -> dict[str, Any]:
    places = [[float(i % 3), float(i // 3)] for i in range(8)]
    values = {"genre": ["Comedy", "Drama"] * 4, "decade": ["1980s"] * 3 + ["1990s"] * 4 + [None]}
    titles = [HOSTILE, *(f"Film {i}" for i in range(1, 8))]
    return {"film": {"share": [0.3, 0.2], "rows": list(range(8)), "titles": titles, "places": places, "values": values}}


def curve_rows() -> list[dict[str, Any]]:
    where = {"space": "film", "task": "summary", "n": 8}
    rows = []
    for x in (0.0, 0.5, 1.0):
        for condition, value in (("elm", 0.6), ("copy_text", 0.4)):
            figure = {"metric": "sc", "condition": condition, "x": x, "value": value, "low": 0.3, "high": 0.7}
            rows.append({**where, "curve": "interpolation", "subject": None, **figure})
    figures = [("sc_middle", "elm", 0.6), ("sc_middle", "copy_text", 0.4), ("sc_middle_minus_copy_text", "elm", 0.2)]
    for metric, condition, value in figures:
        figure = {"metric": metric, "condition": condition, "x": 0.5, "value": value, "low": value, "high": value}
        rows.append({**where, "curve": "interpolation", "subject": None, **figure})
    for condition, value in (("elm", 0.71), ("random", 0.02)):
        figure = {"metric": "spearman", "condition": condition, "x": 0, "value": value, "low": None, "high": None}
        rows.append({**where, "curve": "shift", "subject": HOSTILE, **figure})
    for x, value in ((1, 0.3), (50, 0.5), (None, 0.6)):
        figure = {"metric": "bc_auc", "condition": "elm", "x": x, "value": value, "low": None, "high": None}
        rows.append({**where, "curve": "cold_start", "subject": None, **figure})
    return rows


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("evaluation")
    metrics = [row(task, "sc", c, SC[c]) for task in TASKS[:2] for c in CONDITIONS]
    metrics += [row(task, "claims_precision", c, SC[c]) for task in TASKS for c in CONDITIONS]
    for rival in ("shuffled", "copy_text", "probe_text"):
        metrics += [row(t, f"sc_minus_{rival}", "elm", SC["elm"] - SC[rival]) for t in TASKS[:2]]
    write(out, "metrics.jsonl", metrics)
    write(out, "answers.jsonl", [answer(t, c, i) for t in TASKS for c in CONDITIONS for i in range(8)])
    write(out, "curves.jsonl", curve_rows())
    walk = {"curve": "interpolation", "space": "film", "task": "summary", "condition": "elm", "subject": "0"}
    ends = {"ends": [HOSTILE, "Film 2"], "sc": 0.5}
    write(
        out,
        "curves_answers.jsonl",
        [{**walk, **ends, "x": x, "answer": f"{HOSTILE} at {x}", "at": [x, x]} for x in (0, 0.5, 1)],
    )
    crossing = {"space": "user", "task": "summary", "metric": "bc_auc", "condition": "elm", "above": 5, "surely": "all"}
    (out / "curves.json").write_text(json.dumps({"crossings": [crossing]}))
    (out / "config.json").write_text(json.dumps(config()))
    (out / "map.json").write_text(json.dumps(space_map()))
    return write_report(out).read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Keeps what is open, what is linked, and what text is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


@pytest.fixture(scope="module")
def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    return checker


def test_it_parses(parsed: Checker) -> None:
    assert parsed.open == []
    ids = [attrs["id"] for _, attrs in parsed.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {str(attrs["href"])[1:] for tag, attrs in parsed.seen if tag == "a"}
    assert links <= set(ids)


def test_it_needs_nothing_else(page: str, parsed: Checker) -> None:
    assert not re.search(r"https?://|url\(|@import", page)
    assert not {tag for tag, _ in parsed.seen} & {"script", "link", "img", "iframe", "object"}
    assert not [attrs for _, attrs in parsed.seen for name in attrs if name == "src" or name.startswith("on")]


def test_hostile_text_is_shown_as_text(page: str, parsed: Checker) -> None:
    assert "<script" not in page
    assert "<img" not in page
    assert HOSTILE in "".join(parsed.shown)


def test_every_task_and_condition_is_there(parsed: Checker) -> None:
    text = " ".join(parsed.shown)
    for name in (*TASKS, *CONDITIONS):
        assert name in text
    for value in SC.values():
        assert f"{value:.2f}" in text
    for said in ("a note of its own", "not asked for", "abcdef0123456789", "0.31"):
        assert said in text


def test_the_verdict_follows_the_intervals(parsed: Checker) -> None:
    text = " ".join(" ".join(parsed.shown).split())
    assert "significantly above the shuffled control on all 2 tasks" in text
    assert "Compared with a copy of the nearest text: better on 2, no clear difference on 0, worse on 0." in text
    assert "Compared with a text written from a probe: better on 0, no clear difference on 2, worse on 0." in text


def test_the_best_and_the_worst_are_shown(page: str) -> None:
    part = page[page.index('id="t-summary"') : page.index('id="t-pitch"')]
    tags = re.findall(r'class="tag[^"]*">([^<]+)<', part)
    assert tags == ["best", "middle", "second worst", "worst"]
    shown = re.findall(r"summary elm (\d)", part)
    assert shown == ["0", "4", "6", "7"]


def test_curves_maps_and_crossings(page: str, parsed: Checker) -> None:
    text = " ".join(" ".join(parsed.shown).split())
    assert page.count('class="map"') == 1
    assert page.count('class="stop"') == 3
    assert "the difference is 0.20" in text
    assert "stay above popularity: the model: 5 (significantly from all)" in text
    assert "Coloured by decade" in text  # of the two, the one that goes with the places


def test_an_unfinished_evaluation_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no finished evaluation: it has no metrics\.jsonl"):
        write_report(tmp_path)


def test_curves_that_are_named_must_be_there(page: str, tmp_path: Path) -> None:
    write(tmp_path, "metrics.jsonl", [])
    with pytest.raises(EvaluationError, match="holds no curves"):
        write_report(tmp_path, tmp_path / "elsewhere")

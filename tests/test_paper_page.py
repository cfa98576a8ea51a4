"""The page of the paper's experiments: made from results alone, and it says what fell short."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def paper_page(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import paper_page

    return paper_page


def row(metric: str, condition: str, x: float | None, value: float, **where: Any) -> dict[str, Any]:
    place = {"curve": "interpolation", "space": "film", "task": "summary", "subject": None, **where}
    return {
        **place,
        "metric": metric,
        "condition": condition,
        "x": x,
        "value": value,
        "low": value,
        "high": value,
        "n": 9,
    }


def test_the_page_follows_the_results(paper_page: Any, tmp_path: Path) -> None:
    rows = [row("sc", c, x, v) for c, v in (("elm", 0.6), ("copy_text", 0.5)) for x in (0, 0.5, 1)]
    rows += [row("sc_middle", "elm", 0.5, 0.61), row("sc_middle", "copy_text", 0.5, 0.48)]
    rows += [row("sc_middle_minus_copy_text", "elm", 0.5, 0.13)]
    rows += [row("spearman", c, 0, v, curve="shift", subject="Drama") for c, v in (("elm", 0.44), ("random", 0.01))]
    rows += [row("sc_ends_minus_copy_text", "elm", 0.5, 0.09), row("sc_walk_minus_copy_text", "elm", 0.5, 0.04)]
    rows += [row("bc_auc", c, x, 0.7, curve="cold_start") for c in ("elm", "popularity") for x in (1, None)]
    curves = {
        "command": "made by hand",
        "figures": {
            "curves_own_film_sc_middle_minus_copy_text_elm_low": 0.1,
            "curves_own_film_spearman_elm": 0.44,
            "curves_own_film_bc_auc_elm_1": 0.7,
            "curves_own_film_bc_auc_elm_all": 0.8,
        },
        "sizes": {"pairs": 9, "users": 4},
        "curves": rows,
        "crossings": [{"metric": "bc_auc", "condition": "elm", "above": 5, "surely": None}],
    }
    concept = {"name": "Drama", "positives": 30, "auc": 0.8, "low": 0.7, "high": 0.9, "random_auc": 0.6}
    families = {"genres": {"concepts": [{**concept, "q_value": 0.01, "stability": 0.9}]}, "tags": {"failed": "too few"}}
    (tmp_path / "curves-own.json").write_text(json.dumps(curves))
    (tmp_path / "concepts.json").write_text(json.dumps({"command": "c", "figures": {}, "families": families}))
    lines = paper_page.page(tmp_path).splitlines()
    found = {line.split(" | ")[0]: line for line in lines if line.startswith("| own factors, film")}
    assert [line.endswith("| met |") for line in found.values()] == [True, False, False, False, False, True]
    assert "**not met**" in list(found.values())[1]
    assert all("not measured" in line for line in list(found.values())[2:5])
    text = "\n".join(lines)
    assert "must not be taken for research results" in text
    assert "0.13 [0.13, 0.13] in the middle, 0.09 [0.09, 0.09] at the ends, 0.04 [0.04, 0.04] by walking" in text
    assert "`made by hand` (9 pairs, 4 users)" in text
    assert "| Drama | elm | 0.44 [0.44, 0.44] |" in text
    assert "| Drama | random | 0.01 |" in text
    assert "above popularity from 5 ratings on; surely never" in text
    assert "*tags*: not fitted: too few" in text
    assert "| Drama | 30 | 0.80 [0.70, 0.90] | 0.6 | 0.01 | 0.9 |" in text


def test_what_falls_short_is_explained_by_figures(paper_page: Any, tmp_path: Path) -> None:
    rows = [
        row(metric, condition, 0.5, value, space="user", task="user_profile")
        for metric, condition, value in (
            ("sc_middle_minus_copy_text", "elm", -0.2),
            ("sc_ends_minus_copy_text", "elm", -0.21),
            ("sc_ends", "own_text", 0.34),
        )
    ]
    result = {"command": "c", "figures": {}, "curves": rows, "crossings": []}
    (tmp_path / "curves-own.json").write_text(json.dumps(result))
    text = " ".join(paper_page.page(tmp_path).split())
    assert "SC differs by -0.20 [-0.20, -0.20] from that of the nearest user's text" in text
    assert "the difference is -0.21 [-0.21, -0.21] already" in text
    assert "have 0.34 [0.34, 0.34] at the ends" in text
    assert "More of the task" not in text
    (tmp_path / "curves-own-more.json").write_text(json.dumps({**result, "command": "with more of them"}))
    assert "(`with more of them`)" in " ".join(paper_page.page(tmp_path).split())


def test_without_results_the_page_still_says_what_was_not_run(paper_page: Any, tmp_path: Path) -> None:
    text = paper_page.page(tmp_path)
    assert "Human raters" in text
    assert "not measured" in text


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command, whose results and runs lie in an empty folder; what it would run is noted in `ran`."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import paper

    ran: list[list[str]] = []
    monkeypatch.setattr(paper, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paper, "ROOT", tmp_path)
    monkeypatch.setattr(paper, "WORK", tmp_path / "runs" / "movielens")
    monkeypatch.setattr(paper, "_run", lambda words: ran.append(words) or True)
    paper.ran = ran
    return paper


def test_a_user_with_the_data_alone_can_run_every_step(paper: Any) -> None:
    every = paper.steps("DATA", "some/llm", "settings.yaml", ["own", "semantic"])
    results = [step.result for step in every]
    assert results[:3] == ["movielens-own-llm-all", "curves-own", "curves-own-more"]
    assert results[-2:] == ["concepts", "support"]
    for step in every:
        assert (ROOT / "benchmarks" / step.words[0]).is_file()
        if step.run is not None:  # the place where benchmarks/movielens.py leaves it
            assert step.words[1] == f"runs/movielens/{step.made_by.split('-')[1]}-all/run-llm-0"
            assert step.made_by in results
    assert {len(set(results)), len(results)} == {8}


def test_what_needs_a_run_that_is_not_there_makes_it_first(paper: Any, tmp_path: Path) -> None:
    every = paper.steps("DATA", "llm", "settings.yaml", ["own"])
    tasks, curves = every[:2]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / f"{tasks.result}.json").write_text("{}")
    assert paper._done(tasks, every, fresh=False)
    assert paper.ran == []
    assert paper._done(curves, every, fresh=False)
    assert paper.ran == [tasks.words, curves.words]
    paper.ran.clear()
    curves.run.mkdir(parents=True)
    (curves.run / "elm.json").write_text("{}")
    assert paper._done(curves, every, fresh=True)
    assert paper.ran == [[*curves.words, "--fresh"]]

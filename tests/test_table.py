"""Tables made of the rows of `metrics.jsonl` alone."""

import io
from typing import Any

from rich.console import Console

from vectalk.evaluation import table

ATTRIBUTES = ("genres", "decade", "audience", "reception", "agreement")
PLAIN = ("recovery", "claims_precision", "claims_recall", "names_invented", "titles_percentile")
METRICS = (*(f"recovery/{name}" for name in ATTRIBUTES), *PLAIN, "sc", "nsc", "recall@10", "bc_auc", "bc_spearman")
CONDITIONS = ("elm", "shuffled", "mean", "gaussian", "majority", "copy_text", "vote_text", "probe_text", "own_text")


def row(task: str, metric: str, condition: str, value: float | None) -> dict[str, Any]:
    bounds = {"low": None, "high": None} if value is None else {"low": value - 0.1, "high": value + 0.1}
    return {"space": "film", "task": task, "metric": metric, "condition": condition, "value": value, **bounds, "n": 150}


def rows_of(*tasks: str) -> list[dict[str, Any]]:
    """Figures that tell their place: 0.01 a condition, 0.1 a metric."""
    found = [
        row(task, metric, condition, 0.1 * m / 2 + 0.01 * c)
        for task in tasks
        for m, metric in enumerate(METRICS)
        for c, condition in enumerate(CONDITIONS)
    ]
    found += [row(task, "bc_auc", "factors", 0.77) for task in tasks]
    return [*found, *(row(task, "score/genres", "probe", 0.5) for task in tasks)]


def printed(tables: list[Any]) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    for one in tables:
        console.print(one)
    return console.export_text()


def test_markdown() -> None:
    head, _, *body = table.markdown(rows_of("summary")).splitlines()[2:]
    assert head.startswith("|  | genres | decade | audience | reception | agreement | all | true | recall |")
    assert [line.split(" | ")[0].strip("| ") for line in body] == [*CONDITIONS, "factors"]
    assert body[0].startswith("| elm | 0.00 [-0.10, 0.10] | 0.05 [-0.05, 0.15] |")
    assert body[1].startswith("| shuffled | 0.01 | 0.06 |")


def test_a_figure_that_is_not_defined_shows_as_a_dash() -> None:
    assert "| elm | - |" in table.markdown([row("t", "nsc", "elm", None)])


def test_the_mean_over_attributes_needs_two_of_them() -> None:
    rows = [row("t", "recovery/genres", "elm", 0.5), row("t", "recovery", "elm", 0.5)]
    assert table.markdown(rows).splitlines()[2] == "|  | genres |"


def test_the_terminal_shows_all_columns_in_eighty_signs() -> None:
    tables = table.rich_tables(rows_of("summary"))
    text = printed(tables)
    assert len(tables) > 1
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for head in ("genres", "agreement", "recall", "R@10", "AUC", "rho"):
        assert text.count(f" {head} ") == 1
    assert text.count("summary (150 test examples)") == 1
    assert "│   95 % from │  -0.10 │" in text
    blocks = text.split("┏")[1:]
    assert [block.count("factors") for block in blocks] == [0] * (len(blocks) - 1) + [1]


def test_summary_takes_the_mean_where_all_is_defined() -> None:
    rows = rows_of("one", "two", "three")
    for r in rows:
        if r["task"] == "two" and r["metric"] == "sc":
            r["value"] += 0.2
        if r["task"] == "three" and r["metric"] == "sc" and r["condition"] == "copy_text":
            r["value"] = None
    found = table.summary(rows)
    assert set(found) == {"sc", "nsc", "bc_auc", "recovery", "claims_precision"}
    assert list(found["sc"]) == ["one", "two", "three", "mean"]
    sc = {task: found["sc"][task]["elm"]["value"] for task in found["sc"]}
    assert sc["mean"] == (sc["one"] + sc["two"]) / 2
    assert "mean" not in table.summary(rows_of("one"))["sc"]


def test_summary_of_the_terminal_holds_long_names() -> None:
    names = ["five_positive_characteristics", *(f"task_{n}" for n in range(24))]
    tables = table.rich_summary(rows_of(*names))
    text = printed(tables)
    assert len(tables) == 5
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("task_23") == 5
    assert text.count("fact.") == 1


def test_summary_in_markdown() -> None:
    text = table.markdown_summary(rows_of("one", "two"))
    assert "**SC**" in text
    assert "| one | 0.50 [0.40, 0.60] | 0.51 |" in text
    assert "| mean | 0.50 | 0.51 |" in text

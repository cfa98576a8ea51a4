"""The pages of benchmarks say what the results say."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_pages_are_up_to_date() -> None:
    import readme

    stale = [path.name for path, text in readme.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `python benchmarks/readme.py`"


def test_the_overview_is_short() -> None:
    assert len((BENCHMARKS / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_a_line_shows_figures_of_the_result_alone() -> None:
    import readme
    from overview import Headline

    result = {"date": "2026-01-02", "commit": "abc", "command": "python benchmarks/x.py", "figures": {"a": 0.12345}}
    line = readme.line("x", Headline("How good?", {"A": "a", "B": "b"}), result)
    assert line == "| [x](results/x.md) | How good? | A 0.123 | 2026-01-02, abc | `x.py` |"


def test_a_result_without_a_line_is_named() -> None:
    import readme

    with pytest.raises(SystemExit, match=r"no line for new"):
        readme.overview({"new": {}})


def test_every_headline_has_a_figure() -> None:
    import readme
    from overview import FAST, GOOD

    results = readme.results()
    bare = [
        name
        for name, line in {**GOOD, **FAST}.items()
        if name in results and not set(line.figures.values()) & results[name]["figures"].keys()
    ]
    assert bare == []


def test_a_result_of_former_sentences_says_so() -> None:
    import readme
    from overview import Headline

    result = {
        "date": "2026-01-02",
        "commit": "abc",
        "command": "python benchmarks/x.py",
        "device": "cpu",
        "texts": readme.FORMER,
        "figures": {"a": 0.12345},
    }
    today = {key: value for key, value in result.items() if key != "texts"}
    headline = Headline("How good?", {"A": "a"})
    assert "abc, former sentences |" in readme.line("x", headline, result)
    assert "abc |" in readme.line("x", headline, today)
    assert readme.FORMER_NOTE in readme.section("x", result)
    assert readme.FORMER_NOTE not in readme.section("x", today)

"""The result of `benchmarks/serve.py`: parts that were measured before keep their figures, date and commit."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("common", "serve", "serve_fuzz"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import common
    import serve

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(serve, "RESULTS", tmp_path)
    return serve


def test_parts_are_added_one_after_the_other(benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "commit", lambda: "first")
    benchmark.write("serve", "runs/demo/run", ["ratio", "fuzz"], {"ratio_serve_32": 5.0}, {"200": 7, "400": 3})
    result = json.loads((tmp_path / "serve.json").read_text())
    assert "note" not in result
    monkeypatch.setattr(benchmark, "commit", lambda: "second")
    benchmark.write("serve", "runs/demo/run", ["soak"], {"soak_growth": 1.0}, {})
    result = json.loads((tmp_path / "serve.json").read_text())
    assert result["figures"] == {"ratio_serve_32": 5.0, "soak_growth": 1.0}
    assert result["rows"] == [["200", 7], ["400", 3]]
    assert result["command"] == "python benchmarks/serve.py --part ratio fuzz soak --run runs/demo/run"
    assert [text.rpartition(" ")[2] for text in result["parts"].values()] == ["first", "first", "second"]
    assert result["note"].count("first") == 2


def test_figures_of_another_run_are_not_mixed_in(benchmark, tmp_path: Path) -> None:
    benchmark.write("serve", "runs/demo/run", ["ratio"], {"ratio_serve_32": 5.0}, {})
    benchmark.write("serve", "runs/other/run", ["soak"], {"soak_growth": 1.0}, {})
    assert json.loads((tmp_path / "serve.json").read_text())["figures"] == {"soak_growth": 1.0}
    benchmark.write("serve-smollm2", "runs/smollm2", ["ratio"], {"ratio_serve_32": 4.0}, {})
    result = json.loads((tmp_path / "serve-smollm2.json").read_text())
    assert result["figures"] == {"serve_smollm2_ratio_serve_32": 4.0}
    assert result["command"].endswith("--run runs/smollm2 --name serve-smollm2")

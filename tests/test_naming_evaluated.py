"""Evaluation of tasks that name entities: the weight is chosen once, and names are compared with and without it."""

from pathlib import Path

import pytest

from vectalk.evaluation import Evaluation, evaluate
from vectalk.model.run import Run
from vectalk.talk import ELM
from vectalk.tasks import Corpus
from vectalk.tasks.names_weight import read_weights
from worlds import call

NAMING = {"trie_only", "knn_names", "free_names"}


@pytest.fixture(scope="module")
def copy(run: Run, tmp_path_factory: pytest.TempPathFactory) -> ELM:
    folder = tmp_path_factory.mktemp("naming") / "run"
    elm = ELM.from_pretrained(run.path, device="cpu")
    elm.save_pretrained(folder)
    (folder / "names.json").unlink(missing_ok=True)
    return ELM.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def measured(copy: ELM, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("evaluation")
    conditions = ["elm", "shuffled", *NAMING]
    tasks = ["summary", "visitor"]
    return evaluate(copy, corpus, out, tasks=tasks, limit=16, conditions=conditions, max_new_tokens=48)


def value(rows: Evaluation, metric: str, condition: str) -> float:
    (row,) = [r for r in rows if (r["task"], r["metric"], r["condition"]) == ("visitor", metric, condition)]
    return row["value"]


def test_names_are_measured_with_and_without_the_constraint(measured: Evaluation) -> None:
    for condition in ("elm", "shuffled", "trie_only", "knn_names", "own_text"):
        assert value(measured, "names_invented", condition) == 0.0
        assert value(measured, "names_per_answer", condition) > 0.5
    assert value(measured, "names_right", "knn_names") == 1.0
    assert value(measured, "names_right", "elm") >= value(measured, "names_right", "shuffled")
    assert value(measured, "names_per_answer", "free_names") is not None
    assert {row["condition"] for row in measured if row["task"] == "visitor"} >= NAMING
    assert not {row["condition"] for row in measured if row["task"] == "summary"} & NAMING


def test_the_weight_is_stored_and_used(measured: Evaluation, copy: ELM, corpus: Corpus, tmp_path: Path) -> None:
    run = Path(copy.run.path)
    stored = read_weights(run)
    assert set(stored) == {"visitor"}
    assert copy.naming.weights == {"visitor": stored["visitor"].weight}
    assert ELM.from_pretrained(run, device="cpu").naming.weights == copy.naming.weights
    before = (run / "names.json").read_bytes()
    evaluate(copy, corpus, tmp_path / "again", tasks=["visitor"], limit=4, conditions=["elm"], max_new_tokens=8)
    assert (run / "names.json").read_bytes() == before


def test_the_command_line_takes_names(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["ask", str(run.path), "Who should visit {island}?", "--bind", "island=7", "--device", "cpu"]
    code, out, _ = call([*asked, "--names-weight", "0", "--json"], capsys)
    assert code == 0
    assert '"names": "force", "names_weight": 0.0' in out
    code, _, err = call([*asked, "--names", "sometimes"], capsys)
    assert code == 2
    assert "names is sometimes; allowed is one of force, link, off" in " ".join(err.split())

"""A run may start where another ended: with its LLM and its adapters."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vectalk.errors import TrainingError
from vectalk.llm.loading import load_llm
from vectalk.model import ElmModel
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, make_trainer
from vectalk.training.adapters import make_adapters
from vectalk.training.reporter import Silent
from vectalk.training.start import llm_of, load_adapters
from worlds import CONFIG, SHORT, call, log_of


def config(**changes: Any) -> TrainConfig:
    shape = {"adapter.width": CONFIG["adapter.width"], "adapter.soft_tokens": 4}
    return TrainConfig.load(None, {**SHORT, **shape, **{k.replace("__", "."): v for k, v in changes.items()}})


def go_on(run: Run, corpus: Corpus, out: Path, **changes: Any) -> Run:
    given = (corpus, llm_of(run), out, config(**changes))
    return make_trainer(*given, device="cpu", start=run).run()


def test_it_goes_on_where_the_other_ended(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    again = go_on(run, corpus, tmp_path / "again", eval_examples=64, adapter__start="words", stage1__steps=0)
    first = next(row for row in log_of(again.path) if "validation_loss" in row)
    best = min(row["validation_loss"] for row in log_of(run.path) if row["stage"] == 2 and "validation_loss" in row)
    assert first["validation_loss"] == pytest.approx(best, abs=2e-5)
    assert again.card.llm.trained == "full"


def test_nothing_trained_is_nothing_changed(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    again = go_on(run, corpus, tmp_path / "again", stage1__steps=1, stage1__lr_adapter=1e-12, stage2__steps=0)
    models = [r.model("cpu")[0] for r in (run, again)]
    for (name, a), (_, b) in zip(*(m.named_parameters() for m in models), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name
    assert again.card.llm.trained == "frozen"
    assert llm_of(again) == str(again.path / again.card.llm.name)


@pytest.mark.parametrize(("name", "value"), [("soft_tokens", 2), ("width", 8), ("kind", "linear")])
def test_another_shape_is_named(run: Run, corpus: Corpus, tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(TrainingError, match=f"whose {name} is .*, but the settings say {value}"):
        go_on(run, corpus, tmp_path / "again", **{f"adapter__{name}": value})


def test_a_low_rank_run_is_refused(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    given = (corpus, str(random_llm), tmp_path / "lora", config(stage1__steps=0, stage2__steps=1, stage2__llm="lora"))
    lora = make_trainer(*given, device="cpu").run()
    with pytest.raises(TrainingError, match="merge the update into the LLM first"):
        llm_of(lora)


def test_resuming_needs_the_same_start(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    class Killed(Silent):
        def step(self, stage: int, done: int, steps: int, note: str) -> None:
            raise KeyboardInterrupt

    given = (corpus, llm_of(run), tmp_path / "again", config())
    with pytest.raises(KeyboardInterrupt):
        make_trainer(*given, device="cpu", start=run, reporter=Killed()).run()
    with pytest.raises(TrainingError, match="started with another start"):
        make_trainer(*given, device="cpu", resume=True)


def test_a_group_whose_first_space_is_new_is_named(run: Run, tmp_path: Path) -> None:
    space = VectorSpace.load(next(iter(run.spaces().values())).path)
    spaces = {"new": space, "island": space}
    settings = config(adapter__shared=[["new", "island"]])
    language = load_llm(llm_of(run), device="cpu")
    model = ElmModel(language, make_adapters(spaces, settings, language))
    with pytest.raises(
        TrainingError, match=r"an adapter of 'island' whose spaces is \['island'\], but the settings say"
    ):
        load_adapters(model, run)


def test_from_the_command_line(run: Run, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", str(corpus.path), "--out", str(tmp_path / "again"), "-q"]
    code, _, err = call(command, capsys)
    assert (code, "--llm" in err, "--from" in err) == (2, True, True)
    settings = {**SHORT, "adapter.width": CONFIG["adapter.width"], "adapter.soft_tokens": 4}
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    code, _, err = call([*command, "--from", str(run.path), *given], capsys)
    assert code == 0, err
    assert Run.load(tmp_path / "again").card.llm.trained == "full"

"""An interrupted run is the run that was not: same losses, same weights, wherever and however it was stopped."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import forked
from vectalk.errors import RunError, TrainingError
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, checkpoint, finish, make_trainer
from vectalk.training.reporter import Silent
from vectalk.training.trainer import train
from worlds import SHORT, call, log_of, make_islands

# Everything random takes part.
SETTINGS: dict[str, Any] = {
    **SHORT,
    "vector_noise": 0.1,
    "adapter.dropout": 0.1,
    "lora.rank": 4,
    "lora.dropout": 0.1,
    "stage1.llm": "frozen",
}
# Runs the command line, and is sent a signal when a step begins, when it is evaluated, or when its checkpoint is half
# written.
STOPPED = """
import os, sys
from vectalk.cli.main import main
from vectalk.training import checkpoint, stage_run

stage, step, number, place = *map(int, sys.argv[1:4]), sys.argv[4]
rate, write = stage_run.learning_rate, checkpoint.write_json

def learning_rate(config, now):
    if now == step and config is reached[-1]:
        os.kill(os.getpid(), number)
    return rate(config, now)

def write_json(path, state):
    if (state["stage"], state["step"]) == (stage, step):
        os.kill(os.getpid(), number)
    write(path, state)

reached = [None]
run, evaluate = stage_run.StageRun.run, stage_run.StageRun.evaluate

def entered(self, resumed):
    if self.progress.stage == stage:
        reached.append(self.stage)
    run(self, resumed)

def evaluated(self):
    if (self.progress.stage, self.progress.step) == (stage, step):
        os.kill(os.getpid(), number)
    evaluate(self)

if place == "step":
    stage_run.learning_rate, stage_run.StageRun.run = learning_rate, entered
elif place == "evaluation":
    stage_run.StageRun.evaluate = evaluated
else:
    checkpoint.write_json = write_json
main(sys.argv[5:])
"""


def arguments(corpus: Corpus, llm: Path, out: Path, settings: dict[str, Any]) -> list[str]:
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return ["train", str(corpus.path), "--llm", str(llm), "--out", str(out), "--device", "cpu", "-q", *sets]


def stopped(command: list[str], stage: int, step: int, number: int, place: str = "step") -> subprocess.CompletedProcess:
    """Run the command line in a process of its own that is sent signal `number` at a step of a stage."""
    return forked.run(str(stage), str(step), str(number), place, *command, code=STOPPED)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    files = sorted(run.glob("adapters/*/*.safetensors")) + sorted(run.glob("l*/*.safetensors"))
    return {f"{path.relative_to(run)}:{name}": t for path in files for name, t in load_file(path).items()}


def assert_same(one: Path, other: Path) -> None:
    assert log_of(one) == log_of(other)
    first, second = weights_of(one), weights_of(other)
    assert len(first) > 4
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_islands(tmp_path_factory.mktemp("small"), rows=80)


@pytest.fixture(scope="module")
def whole(small: Corpus, random_llm: Path, tmp_path_factory) -> Callable[[str], Path]:
    """Makes the run that was never stopped, whose LLM is trained `full` or by `lora`: once, for all tests.

    It saves at every fifth step. The others, which save as often or seldom as they like, must equal it all the same.
    """
    runs: dict[str, Path] = {}

    def run_of(llm: str) -> Path:
        if llm not in runs:
            out = tmp_path_factory.mktemp("whole") / "run"
            settings = TrainConfig.load(None, {**SETTINGS, "stage2.llm": llm})
            runs[llm] = train(small, str(random_llm), out, settings, device="cpu").path
        return runs[llm]

    return run_of


@pytest.mark.parametrize("llm", ["full", "lora"])
def test_killed_twice_is_never_killed(llm: str, whole, small: Corpus, random_llm: Path, tmp_path: Path, capsys) -> None:
    reference, settings, out = whole(llm), {**SETTINGS, "stage2.llm": llm}, tmp_path / "run"
    command = arguments(small, random_llm, out, settings)
    killed = stopped(command, 1, 8, 9)
    assert killed.returncode == -9, killed.stderr
    assert [path.name for path in checkpoint.list_checkpoints(out / "checkpoints")] == ["step-0000005"]
    with pytest.raises(RunError, match="has not finished; resume it with"):
        Run.load(out)
    killed = stopped([*command, "--resume"], 2, 7, 9)
    assert killed.returncode == -9, killed.stderr
    # 12 steps of stage 1, and 5 of stage 2.
    assert checkpoint.list_checkpoints(out / "checkpoints")[-1].name == "step-0000017"
    assert log_of(out) != log_of(reference)
    assert call_ok([*command, "--resume"], capsys)
    assert_same(reference, out)
    assert not checkpoint.list_checkpoints(out / "checkpoints")


def call_ok(command: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    code, out, err = call(command, capsys)
    assert (code, out) == (0, ""), err
    return True


def test_ctrl_c_saves_and_goes_on(whole, small: Corpus, random_llm: Path, tmp_path: Path, capsys) -> None:
    settings = {**SETTINGS, "stage2.llm": "full", "save_every": 1000}
    out = tmp_path / "run"
    command = arguments(small, random_llm, out, settings)
    ended = stopped(command, 2, 3, 2)
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == ""
    # The step in progress was made whole: 12 of stage 1, and steps 0 to 3 of stage 2.
    assert [path.name for path in checkpoint.list_checkpoints(out / "checkpoints")] == ["step-0000016"]
    assert not (out / "elm.json").exists()
    assert call_ok([*command, "--resume"], capsys)
    assert_same(whole("full"), out)


def test_ctrl_c_in_the_last_evaluation_of_a_stage_is_heard(
    whole, small, random_llm: Path, tmp_path: Path, capsys
) -> None:
    settings = {**SETTINGS, "stage2.llm": "full", "save_every": 1000}
    out = tmp_path / "run"
    command = arguments(small, random_llm, out, settings)
    ended = stopped(command, 1, 12, 2, "evaluation")
    assert ended.returncode == 130, ended.stderr
    assert [path.name for path in checkpoint.list_checkpoints(out / "checkpoints")] == ["step-0000012"]
    # A run knows its settings and its LLM.
    again = ["train", str(small.path), "--out", str(out), "--resume", "--device", "cpu", "-q"]
    code, _, err = call([*again, "--set", "stage2.lr_llm=0.1"], capsys)
    assert (code, "stage2.lr_llm was 0.0005, is 0.1" in err) == (2, True), err
    assert call_ok(again, capsys)
    assert_same(whole("full"), out)


def test_a_half_written_checkpoint_is_passed_over(
    whole, small: Corpus, random_llm: Path, tmp_path: Path, capsys
) -> None:
    settings = {**SETTINGS, "stage2.llm": "full"}
    out = tmp_path / "run"
    command = arguments(small, random_llm, out, settings)
    killed = stopped(command, 1, 10, 9, "checkpoint")
    assert killed.returncode == -9, killed.stderr
    left = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert any(name.startswith(".step-0000010.") and name.endswith(".tmp") for name in left)
    assert [path.name for path in checkpoint.list_checkpoints(out / "checkpoints")] == ["step-0000005"]
    assert call_ok([*command, "--resume"], capsys)
    assert_same(whole("full"), out)
    # Nothing of it stays in the finished run.
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]


class StopError(Exception):
    """Stops a run in this process."""


class StopAt(Silent):
    """A reporter that stops a run after a step."""

    def __init__(self, stage: int, step: int) -> None:
        self.place = (stage, step)

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        if (stage, done) == self.place:
            raise StopError


# At the very start, at an evaluation, between the stages (after the last step of the first), at the very end.
@pytest.mark.parametrize("place", [(1, 1), (1, 4), (1, 12), (2, 1), (2, 12)])
@pytest.mark.parametrize("save_every", [3, 1000])
def test_wherever_it_stops(whole, small: Corpus, random_llm: Path, tmp_path: Path, place, save_every: int) -> None:
    settings = TrainConfig.load(None, {**SETTINGS, "save_every": save_every, "stage2.llm": "full"})
    given = (small, str(random_llm), tmp_path / "run", settings)
    with pytest.raises(StopError):
        train(*given, device="cpu", reporter=StopAt(*place))
    train(*given, device="cpu", resume=True)
    assert_same(whole("full"), tmp_path / "run")


def test_patience_is_remembered(small: Corpus, random_llm: Path, tmp_path: Path) -> None:
    changes = {"stage1.steps": 60, "stage1.lr_adapter": 20.0, "stage1.schedule": "constant", "stage1.patience": 3}
    settings = TrainConfig.load(None, {**SHORT, **changes, "stage2.steps": 0, "eval_every": 2, "save_every": 1})
    train(small, str(random_llm), tmp_path / "whole", settings, device="cpu")
    last = max(row["step"] for row in log_of(tmp_path / "whole"))
    assert last < 60
    given = (small, str(random_llm), tmp_path / "run", settings)
    for step in (last - 3, last - 1):
        with pytest.raises(StopError):
            train(*given, device="cpu", reporter=StopAt(1, step), resume=(tmp_path / "run").exists())
    train(*given, device="cpu", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_stopped_while_finishing(
    moved: int, whole, small: Corpus, random_llm: Path, tmp_path: Path, monkeypatch
) -> None:
    settings = TrainConfig.load(None, {**SETTINGS, "stage2.llm": "full"})
    given = (small, str(random_llm), tmp_path / "run", settings)
    before, count = os.replace, [0]

    def replace(source, target) -> None:
        if Path(source).parent.name == "weights.tmp":
            count[0] += 1
            if count[0] > moved:
                raise StopError
        before(source, target)

    def written(*_given) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(finish.os, "replace", replace)
        patch.setattr(finish, "write_card", written)
        with pytest.raises(StopError):
            train(*given, device="cpu")
    assert (tmp_path / "run" / "adapters").exists() + (tmp_path / "run" / "llm").exists() == moved
    assert not (tmp_path / "run" / "elm.json").exists()
    train(*given, device="cpu", resume=True)
    assert_same(whole("full"), tmp_path / "run")
    assert not (tmp_path / "run" / "weights.tmp").exists()


@pytest.mark.parametrize("llm", ["full", "lora"])
def test_a_second_resume_of_a_finished_run_is_refused(llm: str, whole, small: Corpus, random_llm: Path) -> None:
    settings = TrainConfig.load(None, {**SETTINGS, "stage2.llm": llm})
    with pytest.raises(TrainingError, match="is a finished run"):
        train(small, str(random_llm), whole(llm), settings, device="cpu", resume=True)


# ---- going on with something else


@pytest.fixture(scope="module")
def begun(small: Corpus, random_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(StopError):
        train(small, str(random_llm), out, TrainConfig.load(None, dict(SHORT)), device="cpu", reporter=StopAt(1, 6))
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 4}, r"another config .*batch_size was 8, is 4"),
        ({"stage2.steps": 13}, r"another config .*stage2\.steps was 12, is 13"),
        ({"seed": 1}, r"another config .*seed was 0, is 1"),
    ],
)
def test_another_config_is_named(begun: Path, small: Corpus, random_llm: Path, change: dict, message: str) -> None:
    before = sorted(path.name for path in begun.rglob("*"))
    with pytest.raises(TrainingError, match=message):
        train(small, str(random_llm), begun, TrainConfig.load(None, {**SHORT, **change}), device="cpu", resume=True)
    assert sorted(path.name for path in begun.rglob("*")) == before


def test_another_llm_or_corpus_is_named(begun: Path, small: Corpus, corpus: Corpus, random_llm, base_llm) -> None:
    settings = TrainConfig.load(None, dict(SHORT))
    with pytest.raises(TrainingError, match=rf"another llm .*is '{base_llm}'"):
        train(small, str(base_llm), begun, settings, device="cpu", resume=True)
    with pytest.raises(TrainingError, match="another corpus"):
        train(corpus, str(random_llm), begun, settings, device="cpu", resume=True)


def test_without_resume_a_begun_run_is_left_alone(begun: Path, small: Corpus, random_llm: Path) -> None:
    log = (begun / "training.jsonl").read_bytes()
    with pytest.raises(TrainingError, match="is not empty; resume with --resume"):
        train(small, str(random_llm), begun, TrainConfig.load(None, dict(SHORT)), device="cpu")
    assert (begun / "training.jsonl").read_bytes() == log


def test_a_checkpoint_holds_what_was(begun: Path, small: Corpus, random_llm: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    saved = checkpoint.list_checkpoints(out / "checkpoints")[-1]
    assert {path.name for path in saved.iterdir()} == {"model.safetensors", "optimizer.safetensors", "state.json"}
    state = json.loads((saved / "state.json").read_text())
    assert (state["stage"], state["step"], state["total"]) == (1, 5, 5)
    weights = load_file(saved / "model.safetensors")
    assert all(name.startswith("adapters.island.") for name in weights)  # what is frozen is not copied
    shutil.copy(saved / "optimizer.safetensors", saved / "model.safetensors")
    settings = TrainConfig.load(None, dict(SHORT))
    with pytest.raises(TrainingError, match="has other parameters than the model"):
        train(small, str(random_llm), out, settings, device="cpu", resume=True)


def test_only_the_last_checkpoints_stay(small: Corpus, random_llm: Path, tmp_path: Path) -> None:
    settings = TrainConfig.load(None, {**SHORT, "save_every": 1, "keep": 3})
    trainer = make_trainer(small, str(random_llm), tmp_path / "run", settings, device="cpu", reporter=StopAt(2, 3))
    with pytest.raises(StopError):
        trainer.run()
    names = [path.name for path in checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")]
    assert names == ["step-0000012", "step-0000013", "step-0000014"]

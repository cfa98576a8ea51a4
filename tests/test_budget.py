"""A time for the whole training: how many steps fit, the schedule that fits them, resuming, and a slow machine."""

import json
from pathlib import Path

import pytest

from vectalk.errors import TrainingError
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, make_trainer
from vectalk.training.budget import RESERVE, TOLERANCE, Budget, stored
from vectalk.training.rehearsal import Estimate, StageEstimate
from vectalk.training.stage import learning_rate
from worlds import SHORT, call, log_of

SETTINGS = {"eval_every": 100, "minutes": 10, "stage1.steps": 100, "stage2.steps": 300}


def estimate(*stages: tuple[int, int, float, float]) -> Estimate:
    """Return an estimate of stages: number, steps, seconds of a step, seconds of an evaluation."""
    each = [
        StageEstimate(number, "full", steps, 10, 10, tokens_per_step=100.0, seconds_per_step=s, evaluation_seconds=e)
        for number, steps, s, e in stages
    ]
    return Estimate("cpu", 100, 10, 1000, 0.1, each)


def test_steps_that_fit_keep_the_proportion_of_the_stages() -> None:
    config = TrainConfig.load(None, SETTINGS)
    # 400 s of steps and 4 evaluations of 10 s in the settings; 20 s of evaluations at both ends of each stage.
    both = estimate((1, 100, 1.0, 10.0), (2, 300, 1.0, 10.0))
    half = Budget.fit(both, config, (220 + 40) / (1 - RESERVE))
    assert half.steps == (50, 150)
    assert half.seconds == pytest.approx((TOLERANCE * 50, TOLERANCE * 200))
    assert Budget.fit(both, config, 10_000).steps == (100, 300)
    slow = estimate((1, 100, 2.0, 20.0), (2, 300, 2.0, 20.0))
    assert Budget.fit(slow, config, (220 + 80) / (1 - RESERVE)).steps == (25, 75)


def test_the_choice_of_decoding_settings_has_its_share_of_the_time() -> None:
    config = TrainConfig.load(None, {**SETTINGS, "stage1.steps": 0})
    one = estimate((2, 300, 3.0, 0.0))
    without = Budget.fit(one, config, 900 / (1 - RESERVE), 40).steps
    chosen = Budget.fit(one, config.model_copy(update={"choose_decoding": True}), 900 / (1 - RESERVE), 40).steps
    assert without == (0, 300)
    # 5 settings, 64 answers, twice 40 tokens, twice the hundredth of a second that a forward pass takes for a token.
    assert chosen == (0, int((900 - 5 * 64 * 80 * 2 * 0.01) / 3))


def test_too_short_a_time_is_refused_with_the_time_that_is_needed() -> None:
    config = TrainConfig.load(None, SETTINGS)
    slow = estimate((1, 100, 600.0, 600.0), (2, 300, 600.0, 600.0))
    with pytest.raises(TrainingError, match="minutes is 10: no training step fits into this time") as refused:
        Budget.fit(slow, config, 600)
    words = str(refused.value).split()
    enough = 60 * float(words[words.index("about") + 1])
    assert Budget.fit(slow, config, enough).steps == (1, 3)
    with pytest.raises(TrainingError):
        Budget.fit(slow, config, 0.97 * enough)
    with pytest.raises(TrainingError, match="minutes: Input should be greater than 0"):
        TrainConfig.load(None, {"minutes": 0})


def test_the_schedule_ends_with_the_steps_that_fit(
    corpus: Corpus, random_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig.load(None, {**SHORT, "minutes": 5.0})
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", config, device="cpu")
    Budget(steps=(4, 6), seconds=(100.0, 200.0)).limit(trainer.setup.folder)
    run = trainer.run()
    rows = log_of(run.path)
    rates = {row["stage"]: row["lr"] for row in rows if "lr" in row}
    last = {row["stage"]: row["step"] for row in rows if "lr" in row}
    assert last == {1: 4, 2: 6}
    for stage, settings in ((1, config.stage1), (2, config.stage2)):
        short = settings.model_copy(update={"steps": last[stage]})
        assert rates[stage] == pytest.approx(settings.lr_adapter * learning_rate(short, last[stage] - 1))
    assert TrainConfig.load(run.path / "config.yaml") == config


def test_a_resumed_run_keeps_its_numbers_of_steps(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    config, out = TrainConfig.load(None, {**SHORT, "minutes": 5.0}), tmp_path / "run"
    whole = make_trainer(corpus, str(random_llm), tmp_path / "whole", config, device="cpu")
    Budget(steps=(6, 7), seconds=(100.0, 200.0)).limit(whole.setup.folder)
    whole.run()
    first = make_trainer(corpus, str(random_llm), out, config, device="cpu")
    assert stored(out) is not None
    Budget(steps=(6, 7), seconds=(100.0, 200.0)).limit(first.setup.folder)

    class Stop:
        def step(self, stage: int, done: int, steps: int, note: str) -> None:
            if (stage, done) == (2, 5):
                raise RuntimeError("stopped")

        def work(self, what: str, done: int, total: int) -> None:
            pass

    first.report = Stop()
    with pytest.raises(RuntimeError, match="stopped"):
        first.run()
    again = make_trainer(corpus, str(random_llm), out, config, device="cpu", resume=True)
    assert (again.setup.config.stage1.steps, again.setup.config.stage2.steps) == (6, 7)
    again.run()
    assert log_of(out) == log_of(tmp_path / "whole")


def test_on_a_machine_that_became_slow_each_stage_stops_and_says_so(
    corpus: Corpus, random_llm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrainConfig.load(None, {**SHORT, "minutes": 5.0})
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", config, device="cpu")
    trainer.setup.folder.seconds = (0.0, 0.0)
    with caplog.at_level("WARNING", logger="vectalk"):
        run = trainer.run()
    assert "stage 1 stops at step 2 of 12: the steps take longer" in caplog.text
    rows = [row for row in log_of(run.path) if "validation_loss" in row]
    assert [(row["stage"], row["step"]) for row in rows] == [(1, 0), (1, 2), (2, 0), (2, 1)]
    assert Run.load(run.path).card.llm.trained == "full"


def test_minutes_on_the_command_line(
    corpus: Corpus, random_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [part for name, value in SHORT.items() for part in ("--set", f"{name}={value}")]
    out = tmp_path / "run"
    command = ["train", str(corpus.path), "--llm", str(random_llm), "--out", str(out), "--device", "cpu", *sets]
    code, text, error = call([*command, "--minutes", "5", "--dry-run", "--json"], capsys)
    assert code == 0
    assert "in 5 minutes, training would make at most 12 steps of stage 1 and 12 steps of stage 2" in error
    assert json.loads(text)["config"]["minutes"] == 5.0
    code, _, error = call([*command, "--minutes", "5"], capsys)
    assert code == 0
    assert "5 minutes: training makes at most 12 steps of stage 1 and 12 steps of stage 2" in error
    assert log_of(out)[-1]["step"] == 12

"""Recipes, estimates and trackers: what training takes by itself, says beforehand and reports."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from vectalk.errors import TrainingError
from vectalk.llm.tokenizer import load_config
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, make_trainer
from vectalk.training.recipe import RECIPES, Recipe, choose_recipe, count_parameters, merged
from vectalk.training.rehearsal import measured_mixture, rehearse
from vectalk.training.setup import Setup
from vectalk.training.trackers import figures_of
from worlds import SHORT, call

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


@pytest.fixture
def chat_llm(random_llm: Path, tmp_path: Path) -> Path:
    """The random LLM with a chat template."""
    folder = tmp_path / "chat-llm"
    folder.mkdir()
    for file in random_llm.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def test_an_llm_with_a_chat_template_is_pretrained(random_llm: Path, chat_llm: Path) -> None:
    assert choose_recipe(str(chat_llm)).name == "pretrained"
    recipe = choose_recipe(str(random_llm))
    assert recipe.name == "from scratch"
    assert "million parameters" in recipe.reason


def test_a_large_llm_is_pretrained_and_its_weights_are_not_read(random_llm: Path, tmp_path: Path) -> None:
    config = load_config(str(random_llm))
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 1024, 4096, 12
    config.num_attention_heads = config.num_key_value_heads = 16
    config.head_dim = 64
    folder = tmp_path / "large"
    folder.mkdir()
    for file in random_llm.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    config.save_pretrained(folder)
    assert count_parameters(config) > 100e6
    assert choose_recipe(str(folder)).name == "pretrained"


def test_parameters_are_counted_as_they_are(random_llm: Path, corpus: Corpus) -> None:
    from vectalk.llm.loading import load_llm

    language = load_llm(str(random_llm), device="cpu")
    assert count_parameters(language.model.config) == sum(p.numel() for p in language.model.parameters())


def test_settings_take_precedence_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path: Path) -> None:
    recipe = Recipe("pretrained", "the test says so")
    plain, settings = TrainConfig(), TrainConfig.load(None, {"stage2.steps": 7}, recipe)
    assert settings.recipe == "pretrained"
    assert (settings.stage2.steps, settings.stage2.llm) == (7, "lora")
    assert settings.adapter.start == "words"
    assert settings.stage2.schedule == plain.stage2.schedule
    (tmp_path / "run.yaml").write_text(settings.dump())
    assert TrainConfig.load(tmp_path / "run.yaml") == settings  # a resumed run needs no LLM to know its recipe
    (tmp_path / "own.yaml").write_text("recipe: from scratch\nbatch_size: 3\n")
    assert TrainConfig.load(tmp_path / "own.yaml", None, recipe) == plain.model_copy(update={"batch_size": 3})
    with pytest.raises(TrainingError, match=r"recipe.*'pretrained'"):
        TrainConfig.load(None, {"recipe": "quick"})


def test_every_recipe_is_valid_and_described() -> None:
    for name in RECIPES:
        TrainConfig.load(None, None, Recipe(name, "of the test"))
    text = str(Recipe("pretrained", "the LLM has a chat template"))
    assert "recipe 'pretrained', because the LLM has a chat template: " in text
    assert "stage2.llm=lora" in text


def test_an_objective_has_a_recipe_whatever_the_llm_is(random_llm: Path, chat_llm: Path) -> None:
    for llm in (random_llm, chat_llm):
        alone, both = (
            TrainConfig.load(None, None, choose_recipe(str(llm), objective=name)) for name in ("distill", "both")
        )
        assert (alone.recipe, both.recipe) == ("distilled", "distilled with targets")
        assert alone.stage1.objective == both.stage1.objective == "distill"
        assert (alone.stage1.mix, alone.stage2.steps, both.stage2.steps) == (0, 0, 0)
        assert 0 < both.stage1.mix < 1
        pretrained = TrainConfig.load(None, {"recipe": "pretrained"})
        assert (alone.adapter, alone.lora) == (both.adapter, both.lora) == (pretrained.adapter, pretrained.lora)
        assert alone.stage1.llm == both.stage1.llm == pretrained.stage2.llm == "lora"
    recipe = choose_recipe(str(random_llm), objective="distill")
    assert str(recipe).startswith("recipe 'distilled', because the objective is distill: ")
    assert choose_recipe(str(random_llm), objective="targets") == choose_recipe(str(random_llm))


def test_merging_leaves_both_arguments_alone() -> None:
    defaults, changes = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "e": 5}
    assert merged(defaults, changes) == {"a": {"b": 4, "c": 2}, "d": 3, "e": 5}
    assert defaults == {"a": {"b": 1, "c": 2}, "d": 3}
    assert changes == {"a": {"b": 4}, "e": 5}


def test_training_without_settings_takes_the_recipe(corpus: Corpus, chat_llm: Path, tmp_path: Path) -> None:
    trainer = make_trainer(corpus, str(chat_llm), tmp_path / "run", device="cpu")
    assert trainer.setup.config.recipe == "pretrained"
    assert "recipe: pretrained" in (tmp_path / "run" / "config.yaml").read_text()


def test_an_estimate_counts_what_is_trained_and_writes_nothing(
    corpus: Corpus, random_llm: Path, tmp_path: Path
) -> None:
    config = TrainConfig.load(None, {**SHORT, "stage2.llm": "lora", "lora.rank": 2})
    setup = Setup.make(corpus, str(random_llm), tmp_path / "run", config, device="cpu", claim=False)
    before = {name: p.clone() for name, p in setup.model.adapters.named_parameters()}
    estimate = rehearse(setup)
    assert not (tmp_path / "run").exists()
    first, second = estimate.stages
    adapters = sum(p.numel() for p in before.values())
    assert (first.adapter_parameters, first.llm_parameters) == (adapters, 0)
    assert second.adapter_parameters == adapters
    lora = sum(p.numel() for n, p in setup.model.llm.named_parameters() if "lora_" in n)
    assert second.llm_parameters == lora > 0
    assert estimate.base_parameters < sum(p.numel() for p in setup.model.llm.parameters())
    assert estimate.tokens == setup.train_set.lengths.sum()
    assert estimate.minutes == pytest.approx(first.minutes + second.minutes)
    assert 0 < estimate.memory_gb < 100
    assert json.loads(json.dumps(estimate.to_dict()))["stages"][1]["llm"] == "lora"
    assert "stage 2 (LLM: lora)" in str(estimate)


def test_an_estimate_measures_the_tasks_of_its_stage(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    tasks = sorted(name.removeprefix("train/") for name in corpus.card["tasks"] if name.startswith("train/"))
    config = TrainConfig.load(None, {**SHORT, "stage1.tasks": tasks[1:]})
    setup = Setup.make(corpus, str(random_llm), tmp_path / "run", config, device="cpu", claim=False)
    for stage, expected in ((config.stage1, set(tasks[1:])), (config.stage2, set(tasks))):
        order = measured_mixture(setup, stage)[0].order(config.batch_size, [0], 0, None)
        learned = np.concatenate([next(order)[1] for _ in range(20)])
        assert {setup.train_set.task(int(number)) for number in learned} == expected


def test_dry_run_of_the_command_line(
    corpus: Corpus, random_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [part for name, value in SHORT.items() for part in ("--set", f"{name}={value}")]
    out = tmp_path / "run"
    command = ["train", str(corpus.path), "--llm", str(random_llm), "--out", str(out), "--device", "cpu", *sets]
    code, text, _ = call([*command, "--dry-run", "--json"], capsys)
    assert code == 0
    assert json.loads(text)["estimate"]["examples"] == corpus.card["counts"]["train"]
    assert json.loads(text)["config"]["recipe"] == "from scratch"
    assert not out.exists()


def test_the_command_line_takes_an_objective_in_place_of_a_file(
    corpus: Corpus, random_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text("batch_size: 3\n")
    sizes = ("distill.answers=16", "distill.validation=4", "distill.answer_tokens=4", "stage1.steps=1")
    sets = [part for size in sizes for part in ("--set", size)]
    command = ["train", str(corpus.path), "--llm", str(random_llm), "--out", str(tmp_path / "run"), "--device", "cpu"]
    code, text, err = call([*command, "--objective", "both", *sets, "--dry-run", "--json"], capsys)
    assert code == 0, err
    config = json.loads(text)["config"]
    code, text, err = call([*command, "--objective", "both", "--lora", *sets, "--dry-run", "--json"], capsys)
    assert code == 0, err
    assert json.loads(text)["config"] == config  # a low-rank update is trained in any case
    assert config["recipe"] == "distilled with targets"
    assert (config["stage1"]["objective"], config["stage1"]["steps"]) == ("distill", 1)
    for words, message in (
        (["--objective", "all"], "allowed are targets, distill, both"),
        (["--objective", "distill", "--config", str(tmp_path / "own.yaml")], "write `recipe: distilled` in the file"),
    ):
        code, _, err = call([*command, *words], capsys)
        assert code == 2
        assert message in " ".join(err.split())


def test_unknown_and_missing_trackers_are_named(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no tracker 'paper'; allowed are tensorboard, wandb, mlflow"):
        TrainConfig.load(None, {"report_to": ["paper"]})


def test_figures_for_trackers_are_numbers() -> None:
    figures = figures_of({"stage": 1, "loss": 2, "task_losses": {"summary": 0.5}, "note": "text"})
    assert figures == {"loss": 2.0, "task_losses/summary": 0.5}


def test_tensorboard_gets_the_figures_of_the_log(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = TrainConfig.load(None, {**SHORT, "report_to": ["tensorboard"]})
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", config, device="cpu")
    trainer.run()
    files = sorted((tmp_path / "run").rglob("events.out.tfevents*"))
    readers = [EventAccumulator(str(file)) for file in files]
    for each in readers:
        each.Reload()
    (reader,) = (each for each in readers if "vector_gain" in each.Tags()["scalars"])  # others hold the settings
    rows = [json.loads(line) for line in (tmp_path / "run" / "training.jsonl").read_text().splitlines()]
    gains = [row["vector_gain"] for row in rows if "vector_gain" in row]
    assert [event.value for event in reader.Scalars("vector_gain")] == pytest.approx(gains)

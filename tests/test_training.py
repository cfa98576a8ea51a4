"""Training: the vector comes to count, only what should move moves, the best is kept, bad settings are named."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from vectalk.demo.world import World, islands_suite
from vectalk.errors import TrainingError
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, build_corpus
from vectalk.training import TrainConfig, make_trainer
from vectalk.training.data import Examples
from vectalk.training.trainer import train
from vectalk.training.validation import Validation, overfitted_tasks
from worlds import CONFIG, SHORT, log_of, make_islands, save_llm


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.load(None, {**SHORT, **{name.replace("__", "."): value for name, value in changes.items()}})


def final_loss(run: Run, corpus: Corpus, examples: int) -> float:
    """Measure the validation loss of a finished run anew."""
    model, prompts = run.model("cpu")
    data = Examples(corpus.table("validation"), corpus.spaces, prompts)
    numbers = np.random.default_rng(0).permutation(len(data))[:examples]
    with torch.no_grad():
        loss, tokens = model(data.batch(numbers))
    return (loss / tokens).item()


# ---- it learns


def test_the_vector_comes_to_count(run: Run, corpus: Corpus) -> None:
    rows = [row for row in log_of(run.path) if "vector_gain" in row]
    first, last = [[row for row in rows if row["stage"] == stage] for stage in (1, 2)]
    assert abs(first[0]["vector_gain"]) < 0.01  # before training it counts for nothing
    assert last[-1]["vector_gain"] > 0.1
    assert last[-1]["validation_loss"] < first[-1]["validation_loss"] - 0.05
    for row in rows:
        assert row["vector_gain"] == pytest.approx(row["shuffled_loss"] - row["validation_loss"])
    best = min(row["validation_loss"] for row in last)
    assert final_loss(run, corpus, CONFIG["eval_examples"]) == pytest.approx(best, abs=2e-5)


def test_a_finished_run_is_whole(run: Run, corpus: Corpus, base_llm: Path) -> None:
    names = {path.name for path in run.path.iterdir()}
    assert names - {"readback"} == {  # what judges candidates is kept beside a run that was asked so
        *{"README.md", "adapters", "checkpoints", "config.yaml", "elm.json"},
        *{"llm", "tasks.yaml", "training.jsonl"},
    }
    assert run.suite == corpus.suite
    assert run.corpus_path == corpus.path.resolve()
    assert run.config == TrainConfig.load(None, dict(CONFIG)).model_dump()
    assert run.spaces()["island"].fingerprint == corpus.spaces["island"].fingerprint
    assert (run.path / run.card.llm.name).resolve() == base_llm.resolve()
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert 'vectalk ask run "Describe {island}." --bind island=...' in card
    assert "trained part: full" in card
    assert not list((run.path / "checkpoints").glob("step-*"))


def test_the_log_is_complete(run: Run) -> None:
    rows = log_of(run.path)
    total = 0
    for stage, steps in ((1, CONFIG["stage1.steps"]), (2, CONFIG["stage2.steps"])):
        of_stage = [row for row in rows if row["stage"] == stage]
        logged = [row["step"] for row in of_stage if "loss" in row]
        evaluated = [row["step"] for row in of_stage if "validation_loss" in row]
        assert logged == list(range(10, steps + 1, 10))
        assert evaluated == list(range(0, steps + 1, CONFIG["eval_every"]))
        assert all(row["total"] == total + row["step"] for row in of_stage)
        assert all(row["loss"] > 0 and row["tokens"] > 0 and row["lr"] > 0 for row in of_stage if "loss" in row)
        total += steps


def test_losses_are_logged_by_task(run: Run, corpus: Corpus) -> None:
    rows = [row for row in log_of(run.path) if "validation_loss" in row]
    best = min(rows, key=lambda row: row["validation_loss"])
    model, prompts = run.model("cpu")
    data = Examples(corpus.table("validation"), corpus.spaces, prompts)
    numbers = np.random.default_rng(0).permutation(len(data))[: CONFIG["eval_examples"]]
    tasks = [data.task(number) for number in numbers]
    assert set(best["task_losses"]) == set(tasks)
    for task, logged in best["task_losses"].items():
        with torch.no_grad():
            loss, tokens = model(data.batch(numbers[[name == task for name in tasks]]))
        assert (loss / tokens).item() == pytest.approx(logged, abs=2e-5)
        assert f"| `{task}` | {logged:.4f} |" in (run.path / "README.md").read_text(encoding="utf-8")


def test_an_overfitted_task_is_reported() -> None:
    def row(step: int, **losses: float) -> dict[str, Any]:
        return {"step": step, "task_losses": losses}

    rows = [row(0, a=2.0, b=2.0), row(10, a=1.0, b=1.5), row(20, a=1.2, b=1.0), row(30, a=0.5, b=0.9)]
    assert overfitted_tasks(rows, 20) == [
        "a had 1.000 at step 10 and has 1.200 at step 20"
    ]  # what comes later is not kept
    assert overfitted_tasks(rows, 30) == []
    assert overfitted_tasks(rows, 10) == []
    assert overfitted_tasks([row(0), row(10)], 10) == []  # logged by an older version


# ---- only what should move moves


@pytest.mark.parametrize("llm", ["frozen", "full"])
def test_stage_1_moves_adapters_alone(corpus: Corpus, random_llm: Path, tmp_path: Path, llm: str) -> None:
    settings = config(stage1__steps=8, stage2__steps=0, stage1__llm=llm)
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    run = trainer.run()
    after = dict(trainer.model.named_parameters())
    moved = {name for name, p in before.items() if not torch.equal(p, after[name])}
    of_adapters = {name for name in before if name.startswith("adapters.")}
    assert moved == (of_adapters if llm == "frozen" else set(before))
    assert run.card.llm.trained == llm
    assert (run.path / "llm").exists() == (llm == "full")
    loaded, _ = run.model("cpu")
    for name, p in loaded.named_parameters():
        assert torch.equal(p, after[name])


def test_a_low_rank_run_leaves_the_base_as_it_is(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    base = load_file(random_llm / "model.safetensors")
    settings = config(stage1__steps=4, stage2__steps=12, stage2__llm="lora", lora__rank=4)
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    run = trainer.run()
    assert run.card.llm.trained == "lora"
    assert not (run.path / "llm").exists()
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in (run.path / "lora").iterdir()}
    card = json.loads((run.path / "lora" / "adapter_config.json").read_text())
    assert (card["peft_type"], card["r"], card["task_type"]) == ("LORA", 4, "CAUSAL_LM")
    for name, p in trainer.model.llm.named_parameters():
        if "lora_" not in name:
            assert torch.equal(p, base[name.replace(".base_layer", "")]), name
    weights = load_file(run.path / "lora" / "adapter_model.safetensors")
    assert any("lora_B" in name and p.abs().sum() > 0 for name, p in weights.items())
    assert not any("adapters." in name for name in weights)
    # Anybody's PEFT reads it.
    plain = AutoModelForCausalLM.from_pretrained(random_llm)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        untouched = plain(input_ids=ids).logits
        theirs = PeftModel.from_pretrained(plain, str(run.path / "lora"))(input_ids=ids).logits
        ours = trainer.model.eval().llm(input_ids=ids).logits
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert (theirs - untouched).abs().max() > 1e-4


def test_two_low_rank_stages_train_one_update(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    settings = config(stage1__steps=4, stage1__llm="lora", stage2__steps=4, stage2__llm="lora")
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    run = trainer.run()
    batch = trainer.validation_set.batch(np.arange(6))
    model, _ = run.model("cpu")
    with torch.no_grad():
        torch.testing.assert_close(model(batch)[0], trainer.model.eval()(batch)[0], atol=1e-4, rtol=1e-6)


# ---- the best is kept


def test_the_best_is_kept_and_not_the_last(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    # A rate that rises to far too much: validation first falls, then gets worse.
    changes = {"stage1__steps": 30, "stage1__warmup": 0.95, "stage1__llm": "full", "stage1__lr_llm": 0.5}
    more = {"batch_size": 32, "eval_examples": 64, "stage2__steps": 0, "eval_every": 1, "stage1__patience": 100}
    settings = config(**changes, **more)
    run = train(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    losses = [row["validation_loss"] for row in log_of(run.path) if "validation_loss" in row]
    assert len(losses) == 31
    assert losses[-1] > min(losses) + 0.05
    assert 0 < int(np.argmin(losses)) < 30
    assert final_loss(run, corpus, 64) == pytest.approx(min(losses), abs=2e-5)


def test_the_last_is_kept_where_that_is_wanted(corpus: Corpus, base_llm: Path, tmp_path: Path) -> None:
    changes = {"stage1__steps": 30, "stage1__llm": "full", "stage1__lr_llm": 0.05, "stage1__keep": "last"}
    settings = config(**changes, stage2__steps=0, eval_every=10, stage1__patience=100)
    run = train(corpus, str(base_llm), tmp_path / "run", settings, device="cpu")
    losses = [row["validation_loss"] for row in log_of(run.path) if "validation_loss" in row]
    assert losses[-1] > min(losses) + 0.05
    assert final_loss(run, corpus, SHORT["eval_examples"]) == pytest.approx(losses[-1], abs=2e-5)


def test_patience_stops_early(corpus: Corpus, base_llm: Path, tmp_path: Path) -> None:
    changes = {"stage1__steps": 200, "stage1__warmup": 0.0, "stage1__lr_adapter": 5.0, "stage2__steps": 0}
    settings = config(**changes, eval_every=2, stage1__patience=3)
    run = train(corpus, str(base_llm), tmp_path / "run", settings, device="cpu")
    losses = [row["validation_loss"] for row in log_of(run.path) if "validation_loss" in row]
    assert len(losses) < 50
    assert int(np.argmin(losses)) == len(losses) - 4


def test_no_gain_is_said_loudly(corpus: Corpus, base_llm: Path, tmp_path: Path, caplog) -> None:
    settings = config(stage1__steps=2, stage2__steps=2, stage1__lr_adapter=1e-9)
    train(corpus, str(base_llm), tmp_path / "run", settings, device="cpu")
    warnings = [entry for entry in caplog.records if entry.levelno == logging.WARNING and entry.name == "vectalk"]
    assert "the vector gain is" in warnings[0].message


def test_one_example_is_shown_with_what_is_learned(corpus: Corpus, random_llm: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, logger="vectalk")
    train(corpus, str(random_llm), tmp_path / "run", config(stage1__steps=1, stage2__steps=0), device="cpu")
    example = next(corpus.examples("train"))
    shown = next(text for text in caplog.messages if text.startswith("one example"))
    assert f"»{example.target}<|end|>«" in shown
    assert "{island: 2 soft tokens}" in shown


# ---- what cannot be


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage3.steps": 1}, r"there is no setting stage3; did you mean"),
        ({"soft_tokens": 1}, r"there is no setting soft_tokens; did you mean adapter\.soft_tokens\?"),
        ({"stage2.lr": 1}, r"there is no setting stage2\.lr; did you mean .*stage2\.lr_llm"),
        ({"xyzzy": 1}, r"there is no setting xyzzy; there are recipe, adapter\.kind, "),
        ({"stage1.step": 1}, r"there is no setting stage1\.step; did you mean stage1\.steps"),
        ({"batch_size": 0}, r"batch_size: .*greater than or equal to 1 \(given 0\)"),
        ({"stage1.lr_adapter": -1.0}, r"stage1\.lr_adapter: .*greater than 0 \(given -1\.0\)"),
        ({"stage2.llm": "some"}, r"stage2\.llm: .*'frozen', 'lora' or 'full' \(given 'some'\)"),
        ({"adapter.kind": "deep"}, r"adapter\.kind: .*'linear', 'mlp' or 'residual'"),
        ({"stage1.steps": "many"}, r"stage1\.steps: .*integer.*'many'"),
        ({"stage1.steps": 0, "stage2.steps": 0}, r"stage1\.steps and stage2\.steps are both 0"),
        ({"stage1.llm": "full", "stage2.llm": "lora"}, r"stage1\.llm is 'full' and stage2\.llm is 'lora'"),
        (
            {"dtype": "float16"},
            r"dtype is 'float16', and a stage trains all weights of the LLM.*leave out dtype.*llm: lora",
        ),
        ({"seed.x": 1}, r"seed: .*integer"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainConfig.load(None, changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size: [", r"not valid YAML"),
        ("- a", r"must map settings to values"),
        ("stage1: 5", r"stage1: "),
        ("stage1: {steps: 5, lr: 1}", r"there is no setting stage1\.lr; did you mean"),
        ("seed: 3", r"setting seed\.x: seed is 3"),
    ],
)
def test_wrong_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(text)
    overrides = {"seed.x": 1} if "seed" in text else None
    with pytest.raises(TrainingError, match=message) as refused:
        TrainConfig.load(tmp_path / "train.yaml", overrides)
    assert "train.yaml" in str(refused.value)
    with pytest.raises(TrainingError, match=r"nowhere\.yaml does not exist"):
        TrainConfig.load(tmp_path / "nowhere.yaml")


def test_a_file_names_just_what_it_changes(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("batch_size: 7\nstage1: {patience: 9}\nadapter: {width: 3}\n")
    loaded, plain = TrainConfig.load(tmp_path / "train.yaml", {"stage1.steps": 5}), TrainConfig()
    assert (loaded.batch_size, loaded.stage1.patience, loaded.stage1.steps, loaded.adapter.width) == (7, 9, 5, 3)
    assert loaded.stage1.lr_adapter == plain.stage1.lr_adapter
    assert loaded.stage2 == plain.stage2
    (tmp_path / "again.yaml").write_text(loaded.dump())
    assert TrainConfig.load(tmp_path / "again.yaml") == loaded


def test_divergence_from_the_start_is_an_error_and_no_run(corpus: Corpus, base_llm: Path, tmp_path: Path) -> None:
    settings = config(stage1__lr_adapter=1e30)
    with pytest.raises(
        TrainingError, match=r"diverged.*There are no better weights from before\. Lower the learning rates"
    ):
        train(corpus, str(base_llm), tmp_path / "run", settings, device="cpu")
    assert not (tmp_path / "run" / "elm.json").exists()


def test_the_best_before_divergence_is_a_run(corpus: Corpus, base_llm: Path, tmp_path: Path) -> None:
    settings = config(stage1__lr_adapter=5e-3, stage2__lr_llm=1e30)
    message = r"diverged in stage 2 at step \d+: .*; the best weights before divergence, of stage 2, step 0, were saved"
    with pytest.raises(TrainingError, match=message):
        train(corpus, str(base_llm), tmp_path / "run", settings, device="cpu")
    run = Run.load(tmp_path / "run")
    losses = [row["validation_loss"] for row in log_of(run.path) if row["stage"] == 1 and "validation_loss" in row]
    assert final_loss(run, corpus, SHORT["eval_examples"]) == pytest.approx(min(losses), abs=2e-5)
    assert "Stopped early: training diverged in stage 2" in (run.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_loss_that_explodes_is_divergence(corpus, random_llm: Path, tmp_path: Path, monkeypatch, keep: str) -> None:
    limit = 3 * np.log(AutoConfig.from_pretrained(random_llm).vocab_size)
    coming = iter([5.0, 2.0, limit - 1, limit + 5])
    monkeypatch.setattr(Validation, "measure", lambda *_: (next(coming), 6.0, {}))
    settings = config(stage1__keep=keep, stage1__steps=20)
    best = {"best": 4, "last": 8}[keep]
    with pytest.raises(
        TrainingError, match=rf"in stage 1 at step 12: the validation.*of stage 1, step {best}, were saved"
    ):
        train(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    assert Run.load(tmp_path / "run").card.llm.trained == "frozen"


def test_an_example_longer_than_the_context_is_named(corpus: Corpus, tokenizer, tmp_path: Path) -> None:
    llm = save_llm("llama", tokenizer, tmp_path / "llm", max_position_embeddings=24)
    message = r"training example \d+ \(task '\w+', \w+ = [^)]+\) is \d+ tokens long, but the LLM accepts 24"
    with pytest.raises(TrainingError, match=message):
        train(corpus, str(llm), tmp_path / "run", config(), device="cpu")
    assert not (tmp_path / "run" / "elm.json").exists()


def test_a_corpus_without_validation_is_refused_and_leaves_nothing(random_llm: Path, tmp_path: Path) -> None:
    made = World.make().space(30)
    table = {**made.entities.to_pydict(), "split": ["train"] * 30}
    space = VectorSpace.create("island", made.vectors, table, metric="euclidean").save(tmp_path / "islands")
    suite = islands_suite()
    corpus = build_corpus({"island": space}, suite, FactsTeacher(suite, {"island": space}), tmp_path / "corpus")
    with pytest.raises(TrainingError, match=r"360 training and 0 validation examples; .*early stopping"):
        train(corpus, str(random_llm), tmp_path / "run", config(), device="cpu")
    assert not (tmp_path / "run").exists()


def test_folders_that_are_taken_are_refused(corpus: Corpus, random_llm: Path, run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is a finished run"):
        train(corpus, str(random_llm), run.path, config(), device="cpu")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(TrainingError, match="is not empty; resume with --resume"):
        train(corpus, str(random_llm), tmp_path / "full", config(), device="cpu")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    with pytest.raises(TrainingError, match="has no run to resume"):
        train(corpus, str(random_llm), tmp_path / "none", config(), device="cpu", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_seed_decides_the_whole_run(random_llm: Path, tmp_path: Path) -> None:
    corpus, runs = make_islands(tmp_path, rows=60), []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(runs))  # what happened before does not matter
        settings = config(seed=seed, vector_noise=0.1, adapter__dropout=0.1)
        runs.append(train(corpus, str(random_llm), tmp_path / name, settings, device="cpu"))
    logs = [log_of(run.path) for run in runs]
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]
    weights = [load_file(run.path / "llm" / "model.safetensors") for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

"""What helps a vector to come through: tasks of a stage, weights of tokens, adapters started as words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vectalk.errors import SuiteError, TrainingError
from vectalk.llm.loading import load_llm
from vectalk.model import ElmModel, PromptFormat
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, make_trainer, words
from vectalk.training.adapters import make_adapters
from vectalk.training.data import Examples
from vectalk.training.reporter import Silent
from vectalk.training.trainer import train
from vectalk.training.word_start import SIZE, _texts_of, bags_of, start_as_words
from vectalk.training.words import frequencies, table_of
from worlds import SHORT, log_of


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.load(None, {**SHORT, **{name.replace("__", "."): value for name, value in changes.items()}})


def world_of(corpus: Corpus, llm: Path, settings: TrainConfig) -> tuple[ElmModel, Examples]:
    language = load_llm(str(llm), device="cpu")
    model = ElmModel(language, make_adapters(corpus.spaces, settings, language))
    prompts = PromptFormat(language.tokenizer, dict.fromkeys(corpus.spaces, settings.adapter.soft_tokens))
    return model, Examples(corpus.table("train"), corpus.spaces, prompts)


# ---- weights of tokens


def test_rare_tokens_count_more_and_all_count_one_on_average(corpus: Corpus, base_llm: Path) -> None:
    model, examples = world_of(corpus, base_llm, config())
    numbers = np.arange(len(examples))
    ids = examples.target_ids(numbers)
    weights = words.token_weights(examples, numbers, 1.0, model)
    used = torch.tensor([token for one in ids for token in one])
    assert weights[used].mean().item() == pytest.approx(1.0, abs=1e-3)
    inside = np.bincount([token for one in ids for token in set(one)], minlength=len(weights))
    known = np.flatnonzero(inside)
    order = known[np.argsort(inside[known], kind="stable")]
    assert (np.diff(weights[order].numpy()) <= 1e-6).all()  # the more texts hold a token, the less it counts
    assert weights[order[0]] > 2 * weights[order[-1]]
    assert torch.equal(words.token_weights(examples, numbers, 0.0, model), torch.ones(len(weights)))


def test_weights_count_in_training_alone(corpus: Corpus, base_llm: Path) -> None:
    model, examples = world_of(corpus, base_llm, config())
    batch = examples.batch(np.arange(4))
    plain, count = model.eval()(batch)
    model.token_weights = torch.zeros(len(load_llm(str(base_llm), device="cpu").tokenizer))
    model.token_weights[int(batch.labels[0][batch.labels[0] >= 0][3])] = 2.0
    assert model(batch)[0].item() == pytest.approx(plain.item())
    weighted, total = model.train()(batch)
    assert 0 < weighted.item() < plain.item()
    assert 0 < total.item() < 2 * count.item()


# ---- tasks of a stage


def test_a_stage_learns_and_is_judged_by_its_tasks(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    names = [task.name for task in corpus.suite.tasks]
    settings = config(stage1__tasks=names[:1])
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    seen: list[np.ndarray] = []
    batch = trainer.train_set.batch

    def watched(numbers: np.ndarray, **more: Any) -> Any:
        seen.append(numbers)
        return batch(numbers, **more)

    trainer.train_set.batch = watched  # type: ignore[method-assign]
    trainer.run()
    tasks = np.array([trainer.train_set.task(n) for n in range(len(trainer.train_set))])
    first, second = np.concatenate(seen[:12]), np.concatenate(seen[12:])
    assert set(tasks[first]) == {names[0]}
    assert set(tasks[second]) == set(names)
    judged = trainer.validation_set.of_tasks(names[:1])
    assert 0 < len(judged) < len(trainer.validation_set)


def test_unknown_tasks_are_named(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="has no task 'poem'"):
        train(corpus, str(random_llm), tmp_path / "run", config(stage1__tasks=["poem"]), device="cpu")
    with pytest.raises(TrainingError, match=r"stage1\.tasks"):
        config(stage1__tasks=[])


# ---- adapters started as words


def test_started_adapters_speak_of_the_targets(corpus: Corpus, base_llm: Path) -> None:
    settings = config(adapter__width=64, adapter__soft_tokens=4)
    model, examples = world_of(corpus, base_llm, settings)
    adapter = model.adapter("island")
    before = {name: p.clone() for name, p in model.llm.named_parameters()}
    calls: list[tuple[int, int]] = []
    explained = start_as_words(model, examples, ["island"], lambda done, total: calls.append((done, total)))
    assert 0 < explained["island"] < 1
    # The soft tokens of an island resemble the words of its own texts more than those of another island's texts.
    numbers, slots = _texts_of(examples, adapter)
    table, rows = table_of(model).detach(), torch.tensor([row for _, row in slots])
    ids = examples.target_ids(numbers)
    bags = bags_of(ids, 4, frequencies(ids, len(table))[0])
    words_of = bags.embeddings(0, len(ids), table - table.mean(0)).detach()
    words_of = words_of - words_of.mean(0)
    soft = adapter(torch.from_numpy(corpus.spaces["island"].vectors[rows])).flatten(1).detach()
    own = torch.nn.functional.cosine_similarity(soft, words_of).mean()
    others = torch.nn.functional.cosine_similarity(soft, words_of.roll(7, 0)).mean()
    assert own > others + 0.05
    total = calls[0][1]
    assert calls == [(0, total), (total, total)]
    assert all(torch.equal(before[name], p) for name, p in model.llm.named_parameters())
    again, _ = world_of(corpus, base_llm, settings)
    start_as_words(again, examples, ["island"])
    assert all(torch.equal(a, b) for a, b in zip(adapter.parameters(), again.adapters.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["linear", "mlp", "residual"])
def test_soft_tokens_of_the_start_differ_about_zero_and_are_large(corpus: Corpus, base_llm: Path, kind: str) -> None:
    model, examples = world_of(corpus, base_llm, config(adapter__kind=kind))
    start_as_words(model, examples, ["island"])
    space = corpus.spaces["island"]
    soft = model.adapter("island")(torch.from_numpy(space.vectors[space.rows("train")])).flatten(1)
    assert soft.mean(0).abs().max() < 0.3 * soft.std()
    rms = (soft - soft.mean(0)).square().mean().sqrt().item()
    assert rms == pytest.approx(SIZE * model.language.embedding_rms, rel=0.1)


def test_a_shared_adapter_is_started_by_all_its_spaces(corpus: Corpus, base_llm: Path) -> None:
    model, examples = world_of(corpus, base_llm, config())
    spaces = start_as_words(model, examples, ["island", "island"])
    assert list(spaces) == ["island"]


def test_a_run_of_words_goes_on_as_if_nothing_had_been(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    class Killed(Silent):
        def step(self, stage: int, done: int, steps: int, note: str) -> None:
            if (stage, done) == (2, 7):
                raise KeyboardInterrupt

    settings = config(adapter__start="words", stage1__rare_tokens=0.5, stage2__rare_tokens=0.3)
    whole = train(corpus, str(random_llm), tmp_path / "whole", settings, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(corpus, str(random_llm), tmp_path / "parts", settings, device="cpu", reporter=Killed())
    parts = train(corpus, str(random_llm), tmp_path / "parts", settings, device="cpu", resume=True)
    assert log_of(parts.path) == log_of(whole.path)
    plain = train(corpus, str(random_llm), tmp_path / "plain", config(), device="cpu")
    assert log_of(plain.path)[0] != log_of(whole.path)[0]


def test_arithmetic_in_bfloat16(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    exact, half = (
        train(corpus, str(random_llm), tmp_path / kind, config(autocast=kind), device="cpu")
        for kind in ("none", "bfloat16")
    )
    losses = [[row["validation_loss"] for row in log_of(run.path) if "validation_loss" in row] for run in (exact, half)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    assert next(half.model("cpu")[0].parameters()).dtype == torch.float32

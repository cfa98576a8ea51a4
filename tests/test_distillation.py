"""Context distillation: the LLM told the facts in words teaches the same LLM that reads the vector."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vectalk.errors import TrainingError
from vectalk.model.run import Run
from vectalk.model.without_lora import without_lora
from vectalk.space.split import TRAIN
from vectalk.tasks import Corpus
from vectalk.tasks.questions.free_question import FreeQuestion
from vectalk.training import TrainConfig, make_trainer
from vectalk.training.config import LoraConfig, StageConfig
from vectalk.training.distillation.answers import teacher_answers
from vectalk.training.distillation.distillation import Distillation, FactsInWords, phrase_examples
from vectalk.training.distillation.pairs import choose_pairs
from vectalk.training.mixture import Mixture
from vectalk.training.reporter import Silent
from vectalk.training.setup import Setup
from vectalk.training.stage import prepare
from vectalk.training.trainer import train
from worlds import SHORT, log_of

DISTIL: dict[str, Any] = {
    **SHORT,
    "stage1.objective": "distill",
    "distill.answers": 48,
    "distill.answer_tokens": 6,
    "distill.validation": 16,
    "distill.temperature": 0.0,
}


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.load(None, {**DISTIL, **{name.replace("__", "."): value for name, value in changes.items()}})


@pytest.fixture
def setup(corpus: Corpus, random_llm: Path, tmp_path: Path) -> Setup:
    return Setup.make(corpus, str(random_llm), tmp_path / "setup", config(), device="cpu")


def quiet(what: str, done: int, total: int) -> None:
    pass


def test_pairs_use_each_question_alike_and_training_entities_alone(corpus: Corpus) -> None:
    questions = [FreeQuestion(f"Question {n} about {{island}}?", {"island": "island"}, "question") for n in range(4)]
    told = FactsInWords(corpus)
    pairs = choose_pairs(questions, corpus.spaces, TRAIN, 40, told, seed=3)
    assert [sum(pair.question == q.text for pair in pairs) for q in questions] == [10] * 4
    rows = set(corpus.spaces["island"].rows(TRAIN).tolist())
    assert all(pair.slots["island"][1] in rows for pair in pairs)
    one = pairs[0]
    assert one.told == one.question.replace("{island}", str(told(*one.slots["island"])))
    assert pairs == choose_pairs(questions, corpus.spaces, TRAIN, 40, told, seed=3)
    assert pairs != choose_pairs(questions, corpus.spaces, TRAIN, 40, told, seed=4)


def test_pairs_of_two_slots_are_about_two_entities(corpus: Corpus) -> None:
    question = FreeQuestion("Compare {a} with {b}.", {"a": "island", "b": "island"}, "two")
    for pair in choose_pairs([question], corpus.spaces, TRAIN, 200, FactsInWords(corpus), seed=0):
        assert pair.slots["a"] != pair.slots["b"]


def test_braces_in_facts_are_no_slots(corpus: Corpus) -> None:
    question = FreeQuestion("What is {island}?", {"island": "island"}, "question")
    (pair,) = choose_pairs([question], corpus.spaces, TRAIN, 1, lambda space, row: "a {word} in braces", seed=0)
    assert pair.told == "What is a {{word}} in braces?"


def test_entities_without_facts_are_an_error_and_not_an_endless_search(corpus: Corpus) -> None:
    question = FreeQuestion("What is {island}?", {"island": "island"}, "question")
    with pytest.raises(TrainingError, match="has facts that can be told"):
        choose_pairs([question], corpus.spaces, TRAIN, 5, lambda space, row: None, seed=0)


def test_answers_are_those_of_the_llm_and_are_written_once(
    setup: Setup, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = FreeQuestion("What is {island}?", {"island": "island"}, "question")
    pairs = choose_pairs([question], corpus.spaces, TRAIN, 7, FactsInWords(corpus), seed=0)
    monkeypatch.setattr("vectalk.training.distillation.answers.ROWS", 3)
    settings: dict[str, Any] = {"tokens": 5, "temperature": 0.0, "seed": 0}
    calls: list[tuple[int, int]] = []
    answers = teacher_answers(
        setup.model,
        setup.prompts,
        pairs,
        tmp_path,
        **settings,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (calls[0], calls[-1]) == ((0, 7), (7, 7))
    for pair, answer in zip(pairs, answers, strict=True):
        ids = list(setup.prompts(pair.told, {}).ids)
        for _ in range(5):
            token = int(setup.model.llm(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token in setup.prompts.stop_ids:
                break
            ids.append(token)
        written = ids[len(setup.prompts(pair.told, {}).ids) :]
        assert answer == str(setup.prompts.tokenizer.decode(written, skip_special_tokens=True)).strip()
    parts = sorted(tmp_path.rglob("part-*.parquet"))
    assert len(parts) == 3
    parts[1].unlink()  # as after an interruption
    before = {path: path.stat().st_mtime_ns for path in (parts[0], parts[2])}
    assert teacher_answers(setup.model, setup.prompts, pairs, tmp_path, **settings) == answers
    assert {path: path.stat().st_mtime_ns for path in before} == before
    more = choose_pairs([question], corpus.spaces, TRAIN, 10, FactsInWords(corpus), seed=0)
    assert more[:7] == pairs
    written_before = {path: path.stat().st_mtime_ns for path in parts}
    assert teacher_answers(setup.model, setup.prompts, more, tmp_path, **settings)[:7] == answers
    assert {path: path.stat().st_mtime_ns for path in parts} == written_before
    assert len(list(tmp_path.rglob("part-*.parquet"))) == 5  # the third part is another one, and the fourth is new


def test_the_divergence_is_that_of_the_two_prompts_whole_and_its_gradient_moves_the_adapter(setup: Setup) -> None:
    sets = Distillation.make(setup.folder.corpus, setup.model, setup.prompts, setup.config, quiet)
    model = setup.model.eval()
    batch = sets.train_set.batch(np.arange(5))
    assert batch.teacher is not None
    loss, count = model(batch)
    expected, tokens = 0.0, 0
    for number in range(5):
        student, teacher = (each.batch(np.array([number])) for each in (sets.train_set, sets.train_set.told))
        logs = [model.logits(one).flatten(0, 1)[one.supervised].log_softmax(-1) for one in (student, teacher)]
        assert torch.equal(student.targets, teacher.targets)
        expected += F.kl_div(logs[0], logs[1], reduction="sum", log_target=True).item()
        tokens += len(student.targets)
    assert int(count) == tokens
    assert loss.item() == pytest.approx(expected, rel=1e-3)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.adapters.parameters() if p.requires_grad)


def test_the_teacher_has_no_low_rank_update(setup: Setup) -> None:
    model = setup.model
    sets = Distillation.make(setup.folder.corpus, model, setup.prompts, setup.config, quiet)
    told = sets.train_set.told.batch(np.arange(3))
    before = model.eval().logits(told)
    prepare(model, StageConfig(steps=1, llm="lora"), LoraConfig(rank=2))
    updates = [p for name, p in model.llm.named_parameters() if "lora_B" in name]
    for update in updates:
        torch.nn.init.normal_(update)
    assert not torch.allclose(model.logits(told), before, atol=1e-3)
    with without_lora(model.llm):
        torch.testing.assert_close(model.logits(told), before)
    assert not torch.allclose(model.logits(told), before, atol=1e-3)
    assert all(update.requires_grad for update in updates)


def test_the_divergence_of_a_head_with_a_hook_is_that_of_its_words(setup: Setup) -> None:
    sets = Distillation.make(setup.folder.corpus, setup.model, setup.prompts, setup.config, quiet)
    model = setup.model.eval()
    batch = sets.train_set.batch(np.arange(3))
    plain = model(batch)[0].item()
    model.llm.get_output_embeddings().register_forward_hook(lambda module, inputs, logits: logits)
    assert model(batch)[0].item() == pytest.approx(plain, rel=1e-4)


def test_anchors_pull_the_soft_tokens_back_to_their_start(setup: Setup) -> None:
    model = setup.model.train()
    sets = Distillation.make(setup.folder.corpus, model, setup.prompts, setup.config, quiet)
    batch = sets.train_set.batch(np.arange(4))
    plain = model(batch)[0].item()
    model.anchors, model.anchor_weight = {"island": model.adapter("island")}, 0.5
    assert model(batch)[0].item() == pytest.approx(plain, rel=1e-4)  # it is where it started
    other = setup.factory.make("cpu")
    for parameter in other.adapters.parameters():
        parameter.data.mul_(2.0)
    model.anchors = {"island": other.adapter("island")}
    assert model(batch)[0].item() > plain + 0.1
    assert model.eval()(batch)[0].item() == pytest.approx(plain, rel=1e-4)  # validation measures divergence alone


def test_a_distilled_adapter_comes_near_the_told_llm(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    """`kl_kept` is 0 by construction for a model that ignores the vector, and 1 for one that needs no facts."""
    file = tmp_path / "questions.yaml"
    file.write_text(json.dumps(["{island}?"]))
    settings = config(
        distill__questions=str(file),
        distill__answers=300,
        distill__answer_tokens=4,
        distill__anchor=0.0,
        adapter__soft_tokens=16,
        adapter__width=64,
        stage1__steps=200,
        stage1__lr_adapter=1e-2,
        stage2__steps=0,
        eval_every=50,
        batch_size=16,
    )
    run = train(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    rows = [row for row in log_of(run.path) if "kl_kept" in row]
    assert rows[-1]["validation_loss"] < 0.5 * rows[0]["validation_loss"]
    assert rows[-1]["kl_kept"] > 0.2
    assert run.card.llm.trained == "frozen"


@pytest.mark.parametrize("llm", ["frozen", "lora"])
def test_distillation_goes_on_as_if_nothing_had_been(
    corpus: Corpus, random_llm: Path, tmp_path: Path, llm: str
) -> None:
    class Killed(Silent):
        def step(self, stage: int, done: int, steps: int, note: str) -> None:
            if (stage, done) == (1, 7):
                raise KeyboardInterrupt

    settings = config(
        adapter__start="words",
        stage1__llm=llm,
        stage1__mix=0.4,
        distill__anchor=0.1,
        stage2__llm="lora",
        lora__rank=2,
    )
    whole = train(corpus, str(random_llm), tmp_path / "whole", settings, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(corpus, str(random_llm), tmp_path / "parts", settings, device="cpu", reporter=Killed())
    parts = train(corpus, str(random_llm), tmp_path / "parts", settings, device="cpu", resume=True)
    assert log_of(parts.path) == log_of(whole.path)
    assert Run.load(parts.path).card.llm.trained == "lora"


def test_steps_of_the_second_kind_are_spread_evenly_and_resume_exactly(setup: Setup) -> None:
    first, second = setup.train_set, setup.validation_set
    mixture = Mixture(first, None, (second, None), 0.25)
    order = mixture.order(4, [0, 1], 0, None)
    whole = [next(order) for _ in range(40)]
    assert [examples is second for examples, _ in whole[:8]] == [False, False, False, True] * 2
    resumed = mixture.order(4, [0, 1], 13, None)
    for examples, numbers in whole[13:]:
        again, same = next(resumed)
        assert again is examples
        assert np.array_equal(numbers, same)
    plain = Mixture(first).order(4, [0, 1], 0, None)
    assert np.array_equal(next(plain)[1], whole[0][1])


def test_balance_gives_each_task_the_same_share(setup: Setup) -> None:
    examples = setup.train_set
    names = examples.tokens.tasks
    small, large = examples.of_tasks([names[0]])[:40], examples.of_tasks([names[1]])[:400]
    numbers = np.concatenate([small, large])
    for balance, expected in ((0.0, 4), (1.0, 22)):  # of 44 examples, 4 steps of 11
        order = Mixture(examples, numbers, balance=balance).order(11, [0, 1], 0, None)
        learned = np.concatenate([next(order)[1] for _ in range(40)])
        assert np.isin(learned, small).mean() * 44 == pytest.approx(expected, abs=0.1)


def test_the_start_of_distillation_is_the_facts_in_words(setup: Setup, corpus: Corpus) -> None:
    examples = phrase_examples(corpus, setup.prompts)
    told, tokenizer = FactsInWords(corpus), setup.prompts.tokenizer
    _, slots = examples.prompt(0)
    (place,) = slots.values()
    assert str(tokenizer.decode(list(examples.target_ids(np.array([0]))[0]))).strip() == told(*place)
    assert len(examples) == len(corpus.spaces["island"].rows(TRAIN))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(TrainingError, match="would change with the LLM that learns"):
        config(stage1__llm="full")
    with pytest.raises(TrainingError, match=r"mix is 0\.5 and objective is 'targets'"):
        config(stage1__objective="targets", stage1__mix=0.5)


def test_questions_of_a_file_are_used(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    file = tmp_path / "questions.yaml"
    file.write_text(json.dumps(["Is {island} warm?"]))
    settings = config(distill__questions=str(file), stage2__steps=0)
    trainer = make_trainer(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    sets = Distillation.make(corpus, trainer.model, trainer.setup.prompts, settings, quiet)
    prompt, _ = sets.train_set.prompt(0)
    assert "Is {island: 2 soft tokens} warm?" in trainer.setup.prompts.show(prompt)

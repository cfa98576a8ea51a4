"""Training chooses the default decoding settings of a run: the fewest loops first, then the words of the targets."""

import json
from pathlib import Path

import numpy as np
import pytest

import vectalk as vt
from vectalk.decoding.defaults import read_defaults
from vectalk.decoding.repetition import loops
from vectalk.errors import TrainingError
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.decoding_choice import CANDIDATES, EXAMPLES, Trial, best_of, word_f1
from vectalk.training.trainer import train
from worlds import SHORT, save_llm


def chosen(*figures: tuple[float, float]) -> int:
    """The number of the trial that is chosen among trials with these shares of loops and these F1."""
    trials = [Trial({"no_repeat_ngram_size": number}, *pair) for number, pair in enumerate(figures)]
    return best_of(trials).settings["no_repeat_ngram_size"]


def test_loops_come_first_then_the_words_of_the_targets() -> None:
    assert chosen((0.19, 0.9), (0.0, 0.2), (0.0, 0.3)) == 2
    assert chosen((0.0, 0.5), (0.0, 0.5), (0.0, 0.5)) == 0  # the mildest of equal ones
    assert chosen((1 / 64, 0.5), (0.0, 0.4)) == 0  # one answer in 64 is no evidence
    assert chosen((2 / 64, 0.5), (0.0, 0.4)) == 1


def test_the_mildest_candidate_changes_nothing() -> None:
    assert not vt.Decoding(**CANDIDATES[0]).penalizes
    assert all(vt.Decoding(**one).penalizes for one in CANDIDATES[1:])
    assert len({json.dumps(one) for one in CANDIDATES}) == len(CANDIDATES)


@pytest.mark.parametrize(
    ("answer", "target", "score"),
    [
        ("A film of drama.", "a FILM, of drama", 1.0),
        ("drama", "comedy", 0.0),
        ("drama drama drama", "drama", 0.5),
        ("a film", "a film of drama", 2 / 3),
        ("", "", 1.0),
        ("", "drama", 0.0),
    ],
)
def test_words_of_an_answer_are_compared_with_those_of_its_target(answer: str, target: str, score: float) -> None:
    assert word_f1(answer, target) == pytest.approx(score)


def test_training_stores_what_asking_confirms(corpus: Corpus, base_llm: Path, tmp_path: Path) -> None:
    messages: list[tuple[str, int, int]] = []

    class Listener:
        def step(self, stage: int, done: int, steps: int, note: str) -> None: ...

        def work(self, what: str, done: int, total: int) -> None:
            messages.append((what, done, total))

    config = TrainConfig.load(None, {**SHORT, "choose_decoding": True, "stage2.steps": 0})
    run = train(corpus, str(base_llm), tmp_path / "run", config, device="cpu", reporter=Listener())
    trials = json.loads((run.path / "decoding.json").read_text())["trials"]
    asked = [message for message in messages if message[0] == "choosing decoding settings"]
    assert asked[-1][1:] == (len(CANDIDATES) * EXAMPLES, len(CANDIDATES) * EXAMPLES)

    examples = list(corpus.examples("validation"))
    numbers = np.random.default_rng(0).permutation(len(examples))[:EXAMPLES]
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    assert elm.defaults == read_defaults(run.path) in [dict(one) for one in CANDIDATES]
    for trial, candidate in zip(trials, CANDIDATES, strict=True):
        questions = [examples[n].prompt for n in numbers]
        slots = [
            {slot: (space, corpus.spaces[space].vectors[row]) for slot, (space, row) in examples[n].slots.items()}
            for n in numbers
        ]
        texts = elm.generate(questions, slots, max_new_tokens=128, names="off", **candidate)  # training forces no names
        assert trial["loops"] == pytest.approx(np.mean([loops(text) for text in texts]), abs=1e-4)
        scores = [word_f1(text, examples[n].target) for text, n in zip(texts, numbers, strict=True)]
        assert trial["f1"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert len({(trial["loops"], trial["f1"]) for trial in trials}) > 1
    fewest = min(trial["loops"] for trial in trials)
    best = max((trial for trial in trials if trial["loops"] <= fewest + 0.02), key=lambda trial: trial["f1"])
    assert {name: best[name] for name in elm.defaults} == elm.defaults


def test_without_the_setting_nothing_is_stored(run: Run) -> None:
    assert not TrainConfig().choose_decoding
    assert not (run.path / "decoding.json").exists()


def test_an_llm_without_the_decoding_loop_is_refused_before_training(corpus: Corpus, tokenizer, tmp_path: Path) -> None:
    llm = save_llm("mamba", tokenizer, tmp_path / "mamba")
    config = TrainConfig.load(None, {**SHORT, "choose_decoding": True})
    with pytest.raises(TrainingError, match="choose_decoding: the decoding loop does not support LLM"):
        train(corpus, str(llm), tmp_path / "run", config, device="cpu")
    assert not (tmp_path / "run").exists()

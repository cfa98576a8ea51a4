"""Two processes train what one trains: the same losses, with dropout off, and exact resume after a kill."""

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from forked import Forked
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus
from vectalk.training import TrainConfig, checkpoint
from vectalk.training.trainer import train
from worlds import SHORT, log_of, make_llm

SETTINGS: dict[str, Any] = {**SHORT, "batch_size": 6, "vector_noise": 0.1, "save_every": 4, "stage2.llm": "full"}
# Films and users; most batches of six hold both spaces, the last one of an epoch may hold one.
SUITE = """
name: pair
attributes:
  film: {kind: {kind: category}}
  user: {taste: {kind: category}}
tasks:
  - name: film
    slots: {film: film}
    about: film
    prompts: ["What is {film}?"]
    facts: [["A {{ film.kind }} film."]]
  - name: user
    slots: {user: user}
    about: user
    prompts: ["Who is {user}?"]
    facts: [["Someone who loves {{ user.taste }}, and nothing else at all."]]
"""
RUN = """
import os, sys, time
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, checkpoint, trainer
import json
os.setpgrp()
corpus, llm, out, settings, resume, kill = sys.argv[1:]
write = checkpoint.write_json

def write_json(path, state):
    if state["total"] == int(kill):
        open(out + ".reached", "w").close()
        time.sleep(600)  # until it is killed
    write(path, state)

checkpoint.write_json = write_json
trainer.train(Corpus.load(corpus), llm, out, TrainConfig.load(None, json.loads(settings)), device="cpu",
              resume=resume == "1")
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder, rng, spaces = tmp_path_factory.mktemp("pair"), np.random.default_rng(0), {}
    for name, column, dim in (("film", "kind", 5), ("user", "taste", 3)):
        rows = 60 if name == "film" else 12
        vectors = rng.standard_normal((rows, dim)).astype(np.float32)
        values = ["long" if vector[0] > 0 else "short" for vector in vectors]
        space = VectorSpace.create(name, vectors, {"id": [f"{name}{n}" for n in range(rows)], column: values})
        spaces[name] = space.save(folder / name)
    suite = Suite.parse(SUITE, "pair")
    return build_corpus(spaces, suite, FactsTeacher(suite, spaces), folder / "corpus", variants=1)


def launch(corpus: Corpus, llm: Path, out: Path, settings: dict[str, Any], *, resume: bool = False, kill: int = -1):
    """Train in two processes; returns their exit codes."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    made = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
        environment = {**place, "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        arguments = [str(corpus.path), str(llm), str(out), json.dumps(settings), str(int(resume)), str(kill)]
        made.append(Forked(*arguments, code=RUN, environment=environment))
    if kill >= 0:
        reached = Path(f"{out}.reached")
        while not reached.exists() and made[0].poll() is None:
            time.sleep(0.02)
        # The waiting one first: it would notice the death of the other, and end by itself with an error.
        for process in reversed(made):
            os.killpg(process.pid, signal.SIGKILL)
        reached.unlink()
    errors = [process.communicate()[1] for process in made]
    codes = [process.returncode for process in made]
    assert kill >= 0 or codes == [0, 0], errors
    return codes


def losses(run: Path) -> list[float]:
    return [value for row in log_of(run) for key, value in row.items() if key in ("loss", "validation_loss")]


@pytest.fixture(scope="module")
def one(pair: Corpus, random_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    return train(pair, str(random_llm), out, TrainConfig.load(None, dict(SETTINGS)), device="cpu").path


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_resume(one: Path, pair: Corpus, random_llm: Path, tmp_path) -> None:
    two, again = tmp_path / "two", tmp_path / "again"
    launch(pair, random_llm, two, SETTINGS)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    assert [row["tokens"] for row in log_of(two) if "tokens" in row] == [
        row["tokens"] for row in log_of(one) if "tokens" in row
    ]
    # Killed while a checkpoint is half written, and gone on with.
    codes = launch(pair, random_llm, again, SETTINGS, kill=16)
    assert codes == [-9, -9]
    assert checkpoint.list_checkpoints(again / "checkpoints")[-1].name == "step-0000012"
    launch(pair, random_llm, again, SETTINGS, resume=True)
    assert log_of(again) == log_of(two)
    first, second = load_file(two / "llm" / "model.safetensors"), load_file(again / "llm" / "model.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_weights_spread_over_two_processes_train_what_one_does(one: Path, pair: Corpus, random_llm, tmp_path) -> None:
    settings, two, again = {**SETTINGS, "shard": True}, tmp_path / "two", tmp_path / "again"
    launch(pair, random_llm, two, settings)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    alone, spread = load_file(one / "llm" / "model.safetensors"), load_file(two / "llm" / "model.safetensors")
    assert alone.keys() == spread.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(spread[name], weight, atol=2e-3, rtol=1e-2, msg=name)
    assert launch(pair, random_llm, again, settings, kill=16) == [-9, -9]
    assert checkpoint.list_checkpoints(again / "checkpoints")[-1].name == "step-0000012"
    launch(pair, random_llm, again, settings, resume=True)
    assert log_of(again) == log_of(two)


@pytest.mark.slow
def test_a_low_rank_update_is_spread_with_the_rest(pair: Corpus, random_llm: Path, tmp_path: Path) -> None:
    short = {"stage1.steps": 2, "stage2.steps": 4, "stage2.llm": "lora", "grad_accumulation": 2, "eval_every": 2}
    settings = {**SETTINGS, **short}
    one = train(pair, str(random_llm), tmp_path / "one", TrainConfig.load(None, dict(settings)), device="cpu")
    launch(pair, random_llm, tmp_path / "two", {**settings, "shard": True})
    assert losses(tmp_path / "two") == pytest.approx(losses(one.path), rel=1e-3)
    saved = [load_file(run / "lora" / "adapter_model.safetensors") for run in (one.path, tmp_path / "two")]
    assert saved[0].keys() == saved[1].keys()
    for name, weight in saved[0].items():
        torch.testing.assert_close(saved[1][name], weight, atol=2e-3, rtol=1e-2, msg=name)


@pytest.mark.slow
def test_an_llm_in_half_precision_is_spread_too(pair: Corpus, tokenizer, tmp_path: Path) -> None:
    """FSDP takes weights of one type; a started run's normalisers are kept, though nothing trains them."""
    llm = tmp_path / "llm"
    make_llm("llama", len(tokenizer)).to(torch.bfloat16).save_pretrained(llm)
    tokenizer.save_pretrained(llm)
    short = {"stage1.steps": 2, "stage2.steps": 4, "stage2.llm": "lora", "eval_every": 2, "autocast": "bfloat16"}
    settings = {**SETTINGS, **short}
    one = train(pair, str(llm), tmp_path / "one", TrainConfig.load(None, dict(settings)), device="cpu")
    assert one.card.llm.dtype == "bfloat16"
    launch(pair, llm, tmp_path / "two", {**settings, "shard": True})
    assert losses(tmp_path / "two") == pytest.approx(losses(one.path), rel=0.01)


def test_pieces_of_a_batch_change_nothing(pair: Corpus, random_llm: Path, tmp_path: Path) -> None:
    logs = []
    for pieces in (1, 3):
        out = tmp_path / str(pieces)
        settings = TrainConfig.load(None, {**SETTINGS, "grad_accumulation": pieces})
        train(pair, str(random_llm), out, settings, device="cpu")
        logs.append(losses(out))
        shutil.rmtree(out / "llm")
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)

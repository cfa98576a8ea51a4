"""The demo: an invented world from vectors to measured answers, in minutes on two cores and without a download.

Everything that is said of an island is linear in its vector, so a model's words about a point where no island is can
be checked against the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vectalk.demo.world import World, islands_suite
from vectalk.evaluation import Evaluation, evaluate
from vectalk.files import new_folder, write_json
from vectalk.space import Point, VectorSpace
from vectalk.space.split import TEST
from vectalk.talk import ELM
from vectalk.tasks import FactsTeacher, build_corpus
from vectalk.training import TrainConfig, train
from vectalk.training.base_llm import make_base_llm
from vectalk.training.reporter import Reporter

QUESTION = "Describe {island}."


@dataclass(frozen=True)
class Size:
    """How much the demo does: islands, steps of the base LLM and of both stages, and test islands."""

    islands: int
    base_steps: int
    stage1: int
    stage2: int
    test: int


FULL = Size(islands=2500, base_steps=500, stage1=300, stage2=1700, test=150)
QUICK = Size(islands=1200, base_steps=250, stage1=150, stage2=300, test=60)


def config_for(size: Size, seed: int = 0) -> TrainConfig:
    """Return the training settings of the demo."""
    return TrainConfig.load(
        None,
        {
            "adapter.width": 256,
            "stage1.steps": size.stage1,
            "stage2.steps": size.stage2,
            "stage2.lr_llm": 1e-3,
            "stage2.lr_adapter": 2e-3,
            "stage2.patience": 9,
            "eval_every": 200,
            "eval_examples": 200,
            "save_every": 300,
            "seed": seed,
        },
    )


@dataclass(frozen=True)
class Sample:
    """One question asked of the demo's model, with what is true of the point and what the control says."""

    what: str
    source: str
    truth: str
    answer: str
    shuffled: str
    support: str


def run_demo(
    out: str | Path,
    *,
    size: Size = FULL,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Evaluation, list[Sample]]:
    """Make the world, train on it, evaluate, and ask about points that are nobody.

    Args:
        out: folder that holds space, corpus, base LLM, run and evaluation.
        size: how much to do.
        seed: of everything random.
        overwrite: replace the folder where it exists; should this fail, what stood there comes back.
        device: where to train.
        reporter: is told of the steps of training.
        progress: called with what is going on, done, total.

    Returns:
        The rows of the evaluation's metrics, and the samples.
    """
    with new_folder(out, "demo.json", overwrite=overwrite) as place:
        write_json(place / "demo.json", {"size": asdict(size), "seed": seed})
        world = World.make(seed=seed)
        space = world.space(size.islands).save(place / "islands")
        suite = islands_suite()
        teacher = FactsTeacher(suite, {"island": space})
        corpus = build_corpus({"island": space}, suite, teacher, place / "corpus", seed=seed, progress=progress)
        llm = make_base_llm(
            corpus,
            place / "base-llm",
            hidden=128,
            layers=3,
            vocabulary=1024,
            steps=size.base_steps,
            seed=seed,
            progress=lambda done, total, note: progress("base LLM", done, total),
        )
        settings = config_for(size, seed)
        train(corpus, str(llm), place / "run", settings, device=device, reporter=reporter)
        elm = ELM.from_pretrained(place / "run", device=device)
        rows = evaluate(elm, corpus, place / "evaluation", limit=size.test, seed=seed, progress=progress)
        samples = ask_nobody(elm, world, teacher, seed)
        write_json(place / "samples.json", [sample.__dict__ for sample in samples])
    return rows, samples


def ask_nobody(elm: ELM, world: World, teacher: FactsTeacher, seed: int = 0) -> list[Sample]:
    """Ask about a test island, the point between two, a sum of moves, and a point far from all."""
    space = elm.spaces["island"]
    rng = np.random.default_rng(seed)
    a, b, c, other = (space[int(row)] for row in rng.choice(space.rows(TEST), 4, replace=False))
    points = {
        "an island that training never saw": a,
        "half way between two islands": space.point(f"lerp({a.source}, {b.source}, 0.5)"),
        "one island, moved by what parts two others": space.point(f"{a.source} + ({b.source} - {c.source})"),
        "far out, where nothing is": 6.0 * a,
    }
    answers = elm.ask([QUESTION] * len(points), [{"island": point} for point in points.values()])
    control = elm.ask(QUESTION, {"island": other})
    return [
        Sample(
            what,
            point.source,
            spell_truth(world, teacher, space, point),
            answer.text,
            control.text,
            str(answer.support),
        )
        for (what, point), answer in zip(points.items(), answers, strict=True)
    ]


def spell_truth(world: World, teacher: FactsTeacher, space: VectorSpace, point: Point) -> str:
    """Write what is true of a point in the words of the facts teacher."""
    readers, truth = teacher.readers["island"], world.truth(point.values)
    raw = {name: truth.get(reader.column) for name, reader in readers.items()}
    values = {name: None if value is None else readers[name].from_metadata(value) for name, value in raw.items()}
    return teacher.spell(teacher.suite.task("summary"), {"island": values}, "truth") or ""

"""The demo on an invented world: from vectors to an evaluated model, in minutes on two cores, without a download.

Every attribute of an island depends on linear functions of its vector. So the correct answer is also known for points
without an island.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vectalk.demo.concepts import island_examples, keep_concepts
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
    """The size of the demo: islands, training steps of the base LLM and of both stages, and most test examples."""

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
    """One question to the model of the demo, with its answer, the true facts, and the answer of the control."""

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
    """Create the world, train a model on it, evaluate the model, and ask it about points without an island.

    Args:
        out: folder of the space, the corpus, the base LLM, the run and the evaluation.
        size: size of the demo.
        seed: seed of all random choices.
        overwrite: replace the folder if it exists. If the demo fails, the old folder is restored.
        device: device for training and answers.
        reporter: receives the steps of training.
        progress: called with a label of the current step, the number of finished items, and the total.

    Returns:
        The rows of the evaluation's metrics, and the samples.
    """
    with new_folder(out, "demo.json", overwrite=overwrite) as place:
        write_json(place / "demo.json", {"size": asdict(size), "seed": seed})
        world = World.make(seed=seed)
        space = world.space(size.islands).save(place / "islands")
        keep_concepts(space, island_examples(space), random_concepts=5, bootstraps=5)
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
        samples = ask_about_points(elm, world, teacher, seed)
        write_json(place / "samples.json", [sample.__dict__ for sample in samples])
    return rows, samples


def ask_about_points(elm: ELM, world: World, teacher: FactsTeacher, seed: int = 0) -> list[Sample]:
    """Ask about a test island, the middle of two, an island plus a difference, and a point out of distribution."""
    space = elm.spaces["island"]
    rng = np.random.default_rng(seed)
    a, b, c, other = (space[int(row)] for row in rng.choice(space.rows(TEST), 4, replace=False))
    points = {
        "an island that training never saw": a,
        "half way between two islands": space.point(f"lerp({a.source}, {b.source}, 0.5)"),
        "an island plus the difference of two others": space.point(f"{a.source} + ({b.source} - {c.source})"),
        "a point out of distribution": 6.0 * a,
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
    """Return the true facts about a point, as a text of the facts teacher."""
    readers, truth = teacher.readers["island"], world.truth(point.values)
    raw = {name: truth.get(reader.column) for name, reader in readers.items()}
    values = {name: None if value is None else readers[name].from_metadata(value) for name, value in raw.items()}
    return teacher.spell(teacher.suite.task("summary"), {"island": values}, "truth") or ""

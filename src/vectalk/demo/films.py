"""The demo on real vectors: films and viewers of MovieLens, from vectors to measured answers in minutes.

The data lie in `demo-data/` of the repository, with their own licence; `demo-data/make.py` made them from ratings. The
base LLM there has read texts about training films and viewers, and has seen no vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vectalk.demo.data import demo_data
from vectalk.demo.showcase import Sample, showcase
from vectalk.evaluation import Evaluation, evaluate
from vectalk.evaluation.probes.facts import Facts
from vectalk.files import new_folder, write_json
from vectalk.space import VectorSpace
from vectalk.talk import ELM
from vectalk.tasks import FactsTeacher, Suite, build_corpus, load_suite
from vectalk.training import TrainConfig, train
from vectalk.training.reporter import Reporter

SIX = ["summary", "movie_to_viewer", "positive_review", "negative_review", "similarities", "interpolation"]
PROFILE = "user_profile"


@dataclass(frozen=True)
class Size:
    """How much the demo does: tasks (all of the suites where none are named), training examples of each task for each
    entity, steps of both stages, and test entities a task."""

    tasks: tuple[str, ...]
    variants: int
    stage1: int
    stage2: int
    test: int


USUAL = Size((*SIX, PROFILE), variants=4, stage1=80, stage2=900, test=150)
QUICK = Size(("summary", "similarities", PROFILE), variants=2, stage1=60, stage2=240, test=40)
FULL = Size((), variants=4, stage1=100, stage2=3000, test=150)


def config_for(size: Size, seed: int = 0) -> TrainConfig:
    """Return the training settings of the demo."""
    return TrainConfig.load(
        None,
        {
            "adapter.width": 256,
            "adapter.soft_tokens": 4,
            "stage1.steps": size.stage1,
            "stage2.steps": size.stage2,
            "stage2.lr_llm": 1e-3,
            "stage2.patience": 8,
            "vector_noise": 0.3,
            "eval_every": 150,
            "eval_examples": 256,
            "save_every": 400,
            "seed": seed,
        },
    )


def film_suite(size: Size) -> Suite:
    """Return the tasks of the demo."""
    suite = Suite.join([load_suite("movies"), load_suite("users")])
    return suite.only(list(size.tasks)) if size.tasks else suite


def run_demo(
    out: str | Path,
    *,
    size: Size = USUAL,
    llm: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Evaluation, list[Sample]]:
    """Write texts, train on them, evaluate, and ask about points that training never saw.

    Args:
        out: folder that holds corpus, run and evaluation.
        size: how much to do.
        llm: base LLM; the demo's own when omitted.
        seed: of everything random.
        overwrite: replace the folder where it exists; should this fail, what stood there comes back.
        device: where to train.
        reporter: is told of the steps of training.
        progress: called with what is going on, done, total.

    Returns:
        The rows of the evaluation's metrics, and the samples.
    """
    data = demo_data()
    with new_folder(out, "demo.json", overwrite=overwrite) as place:
        write_json(place / "demo.json", {"world": "films", "size": asdict(size), "seed": seed, "llm": llm})
        spaces = {"film": VectorSpace.load(data / "films"), "user": VectorSpace.load(data / "users")}
        suite = film_suite(size)
        corpus = build_corpus(
            spaces,
            suite,
            FactsTeacher(suite, spaces),
            place / "corpus",
            variants=size.variants,
            seed=seed,
            progress=progress,
        )
        base = llm or str(data / "base-llm")
        train(corpus, base, place / "run", config_for(size, seed), device=device, reporter=reporter)
        elm, facts = ELM.from_pretrained(place / "run", device=device), Facts(corpus, seed, progress)
        rows = evaluate(elm, corpus, place / "evaluation", limit=size.test, seed=seed, facts=facts, progress=progress)
        samples = showcase(elm, facts, seed)
        write_json(place / "samples.json", [sample.to_dict() for sample in samples])
    return rows, samples

"""The demo on real vectors: films and viewers of MovieLens, from vectors to an evaluated model in minutes.

The data are in `demo-data/` of the repository and have their own licence; `demo-data/make.py` computed them from
ratings. The base LLM in this folder was trained on texts about training films and viewers, without vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vectalk.demo.data import demo_data
from vectalk.demo.showcase import Sample, showcase
from vectalk.demo.stored import StoredRun, find_stored, use_stored
from vectalk.evaluation import Evaluation, evaluate
from vectalk.evaluation.conditions import CONDITIONS
from vectalk.evaluation.probes.facts import Facts
from vectalk.files import new_folder, write_json
from vectalk.space import VectorSpace
from vectalk.talk import ELM
from vectalk.tasks import FactsTeacher, Suite, build_corpus, load_suite
from vectalk.training import TrainConfig, train
from vectalk.training.recipe import Recipe, choose_recipe
from vectalk.training.reporter import Reporter

log = logging.getLogger("vectalk")
SIX = ["summary", "movie_to_viewer", "positive_review", "negative_review", "similarities", "interpolation"]
PROFILE = "user_profile"


@dataclass(frozen=True)
class Size:
    """The size of the demo.

    Attributes:
        tasks: names of the tasks; all tasks of the suites if empty.
        variants: training examples of each task for each entity.
        stage1: training steps of the first stage.
        stage2: training steps of the second stage.
        test: most test examples of each task.
    """

    tasks: tuple[str, ...]
    variants: int
    stage1: int
    stage2: int
    test: int
    measured: tuple[str, ...] = ()  # tasks of the evaluation; all when empty


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


# With a pretrained LLM: its answers take a second each on two cores, so the evaluation asks about few test films.
PRETRAINED = replace(USUAL, test=16, measured=("summary", PROFILE))
BRIEF = ("elm", "shuffled", "majority", "copy_text", "probe_text", "own_text")
MINUTES = 10.0  # longest training with `--llm`
CHOICE_FROM = 20.0  # minutes from which choosing decoding settings is worth its time


def pretrained_config(minutes: float, recipe: Recipe, seed: int = 0) -> TrainConfig:
    """Return the training settings of the demo for a pretrained LLM; adapter and update fit into 12 MB of float16.

    Args:
        minutes: longest time of the whole training.
        recipe: the recipe of the LLM.
        seed: seed of all random choices.
    """
    return TrainConfig.load(
        None,
        {
            "adapter.width": 256,
            "lora.rank": 8,
            "lora.alpha": 16,
            "minutes": minutes,
            "eval_examples": 96,
            "choose_decoding": minutes >= CHOICE_FROM,
            "save_every": 50,
            "seed": seed,
        },
        recipe,
    )


def film_suite(size: Size) -> Suite:
    """Return the suite of the demo."""
    suite = Suite.join([load_suite("movies"), load_suite("users")])
    return suite.only(list(size.tasks)) if size.tasks else suite


def run_demo(
    out: str | Path,
    *,
    size: Size = USUAL,
    llm: str | None = None,
    minutes: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Evaluation, list[Sample]]:
    """Build a corpus, train a model, evaluate it, and ask it about held-out points.

    Args:
        out: folder of the corpus, the run and the evaluation.
        size: size of the demo.
        llm: base LLM; the small LLM of the demo data when omitted. With a pretrained LLM, the demo uses the adapter
            stored for it, if there is one and `minutes` is omitted.
        minutes: longest time of training, in minutes; 10 with `llm` when omitted, else no limit.
        seed: seed of all random choices.
        overwrite: replace the folder if it exists. If the demo fails, the old folder is restored.
        device: device for training and answers.
        reporter: receives the steps of training.
        progress: called with a label of the current step, the number of finished items, and the total.

    Returns:
        The rows of the evaluation's metrics, and the samples.
    """
    data = demo_data()
    with new_folder(out, "demo.json", overwrite=overwrite) as place:
        recipe = None if llm is None else choose_recipe(llm)
        if recipe is not None and recipe.name == "pretrained" and size is USUAL:
            size = PRETRAINED
        card = {"world": "films", "size": asdict(size), "seed": seed, "llm": llm, "minutes": minutes}
        write_json(place / "demo.json", card)
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
        stored = find_stored(llm, data) if llm is not None and minutes is None and size is PRETRAINED else None
        if stored is not None and llm is not None:
            _report_stored(stored)
            use_stored(stored.run, place / "run", llm, corpus.path)
        else:
            config = _config(size, recipe, minutes, seed)
            if config.minutes is not None:
                why = f"{data} has no adapter for the LLM {llm}; " if minutes is None and size is PRETRAINED else ""
                log.info(f"{why}training one, for at most {config.minutes:g} minutes (--minutes)")
            base = llm or str(data / "base-llm")
            train(corpus, base, place / "run", config, device=device, reporter=reporter)
        elm, facts = ELM.from_pretrained(place / "run", device=device), Facts(corpus, seed, progress)
        rows = evaluate(
            elm,
            corpus,
            place / "evaluation",
            tasks=size.measured or None,
            limit=size.test,
            seed=seed,
            facts=facts,
            conditions=BRIEF if size.measured else CONDITIONS,
            progress=progress,
        )
        samples = showcase(elm, facts, seed)
        write_json(place / "samples.json", [sample.to_dict() for sample in samples])
    return rows, samples


def _config(size: Size, recipe: Recipe | None, minutes: float | None, seed: int) -> TrainConfig:
    """Return the training settings for a size, the recipe of an LLM of the user, and a time."""
    longest = MINUTES if minutes is None and recipe is not None else minutes
    if recipe is not None and recipe.name == "pretrained" and longest is not None:
        return pretrained_config(longest, recipe, seed)
    return config_for(size, seed).model_copy(update={"minutes": longest})


def _report_stored(stored: StoredRun) -> None:
    """Log which stored adapter is used."""
    log.info(f"using the adapter stored in {stored.run.path}, so nothing is trained; --minutes trains a new one")
    if not stored.exact:
        log.warning(
            f"the weights of this LLM differ a little from those that the adapter was trained with "
            f"({stored.run.card.llm.name}, perhaps rounded); the evaluation shows how well the adapter works with them"
        )

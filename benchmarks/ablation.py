"""What the choices of training are worth, on film vectors that others made (the foreign space of `movielens.py`).

    python benchmarks/ablation.py [--data DATA] [--seeds 3] [--cells base "S 1" ...] [--minutes 30] [--quick]

Each cell changes one choice of the same short training (200 steps of stage 1, 800 of stage 2, task `summary`) and is
judged on validation films alone: recovery of genres and decade (0 a guess of the majority, 1 a direct probe), vector
gain, validation loss. Differences to the base cell are paired, film by film. Intervals are 95 % bootstraps over films
of the mean over seeds: they hold the choice of films and not that of seeds.

Cells are kept under `runs/ablation` and are not made again; with `--minutes` no new one is begun after that time, and
table and plot are of what is there. An interrupted training goes on. `--quick` makes small cells, to try it out.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from common import RESULTS, ROOT, data_folder, parser, print_table, write_result
from forest import forest
from movielens import Steps, make_spaces
from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, average, corrected, difference, estimate, joined
from vectalk.evaluation.metrics.rows import attribute_score
from vectalk.evaluation.probes.facts import Facts
from vectalk.files import read_json, read_jsonl, write_json, write_text
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.talk import ELM
from vectalk.tasks import Corpus, Example
from vectalk.training import TrainConfig
from vectalk.training.trainer import train

WORK = ROOT / "runs" / "ablation"
TASK, SPACE, ATTRIBUTES = "summary", "film", ("genres", "decade")
BASE: dict[str, Any] = {
    "stage1.steps": 200,
    "stage1.lr_adapter": 6e-3,
    "stage2.steps": 800,
    "stage2.lr_adapter": 3e-3,
    "stage2.lr_llm": 1e-3,
    "stage2.patience": 8,
    "vector_noise": 0.3,
    "eval_every": 100,
    "save_every": 200,
}
QUICK = {"stage1.steps": 30, "stage2.steps": 120, "eval_every": 50, "eval_examples": 128}


@dataclass(frozen=True)
class Cell:
    """One choice: its name, what it is a choice of, the settings that it changes, and how many films it learns from."""

    name: str
    axis: str
    settings: dict[str, Any] = field(default_factory=dict)
    films: int | None = None


def cells(steps: int) -> list[Cell]:
    """Return all cells, the base first; `steps` are those of both stages."""
    third, rates, floors = 1 / 3, ("stage1.lr_adapter", "stage2.lr_adapter"), ("stage1.floor", "stage2.floor")
    one_stage = {"stage1.steps": 0, "stage2.steps": steps}
    return [
        Cell("base", "S 4, MLP, two stages, noise 0.3"),
        *(Cell(f"S {n}", "soft tokens", {"adapter.soft_tokens": n}) for n in (1, 2, 8, 16)),
        *(Cell(kind, "adapter", {"adapter.kind": kind}) for kind in ("linear", "residual")),
        Cell("stage 1 only", "stages", {"stage1.steps": steps, "stage2.steps": 0}),
        Cell("one stage only", "stages", one_stage),
        *(Cell(f"{n} films", "training films", films=n) for n in (500, 1000, 2000)),
        *(
            Cell(f"adapter's rate x {times:.2g}", "rates", {name: times * BASE[name] for name in rates})
            for times in (third, 3.0)
        ),
        *(
            Cell(f"LLM's rate x {times:.2g}", "rates", {"stage2.lr_llm": times * BASE["stage2.lr_llm"]})
            for times in (third, 3.0)
        ),
        Cell("rates fall to a tenth", "rates", dict.fromkeys(floors, 0.1)),
        *(Cell(f"noise {size}", "noise on vectors", {"vector_noise": size}) for size in (0.0, 0.1, 0.5, 0.8)),
    ]


class Ablation:
    """Makes cells and judges them."""

    def __init__(self, data: Path, quick: bool) -> None:
        self.work, steps = WORK / ("quick" if quick else "whole"), Steps(data, fresh=False)
        self.settings = {**BASE, **(QUICK if quick else {})}
        self.cells = cells(self.settings["stage1.steps"] + self.settings["stage2.steps"])
        space = make_spaces(steps, data, WORK, "foreign")[SPACE]
        suite = ["--suite", "movies", "--teacher", "facts", "--task", TASK]
        steps.vectalk(WORK / "corpus", "corpus", "build", "--space", f"{SPACE}={space}", *suite)
        self.llm, shape = self.work / "llm", ["--hidden", "128", "--layers", "3"]
        steps.vectalk(self.llm, "base-llm", str(WORK / "corpus"), *shape, "--steps", "100" if quick else "800")
        self.commands, self.corpus = steps.commands, Corpus.load(WORK / "corpus")
        self.examples = list(self.corpus.examples(VALIDATION, TASK))[: 60 if quick else None]

    def made(self, cell: Cell, seed: int) -> Path:
        """Return where the result of a cell is or will be."""
        return self.work / f"{cell.name.replace(' ', '-')}-{seed}" / "cell.json"

    def make(self, cell: Cell, seed: int) -> None:
        """Train a cell and keep what its model says of validation films."""
        folder = self.made(cell, seed).parent
        corpus = self.corpus if cell.films is None else some_films(self.corpus, cell.films)
        config = TrainConfig.load(None, {**self.settings, **cell.settings, "seed": seed})
        begun, given = folder / "run", (corpus, str(self.llm), folder / "run", config)
        clock = time.process_time()
        if not (begun / "elm.json").is_file():
            train(*given, device="cpu", resume=(begun / "checkpoints" / "identity.json").is_file())
        log = read_jsonl(begun / "training.jsonl")
        best = min((row for row in log if "validation_loss" in row), key=lambda row: row["validation_loss"])
        readers, elm = Facts(self.corpus, 0).teacher.readers[SPACE], ELM.from_pretrained(begun, device="cpu")
        texts = elm.generate([e.prompt for e in self.examples], [slots_of(e, elm) for e in self.examples])
        write_json(
            folder / "cell.json",
            {
                "settings": {**self.settings, **cell.settings, "films": cell.films},
                "validation_loss": best["validation_loss"],
                "vector_gain": best["vector_gain"],
                "processor_seconds": time.process_time() - clock,
                "said": {name: [readers[name].read(text) for text in texts] for name in ATTRIBUTES},
            },
        )
        shutil.rmtree(begun)

    def bounds(self) -> dict[str, dict[str, Any]]:
        """Return what majority and probe say of the validation films, and what is true; made once."""
        path = self.work / "probe.json"
        if not path.is_file():
            facts, found = Facts(self.corpus, 0), {}
            rows = np.array([example.slots[SPACE][1] for example in self.examples])
            for name in ATTRIBUTES:
                found[name] = {
                    "true": [facts.reader(SPACE, name).value(int(row)) for row in rows],
                    "probe": facts.predict("probe_text", SPACE, name, rows),
                    "majority": facts.majority(SPACE, name),
                    "kind": facts.reader(SPACE, name).kind,
                }
            write_json(path, found)
        return read_json(path)

    def recovery(self, cell: Cell, seeds: list[int], attribute: str) -> Statistic:
        """Return a cell's recovery of an attribute, the mean over seeds."""
        known, n = self.bounds()[attribute], len(self.examples)

        def score(said: list[Any]) -> Statistic:
            return attribute_score(known["kind"], said, known["true"], known["majority"])

        own = [score(read_json(self.made(cell, seed))["said"][attribute]) for seed in seeds]
        return joined(corrected, joined(average, *own), score([known["majority"]] * n), score(known["probe"]))


def slots_of(example: Example, elm: ELM) -> dict[str, tuple[str, np.ndarray]]:
    """Return the vectors of an example's slots."""
    return {slot: (space, elm.spaces[space].vectors[row]) for slot, (space, row) in example.slots.items()}


def some_films(corpus: Corpus, count: int) -> Corpus:
    """Return a corpus with the examples of some training films only; validation and test stay as they are."""
    folder = corpus.path.with_name(f"corpus-{count}")
    if not (folder / "corpus.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(corpus.path, folder, ignore=shutil.ignore_patterns("corpus.json", ".tokens", f"{TRAIN}-*"))
        table = corpus.table(TRAIN)
        rows = np.array([slots[0]["row"] for slots in table["slots"].to_pylist()])
        chosen = np.random.default_rng(0).permutation(np.unique(rows))[:count]
        table = table.filter(np.isin(rows, chosen))
        pq.write_table(table, folder / f"{TRAIN}-00000.parquet")
        counts = {**corpus.card["counts"], TRAIN: len(table)}
        write_json(folder / "corpus.json", {**corpus.card, "counts": counts, "films": count})
    return Corpus.load(folder)


def shown(found: Estimate) -> str:
    """Write a figure with its interval."""
    if found.value is None or found.low is None or found.high is None:
        return "-" if found.value is None else f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def main() -> None:
    """Make the cells that are missing, and write table and plot of those that are there."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--cells", nargs="+", help="names of cells; all by default")
    arguments.add_argument("--minutes", type=float, default=float("inf"), help="begin no new cell after that time")
    arguments.add_argument("--quick", action="store_true", help="small cells, to try it out")
    given = arguments.parse_args()
    started, ablation = time.monotonic(), Ablation(data_folder(given.data), given.quick)
    names = [cell.name for cell in ablation.cells]
    unknown = set(given.cells or ()) - set(names)
    if unknown:
        sys.exit(f"no cell is called {sorted(unknown)[0]!r}; there are {', '.join(names)}")
    for seed in range(given.seeds):
        for cell in ablation.cells:
            wanted = given.cells is None or cell.name in given.cells
            late = time.monotonic() - started > 60 * given.minutes
            if wanted and not late and not ablation.made(cell, seed).is_file():
                print(f"{cell.name}, seed {seed}", file=sys.stderr, flush=True)
                ablation.make(cell, seed)
    report(ablation, given.quick)


def report(ablation: Ablation, quick: bool) -> None:
    """Write table and plot of the cells that are there."""
    base, n, figures, rows, groups = ablation.cells[0], len(ablation.examples), {}, [], []
    there = {cell.name: [s for s in range(100) if ablation.made(cell, s).is_file()] for cell in ablation.cells}
    if not there[base.name]:
        sys.exit("the base cell has not been made: without it there is nothing to compare with")
    for cell in ablation.cells:
        if not there[cell.name]:
            continue
        results = [read_json(ablation.made(cell, seed)) for seed in there[cell.name]]
        cards = {k: float(np.mean([r[k] for r in results])) for k in ("validation_loss", "vector_gain")}
        minutes = float(np.mean([r["processor_seconds"] for r in results])) / 60
        estimates, gaps = {}, {}
        for name in ATTRIBUTES:
            own, common = ablation.recovery(cell, there[cell.name], name), there[base.name]
            estimates[name] = estimate(n, [own])
            gaps[name] = estimate(n, [own, ablation.recovery(base, common, name)], difference)
        row = [cell.axis, cell.name, len(results), cards["validation_loss"], cards["vector_gain"]]
        for name in ATTRIBUTES:
            row += [shown(estimates[name]), shown(gaps[name]) if cell is not base else ""]
        rows.append([*row, minutes])
        groups.append((cell.axis, cell.name, estimates))
        key = "ablation_" + cell.name.replace(" ", "_").replace("'", "").replace(".", "_")
        figures |= {f"{key}_recovery_{name}": found.value for name, found in estimates.items()}
        figures |= {f"{key}_{name}": value for name, value in cards.items()}
    header = ["choice of", "cell", "seeds", "loss", "gain"]
    for name in ATTRIBUTES:
        header += [f"recovery of {name}", "to the base"]
    header.append("processor min")
    print_table(rows, header)
    if quick:
        return
    write_text(RESULTS / "ablation.svg", forest(groups, ATTRIBUTES))
    path = write_result(
        "ablation",
        "python benchmarks/ablation.py --data DATA",
        figures,
        films=n,
        settings=ablation.settings,
        steps=[*ablation.commands, "python benchmarks/ablation.py --data DATA"],
        columns=header,
        rows=rows,
        plot="ablation.svg",
        listed=[],
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()

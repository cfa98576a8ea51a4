"""Make the stored adapter of the demo for a pretrained LLM: `demo-data/smollm2`.

    python demo-data/make_smollm2.py FOLDER [--minutes 40]

FOLDER holds the LLM, SmolLM2-135M-Instruct. Builds the demo's corpus, trains adapters and a low-rank update for at most
`--minutes`, writes them in float16 beside this file (at most 12 MB), and checks that the stored weights give nearly the
same probabilities. At the end it evaluates what was stored. Finished steps are not done again, and an interrupted
training is resumed. The work is in `runs/smollm2`. The licence of the result is that of the demo's data: see LICENSE.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from vectalk.demo.films import PRETRAINED, pretrained_config
from vectalk.demo.stored import store, use_stored
from vectalk.files import write_text
from vectalk.model import ElmModel
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from vectalk.training.data import Examples
from vectalk.training.recipe import choose_recipe
from vectalk.training.tokens import Tokens

HERE = Path(__file__).parent
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
NAMES = "names.json"  # weights of the names in a task
LARGEST_MB = 12.0
EXAMPLES, LARGEST_KL = 32, 0.01  # validation examples that are compared; largest mean KL of the next tokens, in nats


def main() -> None:
    """Train, store, check and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("llm", type=Path, help="folder of the LLM")
    parser.add_argument("--minutes", type=float, default=40.0, help="longest training, in minutes")
    parser.add_argument("--name", default=NAME, help="name of the LLM, for the card")
    parser.add_argument("--data", type=Path, default=HERE, help="folder of the demo's spaces")
    parser.add_argument("--out", type=Path, default=HERE / "smollm2", help="folder of the stored adapter")
    parser.add_argument("--work", type=Path, default=HERE.parent / "runs" / "smollm2", help="folder of the work")
    parser.add_argument("--limit", type=int, default=64, help="test examples of each task in the evaluation")
    options = parser.parse_args()
    work, llm = options.work, str(options.llm)
    corpus, run, settings = work / "corpus", work / "run", work / "train.yaml"
    if not corpus.is_dir():
        spaces = [f"film={options.data / 'films'}", f"user={options.data / 'users'}"]
        suites = [word for name in ("movies", "users") for word in ("--suite", name)]
        tasks = [word for name in PRETRAINED.tasks for word in ("--task", name)]
        bound = [word for space in spaces for word in ("--space", space)]
        vectalk(
            "corpus", "build", *bound, *suites, *tasks, "--variants", str(PRETRAINED.variants), "--out", str(corpus)
        )
    if not (run / "elm.json").is_file():
        resume = ["--resume"] if (run / "checkpoints").is_dir() else []
        if not settings.is_file():
            write_text(settings, pretrained_config(options.minutes, choose_recipe(llm)).dump())
        vectalk("train", str(corpus), "--llm", llm, "--config", str(settings), "--out", str(run), *resume)
    stored = Run.load(store(Run.load(run), options.out, options.name, llm))
    size = sum(file.stat().st_size for file in stored.path.rglob("*") if file.is_file()) / 1e6
    loaded = work / "loaded"
    if not loaded.is_dir():
        use_stored(stored, loaded, llm, corpus)
    distance = mean_kl(Run.load(run), Run.load(loaded), Corpus.load(corpus))
    print(
        f"{stored.path}: {size:.1f} MB; KL of the next tokens, before and after storing: {distance:.2g} nats",
        flush=True,
    )
    if size > LARGEST_MB:
        sys.exit(f"{stored.path} has {size:.1f} MB, but at most {LARGEST_MB:g} are allowed: lower lora.rank or width")
    if not distance <= LARGEST_KL:
        sys.exit(f"the stored weights give other probabilities (KL {distance:.2g}, at most {LARGEST_KL:g})")
    tasks = [word for name in PRETRAINED.measured for word in ("--task", name)]
    evaluation = work / "evaluation"
    if not (evaluation / "metrics.jsonl").is_file():
        vectalk("evaluate", str(loaded), *tasks, "--limit", str(options.limit), "--out", str(evaluation))
    if (loaded / NAMES).is_file():  # chosen on validation entities by the evaluation; the demo need not choose again
        shutil.copy2(loaded / NAMES, stored.path / NAMES)


def vectalk(*words: str) -> None:
    """Run a verb of the command line."""
    print("$ vectalk " + " ".join(words), flush=True)
    subprocess.run([sys.executable, "-m", "vectalk.cli.main", *words], check=True)


@torch.inference_mode()
def mean_kl(first: Run, second: Run, corpus: Corpus) -> float:
    """Return the mean KL divergence of the next tokens of two runs on validation examples, in nats."""
    predictions = []
    for run in (first, second):
        model, prompts = run.model("cpu")
        model.eval()
        tokens = Tokens.of_corpus(corpus, "validation", prompts)
        examples = Examples(tokens, corpus.spaces, prompts, model.language.context)
        predictions.append(log_probabilities(model, examples, min(EXAMPLES, len(examples))))
    return float((predictions[0].exp() * (predictions[0] - predictions[1])).sum(1).mean())


def log_probabilities(model: ElmModel, examples: Examples, count: int) -> torch.Tensor:
    """Return log probabilities [N, V] at the target positions of the first examples."""
    rows = [model.supervised_logits(examples.batch(np.array([n]))).float().log_softmax(1) for n in range(count)]
    return torch.cat(rows)


if __name__ == "__main__":
    main()

"""`vectalk base-llm`: a small LLM of one's own, where no pretrained one can be had."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, emit, progress

app = typer.Typer(add_completion=False)


@app.command()
def base_llm(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus whose training texts the LLM learns.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    hidden: Annotated[int, typer.Option("--hidden", min=32, help="Width of the LLM, a multiple of 32.")] = 192,
    layers: Annotated[int, typer.Option("--layers", min=1, help="Number of layers.")] = 4,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=260, help="Tokens of the tokenizer.")] = 2048,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimiser steps.")] = 1500,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts in each step.")] = 64,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a small base LLM on the texts of a corpus, without the vectors. It knows nothing but these texts."""
    from vectalk.files import read_json
    from vectalk.tasks import Corpus
    from vectalk.training.base_llm import make_base_llm

    with progress(quiet) as bar:
        job = bar.add_task("base LLM", total=steps, note="")
        folder = make_base_llm(
            Corpus.load(corpus),
            out,
            hidden=hidden,
            layers=layers,
            vocabulary=vocabulary,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            overwrite=overwrite,
            progress=lambda done, _, note: bar.update(job, completed=done, note=note),
        )
    card = read_json(folder / "made.json")
    summary = (
        f"{folder}: {card['parameters'] / 1e6:.2f} million parameters, trained on {card['texts']:,} texts; "
        f"validation loss {card['validation_loss']}"
    )
    emit({"out": str(folder), **card}, summary, as_json)

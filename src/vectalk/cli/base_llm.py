"""`vectalk base-llm`."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, emit, note, progress

app = typer.Typer(add_completion=False)


@app.command()
def base_llm(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make: a Hugging Face model with its tokenizer.")],
    hidden: Annotated[int, typer.Option("--hidden", min=32, help="Width, a multiple of 32.")] = 192,
    layers: Annotated[int, typer.Option("--layers", min=1, help="Depth.")] = 4,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=258, help="Tokens of the tokenizer.")] = 2048,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimiser steps.")] = 1500,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts a step.")] = 64,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a tiny LLM from nothing on the texts of a corpus's training entities, without their vectors.

    It stands in for a pretrained LLM where none can be had, and knows nothing but these texts.
    """
    from vectalk.files import check_free, read_json
    from vectalk.tasks import Corpus
    from vectalk.training.base_llm import make_base_llm

    check_free(out, "made.json", overwrite=overwrite)  # before the work rather than after it
    opened = Corpus.load(corpus)
    with progress(quiet) as bar:
        job = bar.add_task("base LLM", total=steps, note="")
        folder = make_base_llm(
            opened,
            out,
            hidden=hidden,
            layers=layers,
            vocabulary=vocabulary,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            overwrite=overwrite,
            progress=lambda done, total, doing: bar.update(job, completed=done, total=total, note=doing),
        )
    card = read_json(folder / "made.json")
    note(f"base LLM written to {folder}; train on it with `vectalk train {corpus} --llm {folder} ...`", quiet)
    shown = f"{card['parameters']:,} parameters, {card['texts']:,} texts, validation loss {card['validation_loss']:.4f}"
    emit(card, shown, as_json)

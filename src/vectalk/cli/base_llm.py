"""`vectalk base-llm`."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, emit, note, progress

app = typer.Typer(add_completion=False)


@app.command()
def base_llm(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write: a Hugging Face model with its tokenizer.")],
    hidden: Annotated[int, typer.Option("--hidden", min=32, help="Hidden size, a multiple of 32.")] = 192,
    layers: Annotated[int, typer.Option("--layers", min=1, help="Number of layers.")] = 4,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=258, help="Size of the vocabulary, in tokens.")] = 2048,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Number of optimiser steps.")] = 1500,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Number of texts in each step.")] = 64,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a tiny LLM from scratch on the training texts of a corpus, without vectors.

    Use it as the base LLM if you have no pretrained LLM. It knows only these texts.
    """
    from vectalk.files import check_free, read_json
    from vectalk.tasks import Corpus
    from vectalk.training.base_llm import make_base_llm

    check_free(out, "made.json", overwrite=overwrite)  # fail before the training, not after it
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
    summary = (
        f"{card['parameters']:,} parameters, {card['texts']:,} texts, validation loss {card['validation_loss']:.4f}"
    )
    emit(card, summary, as_json)

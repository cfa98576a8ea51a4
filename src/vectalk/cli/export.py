"""`vectalk export`."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Device, Json, MovedLlm, Overwrite, Quiet, RunPlace, emit, note

app = typer.Typer(add_completion=False)


@app.command()
def export(
    run: RunPlace,
    merged: Annotated[
        Path,
        typer.Option(
            "--merged", help="Folder to write: the LLM as a usual Hugging Face model, with the adapters in `adapters/`."
        ),
    ],
    llm: MovedLlm = None,
    overwrite: Overwrite = False,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as a plain LLM folder for servers: LoRA merged, with chat template, tokenizer and adapters."""
    from vectalk.model.export import export_merged
    from vectalk.model.run import Run

    report = export_merged(Run.load(run), merged, llm=llm, device=device, overwrite=overwrite)
    if not report["ids_equal"]:
        note(
            f"WARNING: the chat template gives other token ids than training, first for {report['question']!r}: "
            f"{report['rendered']} instead of {report['ours']}. Send the server embeddings made by vectalk, not text.",
            quiet,
        )
    ids = "the same token ids as in training" if report["ids_equal"] else "other token ids than in training (see above)"
    emit(report, f"{merged}: LLM, tokenizer, {len(report['soft_tokens'])} space(s); a server gets {ids}", as_json)

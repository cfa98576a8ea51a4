"""`vectalk export`."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Device, Json, MovedLlm, Overwrite, Quiet, RunPlace, emit, note

app = typer.Typer(add_completion=False)


@app.command()
def export(
    run: RunPlace,
    merged: Annotated[Path, typer.Option("--merged", help="Folder to write: a plain LLM with the adapters inside.")],
    llm: MovedLlm = None,
    overwrite: Overwrite = False,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as a plain LLM folder: LoRA merged, chat template included, adapters inside."""
    from vectalk.model.export import export_merged
    from vectalk.model.run import Run

    report = export_merged(Run.load(run), merged, llm=llm, device=device, overwrite=overwrite)
    if not report["ids_equal"]:
        note(
            f"WARNING: the chat template renders other ids than training did, first for {report['question']!r}: "
            f"{report['rendered']} instead of {report['ours']}. Send embeddings made by vectalk rather than text.",
            quiet,
        )
    same = "a server renders the same ids" if report["ids_equal"] else "a server renders other ids (see the warning)"
    emit(report, f"{merged}: LLM, tokenizer, {len(report['soft_tokens'])} space(s); {same}", as_json)

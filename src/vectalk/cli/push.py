"""`vectalk push`."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Json, Quiet, emit

app = typer.Typer(add_completion=False)


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    repository: Annotated[str, typer.Argument(help="Repository on the Hugging Face hub: owner/name.")],
    public: Annotated[
        bool, typer.Option("--public", help="If the repository is new, make it public, not private.")
    ] = False,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Upload the spaces too, with vectors, titles and metadata.")
    ] = False,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", help="Folder of an evaluation whose figures the model card shows.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Upload a run with a model card. Then `vectalk ask hf://owner/name ...` works on any machine."""
    from vectalk.model.hub import push as upload
    from vectalk.model.run import Run

    address = upload(Run.load(run), repository, private=not public, spaces=bundle, evaluation=evaluation)
    emit({"run": str(run), "url": address}, address, as_json)

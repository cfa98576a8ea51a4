"""`vectalk space layout`, and the progress of a layout for other verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vectalk.cli.common import Json, Quiet, Seed, emit, progress

if TYPE_CHECKING:
    from vectalk.space import VectorSpace
    from vectalk.space.layout import Layout


def layout(
    folder: Annotated[Path, typer.Argument(help="Folder of a space.")],
    method: Annotated[
        str, typer.Option("--method", help="`umap`, `tsne`, `pca`, or `auto`: umap where it is installed, else tsne.")
    ] = "auto",
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Compute again where a layout exists.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute where each entity of a space lies on a map. A layout that fits the space is kept."""
    from vectalk.errors import SpaceError
    from vectalk.space import VectorSpace
    from vectalk.space.layout import Layout

    space = VectorSpace.load(folder)
    stored: Layout | None = None
    if not overwrite:
        try:
            stored = Layout.load(space)
        except SpaceError:
            stored = None
    current = stored or computed(space, method, seed, quiet)
    if stored is None:
        current.save()
    document = {
        "folder": str(folder),
        "computed": stored is None,
        "method": current.method,
        "seed": current.seed,
        "fitted": current.fitted,
        "placed": len(space) - current.fitted,
        "accuracy": None if current.accuracy is None else current.accuracy.model_dump(),
    }
    state = "computed" if stored is None else "already there; --overwrite computes it again"
    summary = (
        f"{folder}: layout {state}\n{current.method} on {current.fitted:,} training entities, "
        f"{len(space) - current.fitted:,} others placed by their neighbours"
    )
    if current.accuracy is not None:
        summary += (
            f"\nvector of an empty place: mean centred cosine {current.accuracy.place:.2f} with the entity that lies "
            f"there ({current.accuracy.count} held-out entities); a random entity: {current.accuracy.random:.2f}"
        )
    emit(document, summary, as_json)


def computed(space: VectorSpace, method: str, seed: int, quiet: bool) -> Layout:
    """Return the layout of a space, computed with a progress display."""
    from vectalk.space.layout import build_layout

    with progress(quiet) as bar:
        job = bar.add_task(f"layout of {space.name}", total=None, note="")
        return build_layout(
            space,
            method=method,
            seed=seed,
            progress=lambda step, done, total: bar.update(job, completed=done, total=total, note=step),
        )

"""A copy of a finished run in another folder, with or without its spaces."""

from __future__ import annotations

import shutil
from pathlib import Path

from vectalk.files import atomic_folder
from vectalk.model.run import Run, write_card
from vectalk.tasks.corpus.corpus import relative

STAGE1_CHECKPOINT = "best-stage1.safetensors"  # the evaluation's condition `stage1` needs this file


def copy_run(run: Run, out: str | Path, *, spaces: bool = False, overwrite: bool = False) -> Run:
    """Copy a finished run to another folder and return it.

    Args:
        run: the run.
        out: folder to create.
        spaces: copy the spaces into `out` too; otherwise the copy refers to the original spaces.
        overwrite: replace another run in `out`.

    Raises:
        RunError: a space is not the one that the run was trained on.
        VectalkError: `out` already exists and is not a run to overwrite.
    """
    place, card = Path(out), run.card.model_copy(deep=True)
    opened = run.spaces()
    with atomic_folder(place, "elm.json", overwrite=overwrite) as folder:
        shutil.copytree(run.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoints", "spaces"))
        first = run.path / "checkpoints" / STAGE1_CHECKPOINT
        if first.is_file():
            (folder / "checkpoints").mkdir()
            shutil.copy2(first, folder / "checkpoints" / first.name)
        for name, space in opened.items():
            if spaces and space.path is not None:
                shutil.copytree(space.path, folder / "spaces" / name)
                card.spaces[name].path = f"spaces/{name}"
            else:
                card.spaces[name].path = relative(space.path, place)
        card.corpus = relative(run.corpus_path, place)
        base = run.path / card.llm.name
        if card.llm.trained != "full" and not Path(card.llm.name).is_absolute() and base.is_dir():
            card.llm.name = str(base.resolve())
        write_card(folder, card)
    return Run.load(place)

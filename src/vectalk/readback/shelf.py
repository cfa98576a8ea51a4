"""The read-backs saved in a run, `RUN/readback/TASK-KEY`: usable even where the run's corpus is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from vectalk.errors import SpaceError, VectalkError
from vectalk.files import read_json
from vectalk.readback.encoder import KNOWN, is_shared
from vectalk.readback.readback import ReadBack
from vectalk.readback.text_space import encode_text, in_quotes, source_of
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import Function

FOLDER = "readback"


class SavedReadBack(NamedTuple):
    """One read-back of a run: its folder and the fields of its card."""

    folder: Path
    task: str
    encoder: str
    fingerprint: str
    about: str | None


def saved_readbacks(run: Path) -> list[SavedReadBack]:
    """Return the read-backs in a run's folder; incomplete ones are skipped."""
    readbacks = []
    for path in sorted((run / FOLDER).glob("[!.]*/readback.json")):
        task = path.parent.name.rpartition("-")[0]
        try:
            card = read_json(path)
            readbacks.append(SavedReadBack(path.parent, task, card["encoder"], card["fingerprint"], card["about"]))
        except (VectalkError, KeyError, TypeError):
            continue
    return readbacks


def shared(run: Path) -> list[Path]:
    """Return the folders of the read-backs that other people can use, because they have the text encoder too."""
    return [one.folder for one in saved_readbacks(run) if is_shared(one.encoder)]


def text_function(run: Path, trust_encoder: bool = False) -> Function:
    """Return the function `text("...")` of expressions in the spaces of a run.

    The encoder that made the space gives the vector of a text; otherwise a read-back saved in the run does.

    Args:
        run: the run's folder.
        trust_encoder: load the encoder that a space or a read-back names even if vectalk does not know it.
    """
    opened: dict[str, ReadBack] = {}

    def text_point(space: VectorSpace, text: Any) -> Point:
        words = in_quotes(text)
        if space.encoder is not None:
            return encode_text(space, text, trust_encoder=trust_encoder)
        if space.fingerprint not in opened:
            opened[space.fingerprint] = _reader(run, space, trust_encoder)
        return Point(opened[space.fingerprint]([words])[0], space, source_of(words))

    return text_point


def _reader(run: Path, space: VectorSpace, trust_encoder: bool) -> ReadBack:
    """Open the read-back of a space."""
    return ReadBack.load(saved_for(run, space).folder, space, trust_encoder)


def saved_for(run: Path, space: VectorSpace) -> SavedReadBack:
    """Return the read-back fitted on texts about entities of the space; one with a known encoder is preferred.

    Raises:
        SpaceError: the run has no such read-back.
    """
    fitting = [
        one
        for one in saved_readbacks(run)
        if one.fingerprint == space.fingerprint and one.encoder != "tfidf" and (one.about or "it").isidentifier()
    ]
    if not fitting:
        raise SpaceError(
            f"a text has no place in space {space.name!r}: no text encoder made it, and run {run} keeps no read-back "
            "of it by a sentence encoder. Where the corpus of the run is, ask about one vector with --candidates 2 "
            "--encoder minilm, which fits a read-back and keeps it in the run; `vectalk push` then uploads it too"
        )
    return min(fitting, key=lambda one: one.encoder not in KNOWN)

"""The options of names: whether answers may name what does not exist."""

from typing import TYPE_CHECKING, Annotated

import typer

from vectalk.cli.common import err

if TYPE_CHECKING:
    from vectalk.talk.mentions import Mention

Names = Annotated[
    str,
    typer.Option(
        "--names",
        help="force: in tasks that name entities, only titles that exist can be written. link: anything can be "
        "written, and unknown names are reported. off: names are not looked at.",
    ),
]
NamesWeight = Annotated[
    float | None,
    typer.Option(
        "--names-weight",
        help="Weight of the similarity to the vector when a name is chosen (with --names force); 0 is the LLM alone. "
        "Default: the weight of the run.",
    ),
]


def show_mentions(mentions: "tuple[Mention, ...]") -> None:
    """Tell people which names of an answer do not exist, and which were replaced."""
    unknown = [mention.name for mention in mentions if not mention.exists]
    if unknown:
        err.print(f"\n(names that are in no space: {'; '.join(unknown)})", markup=False, soft_wrap=True)
    replaced = [f"{mention.written} -> {mention.name}" for mention in mentions if mention.written is not None]
    if replaced:
        err.print(f"\n(names that do not exist were replaced: {'; '.join(replaced)})", markup=False, soft_wrap=True)

"""Options that say how a file of ratings is read."""

from typing import Annotated

import typer

UserColumn = Annotated[
    str | None, typer.Option("--user-column", help="Column of the users; without a header columns are called 1, 2, ...")
]
ItemColumn = Annotated[str | None, typer.Option("--item-column", help="Column of the items.")]
RatingColumn = Annotated[
    str | None,
    typer.Option("--rating-column", help="Column of the ratings; `none`: each line counts as 1 (implicit feedback)."),
]
Separator = Annotated[
    str | None,
    typer.Option("--separator", help="Sign between the columns of RATINGS, e.g. '::'; told by looking when omitted."),
]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether RATINGS begins with names; told by looking when omitted."),
]
Unrated = Annotated[
    list[str],
    typer.Option("--null", help="What stands for unknown in ITEMS, and in RATINGS for 'not rated': left out. E.g. -1."),
]
Valid = Annotated[
    list[float], typer.Option("--valid", help="A value that looks like 'not rated' and is a rating all the same.")
]
Repeated = Annotated[
    str | None,
    typer.Option(
        "--repeated",
        help="A user and an item that meet more than once: sum, last, mean or refuse. When omitted, clicks and plays "
        "are added up under implicit feedback, and ratings are refused.",
    ),
]

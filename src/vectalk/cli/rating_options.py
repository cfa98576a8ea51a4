"""Options for reading a file of ratings."""

from typing import Annotated

import typer

UserColumn = Annotated[
    str | None,
    typer.Option("--user-column", help="Column of the users. Without a header, columns are called 1, 2, ..."),
]
ItemColumn = Annotated[str | None, typer.Option("--item-column", help="Column of the items.")]
RatingColumn = Annotated[
    str | None,
    typer.Option(
        "--rating-column", help="Column of the ratings, or `none`: each line then counts as 1 (implicit feedback)."
    ),
]
Separator = Annotated[
    str | None,
    typer.Option("--separator", help="Separator between the columns of RATINGS, e.g. '::'. Recognised when omitted."),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether the first line of RATINGS has column names. Recognised when omitted."
    ),
]
Unrated = Annotated[
    list[str],
    typer.Option(
        "--null",
        help="Value that means 'unknown' in ITEMS and 'not rated' in RATINGS, e.g. -1; such lines of RATINGS are left "
        "out. May be repeated.",
    ),
]
Valid = Annotated[
    list[float],
    typer.Option("--valid", help="Value that is a rating although it looks like 'not rated'; may be repeated."),
]
Repeated = Annotated[
    str | None,
    typer.Option(
        "--repeated",
        help="What to do if a user has several ratings of an item: sum, last, mean or refuse. Default: sum for clicks "
        "and plays under implicit feedback, else refuse.",
    ),
]

"""Find the columns of the user, the item, the rating and the time in a table of ratings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vectalk.errors import SpaceError
from vectalk.space.factorization.delimited import is_date, is_number

USER, ITEM, RATING, TIME = ROLES = ("user", "item", "rating", "timestamp")
NONE = "none"  # the name of the rating column if there is none; each line then counts as 1
# Usual names, in lower case and without punctuation. The first pattern that matches a column is used.
COUNTS = "weights?|plays?|playcount|counts?|listens?|listencount|clicks?|clickcount|views?|viewcount|quantity|purchases"
USUAL = {
    USER: ("user|userid|uid", "(customer|reviewer|member|viewer|listener|visitor)(id)?"),
    ITEM: ("item|itemid|iid", "(movie|film|book|product|track|song|artist|anime|game|business|article)(id)?|isbn|asin"),
    RATING: ("ratings?|score|stars|overall|(book|user)rating", COUNTS, "votes?|liked?|likes|preference|feedback"),
    TIME: ("timestamp|time|ts|date|datetime|unixreviewtime|(rated|created)at",),
}
_EXAMPLES = {USER: "user, userId, user_id", ITEM: "item, movieId, item_id", RATING: "rating, score, stars"}
_EPOCH = 100_000_000  # seconds, in 1973; counts and ratings are rarely so large


@dataclass(frozen=True)
class RatingColumns:
    """The positions of the columns; `rating` and `time` are None if there are none.

    Attributes:
        user: position of the user.
        item: position of the item.
        rating: position of the rating.
        time: position of the time.
        counts: whether the ratings are counts, such as plays, so that those of a repeated pair are added.
    """

    user: int
    item: int
    rating: int | None
    time: int | None
    counts: bool

    def places(self) -> dict[str, int]:
        """Return the position of each existing column, by its role."""
        places = zip(ROLES, (self.user, self.item, self.rating, self.time), strict=True)
        return {role: place for role, place in places if place is not None}


def is_usual(name: str) -> bool:
    """Return whether a name is one of those that columns of ratings usually have."""
    return any(_is(name, pattern) for patterns in USUAL.values() for pattern in patterns)


def take(
    names: Sequence[str],
    sample: Sequence[Sequence[str]],
    requested: dict[str, str | None],
    where: str,
    *,
    named: bool,
    rated: bool,
) -> RatingColumns:
    """Choose the columns.

    Args:
        names: names of the columns.
        sample: some rows, as text.
        requested: name of the column that the user gives for each role.
        where: name of the table in errors.
        named: whether the table has column names; otherwise columns are chosen by their position.
        rated: whether there must be ratings.

    Raises:
        SpaceError: a column is missing, or several columns fit a role.
    """
    places: dict[str, int | None] = {
        role: _position_of(names, name, where, named) for role, name in requested.items() if name not in (None, NONE)
    }
    if requested.get(RATING) == NONE:
        places[RATING] = None
    (_by_name if named else _by_place)(names, sample, places, where)
    if places[RATING] is None and rated:
        raise SpaceError(
            f"{where} has no rating column ({_EXAMPLES[RATING]}, ...); it has {', '.join(names)}; name it with "
            "--rating-column, or give --feedback implicit, for which each line counts as 1"
        )
    positions = {role: place for role, place in places.items() if place is not None}
    for role, place in positions.items():
        same = next((other for other, at in positions.items() if at == place and other != role), None)
        if same is not None:
            raise SpaceError(f"{where}: column {names[place]!r} cannot be both {role} and {same}")
    rating = places[RATING]
    counts = rating is None or (named and _is(names[rating], COUNTS))
    return RatingColumns(positions[USER], positions[ITEM], rating, places[TIME], counts)


def _is(name: str, pattern: str) -> bool:
    return re.fullmatch(pattern, re.sub(r"[^a-z0-9]", "", name.casefold())) is not None


def _position_of(names: Sequence[str], name: str | None, where: str, named: bool) -> int:
    places = [place for place, other in enumerate(names) if other == name]
    if not places:
        there = f"it has {', '.join(names)}"
        there = there if named else f"it has no header, so its columns are called {names[0]} to {names[-1]}"
        raise SpaceError(f"{where} has no column {name!r}; {there}")
    if len(places) > 1:
        raise SpaceError(f"{where} has {len(places)} columns {name!r}; rename one")
    return places[0]


def _by_name(names: Sequence[str], sample: Sequence[Sequence[str]], places: dict[str, int | None], where: str) -> None:
    for role in ROLES:
        if role in places:
            continue
        used = list(places.values())
        free = [place for place in range(len(names)) if place not in used]
        groups = ([place for place in free if _is(names[place], pattern)] for pattern in USUAL[role])
        usual = next(filter(None, groups), [])
        if not usual and role == ITEM:  # such as `beer_id`
            usual = [place for place in free if re.search(r"(Id|ID|[-_ ]id)$", names[place])]
        if len(usual) > 1 and role != TIME:
            raise SpaceError(
                f"{where}: the column of the {role} may be {' or '.join(repr(names[place]) for place in usual)}; "
                f"name it with --{role}-column"
            )
        if not usual and role in (USER, ITEM):
            raise SpaceError(
                f"{where} has no {role} column ({_EXAMPLES[role]}, ...); "
                f"it has {', '.join(names)}; name it with --{role}-column"
            )
        places[role] = usual[0] if usual else None


def _by_place(names: Sequence[str], sample: Sequence[Sequence[str]], places: dict[str, int | None], where: str) -> None:
    """Choose user and item as the first columns, then the first times, and the first other numbers as ratings."""
    if len(names) < 2:
        raise SpaceError(
            f"{where}: {len(names)} column is too few; ratings need a column of users and a column of items"
        )
    cells = [[row[place] for row in sample if place < len(row) and row[place]] for place in range(len(names))]

    def free() -> list[int]:
        return [place for place in range(len(names)) if place not in places.values()]

    for role in (USER, ITEM):
        if role not in places:
            dated = [bool(cells[place]) and all(map(is_date, cells[place])) for place in range(len(names))]
            places[role] = next((place for place in free() if not dated[place]), free()[0])
    if TIME not in places:
        places[TIME] = next((place for place in free() if cells[place] and all(map(_is_time, cells[place]))), None)
    if RATING not in places:
        numbers = [place for place in free() if sum(map(is_number, cells[place])) > len(cells[place]) / 2]
        places[RATING] = next(iter([*numbers, *free()]), None)


def _is_time(cell: str) -> bool:
    return is_date(cell) or (is_number(cell) and float(cell.replace(",", ".")) >= _EPOCH)

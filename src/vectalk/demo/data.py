"""Where the demo's film data are: beside the source, and not in an installed wheel."""

import os
from pathlib import Path

from vectalk.errors import SpaceError

WHERE = (
    "the demo's film data are in the folder demo-data of vectalk's repository, not in the installed package, since "
    "their licence differs; get that folder and name it in VECTALK_DEMO_DATA"
)


def has_demo_data() -> bool:
    """Say whether the demo's film data are at hand; in an installed wheel they are not, unless they are named."""
    return "VECTALK_DEMO_DATA" in os.environ or _films_in(_repository())


def demo_data() -> Path:
    """Return the folder of the demo's data.

    Raises:
        SpaceError: it is not there, as in an installed wheel; says where to get it.
    """
    named = os.environ.get("VECTALK_DEMO_DATA")
    folder = Path(named) if named else _repository()
    if not _films_in(folder):
        place = f"VECTALK_DEMO_DATA={named} holds no film data: " if named else ""
        raise SpaceError(f"{place}{WHERE}, or run `vectalk demo --world islands`, which invents its data")
    return folder


def _repository() -> Path:
    return Path(__file__).parents[3] / "demo-data"


def _films_in(folder: Path) -> bool:
    return (folder / "films" / "space.json").is_file()

"""Find the film data of the demo. They are in the repository, not in the installed package."""

import os
from pathlib import Path

from vectalk.errors import SpaceError

WHERE = (
    "the demo's film data are in the folder demo-data of vectalk's repository, not in the installed package, because "
    "their licence differs; download that folder and set VECTALK_DEMO_DATA to its path"
)


def has_demo_data() -> bool:
    """Return whether the film data are in the repository or `VECTALK_DEMO_DATA` is set."""
    return "VECTALK_DEMO_DATA" in os.environ or _films_in(_repository())


def demo_data() -> Path:
    """Return the folder of the film data.

    Raises:
        SpaceError: the folder has no film data, as in an installed package.
    """
    path = os.environ.get("VECTALK_DEMO_DATA")
    folder = Path(path) if path else _repository()
    if not _films_in(folder):
        place = f"VECTALK_DEMO_DATA={path} holds no film data: " if path else ""
        raise SpaceError(f"{place}{WHERE}, or run `vectalk demo --world islands`, which needs no data")
    return folder


def _repository() -> Path:
    return Path(__file__).parents[3] / "demo-data"


def _films_in(folder: Path) -> bool:
    return (folder / "films" / "space.json").is_file()

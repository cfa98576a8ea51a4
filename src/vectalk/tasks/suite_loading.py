"""Load a suite by its name, from a file, or generated for a space."""

from collections.abc import Mapping
from pathlib import Path

from vectalk.errors import SuiteError
from vectalk.space import VectorSpace
from vectalk.tasks.generic import load_generic
from vectalk.tasks.packaged import GENERIC, packaged_suites, packaged_text
from vectalk.tasks.suite import Suite


def load_suite(name_or_path: str | Path, spaces: Mapping[str, VectorSpace] | None = None) -> Suite:
    """Load a suite of the package by name, a YAML file, or `generic:SPACE`, which is generated for that space.

    Args:
        name_or_path: `movies`; `my.yaml`; `generic:wine`, `generic:item=wine` (noun for one entity),
            `generic:item=person/people` (singular and plural noun).
        spaces: spaces by name, for the generic suite.

    Raises:
        SuiteError: the suite does not exist or is malformed; the message names file, line and field.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return Suite.load(path)
    if name.partition(":")[0] == GENERIC:
        return load_generic(name, spaces)
    if name not in packaged_suites():
        raise SuiteError(
            f"no suite {name!r}; the package has {', '.join(packaged_suites())} and {GENERIC}:SPACE, "
            "or give the path of a YAML file"
        )
    return Suite.parse(packaged_text(name), name)

"""Readers of files that may come from elsewhere: a valid object or the project's own error, whatever the file holds."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz_worlds import READERS, encoded
from fuzzing import damage, search
from vectalk.errors import VectalkError


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Valid folders by the name of their reader, each made when it is first wanted."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            READERS[name].make(made[name])
        return made[name]

    return folder


@pytest.fixture
def quiet() -> Iterator[None]:
    """Silence what numpy says of numbers that overflow: they are no errors."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", READERS)
def test_what_is_whole_is_read(folders: Callable[[str], Path], name: str) -> None:
    READERS[name].use(folders(name))


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in READERS for file in READERS[name].files])
@pytest.mark.filterwarnings("ignore")
def test_what_is_damaged_is_an_error_of_the_project(
    folders: Callable[[str], Path], quiet: None, name: str, file: str
) -> None:
    valid, reader = folders(name), READERS[name]
    path = next(valid.rglob(file.rpartition("/")[2])) if "*" in file else valid / file
    whole = path.read_bytes()

    @search
    @given(st.data())
    def read(data: st.DataObject) -> None:
        path.write_bytes(data.draw(st.composite(damage)(path)))
        try:
            reader.use(valid)
        except VectalkError:
            pass
        finally:
            restore(valid, path, whole)

    read()


def restore(folder: Path, path: Path, whole: bytes) -> None:
    """Put the content back; a cache of what was damaged is made anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy" and path.parent.parent.name == "embeddings":
        shutil.rmtree(folder / "embeddings")
        encoded(folder)
    path.write_bytes(whole)

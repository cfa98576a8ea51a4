"""Memory that a training step frees is at hand for the next one, where the settings and the environment say so."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, allocator
from vectalk.training.trainer import train
from worlds import SHORT

# The file alone is loaded, without torch. A block that the C library maps apart is given back when freed; one that
# lies in its heap stays with the process.
SCRIPT = """
import ctypes, importlib.util, json, sys

class Figures(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_size_t) for name in names]

spec = importlib.util.spec_from_file_location("allocator", sys.argv[1])
allocator = importlib.util.module_from_spec(spec)
spec.loader.exec_module(allocator)
libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.malloc.argtypes = Figures, ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def freed():
    before = libc.mallinfo2()
    block = libc.malloc(64 << 20)
    during = libc.mallinfo2()
    libc.free(block)
    after = libc.mallinfo2()
    return during.hblkhd - before.hblkhd, after.arena - before.arena

print(json.dumps([freed(), allocator.keep_freed_memory(), freed()]))
"""


def blocks(**environment: str) -> tuple[list[int], bool, list[int]]:
    """Return of a block of 64 MB, before and after the call: bytes mapped for it, bytes that stay once it is freed."""
    command = [sys.executable, "-c", SCRIPT, str(Path(allocator.__file__))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "", **environment})
    if "AttributeError" in done.stderr:
        pytest.skip("no glibc here")
    assert done.returncode == 0, done.stderr
    before, settled, after = json.loads(done.stdout)
    return before, settled, after


def test_freed_blocks_stay_with_the_process() -> None:
    before, settled, after = blocks()
    assert settled
    assert before[0] >= 64 << 20  # mapped apart, so that nothing stays
    assert before[1] == 0
    assert after[0] == 0
    assert after[1] >= 64 << 20


def test_the_environment_has_its_way() -> None:
    before, settled, after = blocks(MALLOC_MMAP_MAX_="65536")
    assert not settled
    assert before == after


@pytest.mark.parametrize("keeps", [True, False])
def test_training_settles_it_where_the_settings_say_so(
    corpus: Corpus, random_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    opened, settled = allocator.ctypes.CDLL, []

    class Library:
        """The C library, whose settings are noted and not made."""

        def __init__(self, name: str, *given: Any) -> None:
            self.real = opened(name, *given)

        def __getattr__(self, name: str) -> Any:
            return (lambda *given: settled.append(given) or 1) if name == "mallopt" else getattr(self.real, name)

    monkeypatch.setattr(allocator.ctypes, "CDLL", Library)
    changes = {**SHORT, "stage1.steps": 1, "stage2.steps": 0, "keep_freed_memory": keeps}
    train(corpus, str(random_llm), tmp_path / "run", TrainConfig.load(None, changes), device="cpu")
    assert settled == ([(-1, 2**31 - 1), (-2, 64 << 20), (-4, 0)] if keeps else [])


def test_it_is_kept_unless_one_says_otherwise() -> None:
    assert TrainConfig().keep_freed_memory

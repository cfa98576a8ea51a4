"""Memory that a training step frees is at hand for the next one."""

import json
import subprocess
import sys

import pytest

FAULTS = """
import json, resource, sys, torch
from vectalk.training.allocator import keep_freed_memory

settled = sys.argv[1] == "keep" and keep_freed_memory()
for step in range(40):  # what is small and stays lies in the first steps' holes: a few steps pass before all fits
    if step == 30:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps([settled, faults]))
"""


def last_steps(how: str, **environment: str) -> tuple[bool, int]:
    """Return whether a new process settled it, and the pages that its last steps had to ask for."""
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "", **environment})
    settled, faults = json.loads(done.stdout)
    return settled, faults


def test_steps_take_the_memory_of_those_before() -> None:
    settled, faults = last_steps("keep")
    if not settled:
        pytest.skip("no glibc here")
    _, otherwise = last_steps("leave")
    assert faults < otherwise / 10, (faults, otherwise)


def test_the_environment_has_its_way() -> None:
    assert last_steps("keep", MALLOC_MMAP_MAX_="65536")[0] is False

"""Importing vectalk, and help, load no heavy libraries."""

import os
import subprocess
import sys

import pytest


def python(code: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ})


def test_importing_is_light() -> None:
    heavy = "{'torch', 'transformers', 'sklearn', 'pyarrow', 'pydantic', 'typer', 'peft', 'numpy'}"
    done = python(f"import sys, vectalk; print(sorted({heavy} & set(sys.modules)), vectalk.__version__)")
    assert done.stdout.startswith("[] "), done.stdout + done.stderr
    done = python(
        "import sys, vectalk as vt; vt.VectorSpace, vt.Corpus; print({'torch', 'transformers'} & {*sys.modules})"
    )
    assert done.stdout == "set()\n", done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["train", "--help"], ["corpus", "--help"]])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print({'torch', 'transformers'} & {*sys.modules}))\n"
        "from vectalk.cli.main import main\nmain(sys.argv[1:])"
    )
    done = python(code, *arguments)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "set()"), done.stderr

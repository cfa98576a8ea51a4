"""docs/own-data.md, run as it stands: every command in order, the output that it promises, every snippet of Python."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vectalk
from vectalk.cli.main import main

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [body for name, body in BLOCK.findall(GUIDE) if name == kind]


def commands() -> list[str]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell to which `python` and `vectalk` are this Python and this package."""
    paths = [str(Path(vectalk.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    setting = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = ["bash", "-c", line]
    return subprocess.run(command, cwd=folder, env=setting, capture_output=True, check=False, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the root of the repository to the guide's commands."""
    made = tmp_path_factory.mktemp("guide")
    (made / "examples").symlink_to(ROOT / "examples")
    (made / "bin").mkdir()
    for name, module in (("python", ""), ("vectalk", " -m vectalk.cli.main")):
        (made / "bin" / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{module} "$@"\n')
        (made / "bin" / name).chmod(0o755)
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """What each command of the guide printed, by the command as one line."""
    found = {}
    for line in commands():
        found[line] = run(line, folder)
        assert found[line].returncode == 0, f"{line}\n{found[line].stderr}"
    return found


def test_there_are_ten_commands_on_the_way() -> None:
    way = GUIDE[: GUIDE.index("## More")]
    assert len(re.findall(r"^```bash\n", way, re.MULTILINE)) == 10 == len(re.findall(r"^## \d+\. ", way, re.MULTILINE))


@pytest.mark.slow
def test_the_guide_runs_and_prints_what_it_says(done: dict[str, Any], folder: Path) -> None:
    printed = "".join(process.stdout + process.stderr for process in done.values())
    printed += (folder / "shop" / "albums.csv").read_text(encoding="utf-8").splitlines()[0]
    for promised in "".join(blocks("text")).splitlines():
        assert promised in printed, promised
    answers = [p.stdout.strip() for line, p in done.items() if line.startswith("vectalk ask")]
    assert len(answers) == 3
    assert all(answers)
    assert "a blend of Golden Garden, Golden Winter" in done[next(line for line in done if "lerp" in line)].stderr


@pytest.mark.slow
def test_the_small_model_of_the_guide_reads_its_vectors(done: dict[str, Any], folder: Path) -> None:
    """Little training, so little is asked: far above a guess, while vectors of other albums give nothing."""
    rows = map(json.loads, (folder / "runs/albums/evaluation/metrics.jsonl").read_text().splitlines())
    recovery = {r["condition"]: r["value"] for r in rows if r["metric"] == "recovery/styles"}
    assert recovery["elm"] > 0.4
    assert abs(recovery["shuffled"]) < 0.3


def test_the_shop_is_what_the_guide_says(folder: Path, tmp_path: Path) -> None:
    """The same seed gives the same shop; another gives another."""
    texts = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        made = run(f"python examples/records/make.py --out {shlex.quote(str(tmp_path / name))} --seed {seed}", folder)
        assert made.returncode == 0, made.stderr
        texts.append((tmp_path / name / "albums.csv").read_text(encoding="utf-8"))
    assert texts[0] == texts[1] != texts[2]


# ---- the snippets of Python


class Model:
    """What the snippets call `model`."""

    def __init__(self, vectors: np.ndarray) -> None:
        import torch

        self.item_factors = vectors
        self.item_embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(vectors))


def keyed(vectors: np.ndarray) -> Any:
    made = importlib.import_module("gensim.models").KeyedVectors(vectors.shape[1])
    made.add_vectors([f"x{n}" for n in range(len(vectors))], vectors)
    return made


def index(vectors: np.ndarray) -> Any:
    made = importlib.import_module("faiss").IndexFlatIP(vectors.shape[1])
    made.add(vectors)
    return made


def table(vectors: np.ndarray) -> dict[str, Any]:
    names = [f"x{n}" for n in range(len(vectors))]
    return {"id": names, "title": [f"T {name}" for name in names], "embedding": list(vectors)}


# What a snippet needs beside numpy, what it names, and where the space's ids come from.
SNIPPETS = {
    "# PyTorch": ("torch", lambda v: {"model": Model(v)}),
    "# implicit": ("torch", lambda v: {"model": Model(v)}),
    "# gensim": ("gensim", lambda v: {"keyed": keyed(v)}),
    "# faiss": ("faiss", lambda v: {"index": index(v)}),
    "# Hugging Face": (
        "datasets",
        lambda v: {"dataset": importlib.import_module("datasets").Dataset.from_dict(table(v))},
    ),
    "# pandas": ("pandas", lambda v: {"frame": importlib.import_module("pandas").DataFrame(table(v)).set_index("id")}),
    "space = vectalk": ("torch", lambda v: {"vectors": v, "ids": table(v)["id"], "titles": table(v)["title"]}),
}


@pytest.mark.parametrize("start", SNIPPETS)
def test_snippets_bring_the_vectors(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, names = SNIPPETS[start]
    pytest.importorskip(library)
    vectors = np.random.default_rng(0).standard_normal((120, 6)).astype(np.float32)
    code = next(block for block in blocks("python") if block.startswith(start))
    monkeypatch.chdir(tmp_path)
    exec(code, {"numpy": np, "vectalk": vectalk, **names(vectors)})
    written = next((path for path in tmp_path.iterdir() if path.is_file()), None)
    if written is not None:
        with pytest.raises(SystemExit) as stopped:
            main(["space", "import", str(written), "--name", "item", "--out", "spaces/item", "-q"])
        assert stopped.value.code == 0
    space = vectalk.VectorSpace.load("spaces/item")
    name = "7" if written is not None and written.suffix == ".npy" else "x7"
    np.testing.assert_allclose(space[name].values, vectors[7], rtol=1e-6)


def test_every_snippet_is_tried() -> None:
    assert len(blocks("python")) == len(SNIPPETS)


@pytest.mark.slow
def test_the_quickstart_runs(folder: Path) -> None:
    made = run("python examples/quickstart.py --out quickstart --steps 30", folder)
    assert made.returncode == 0, made.stderr
    said = made.stdout.splitlines()
    assert [line.partition(":")[0] for line in said if line.startswith(("unseen", "half way", "moved", "truth"))] == [
        "unseen",
        "half way",
        "moved",
        "truth of the unseen one",
    ]

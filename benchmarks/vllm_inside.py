"""What vllm_engines.py runs in the interpreter that has vLLM: answers the questions of a folder by `VllmEngine`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from vectalk.decoding.settings import Decoding
from vectalk.talk.vllm_engine import VllmEngine


def main() -> None:
    """Answer `asked.json` and `vectors.npy` of a folder into its `answers.json`."""
    folder = Path(sys.argv[1])
    asked, vectors = json.loads((folder / "asked.json").read_text()), np.load(folder / "vectors.npz")
    slots = [{slot: (space, vectors[key]) for slot, (space, key) in given.items()} for given in asked["slots"]]
    started = time.perf_counter()
    engine = VllmEngine(asked["export"], dtype="float32", enforce_eager=True)
    loaded = time.perf_counter()
    decoding = Decoding(max_new_tokens=asked["tokens"])
    engine.generate(asked["questions"][:4], slots[:4], decoding)
    seconds = []
    for _ in range(asked["turns"]):
        begun = time.perf_counter()
        made = engine.generate(asked["questions"], slots, decoding)
        seconds.append(time.perf_counter() - begun)
    answers = {"load": loaded - started, "seconds": seconds, "answers": made}
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()

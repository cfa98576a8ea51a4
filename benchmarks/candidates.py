"""What several candidates gain: of 1, 2, 4, 8, 16 answers the one that reads back nearest to its vector is kept.

Selection reads back through one text encoder, judgement through another that selection never sees; recovery and claims
look at the facts themselves. The first candidate is the greedy answer; cost is the time to write and weigh all of them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from common import parser, print_table, write_result
from vectalk.evaluation.claims import claims
from vectalk.evaluation.facts import Facts
from vectalk.evaluation.recovery import recovery
from vectalk.evaluation.texts import TaskTexts
from vectalk.space.split import TEST
from vectalk.talk import ELM, Decoding
from vectalk.talk.candidates import generate_candidates
from vectalk.tasks import Corpus

COUNTS = (1, 2, 4, 8, 16)


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("run", help="folder of a run")
    arguments.add_argument("--task", default="summary")
    arguments.add_argument("--rows", type=int, default=100, help="test entities")
    arguments.add_argument("--temperature", type=float, default=0.7)
    arguments.add_argument("--select", default="minilm", help="text encoder of the selection")
    arguments.add_argument("--judge", default="tfidf", help="text encoder of the judgement")
    arguments.add_argument("--device", default="cpu")
    given = arguments.parse_args()
    if given.select == given.judge:
        arguments.error("selection and judgement need text encoders of different kinds")
    elm = ELM.from_pretrained(given.run, device=given.device)
    corpus = Corpus.load(elm.corpus_path, {name: str(space.path) for name, space in elm.spaces.items()})
    task = next(task for task in elm.suite.tasks if task.name == given.task)
    question = task.prompts[0]
    (slot, space), examples = next(iter(task.slots.items())), []
    for example in corpus.examples(TEST, task.name):
        if example.prompt == question:
            examples.append(example)
    examples = list({example.slots[slot][1]: example for example in examples}.values())[: given.rows]
    vectors = np.stack([elm.spaces[space].vectors[example.slots[slot][1]] for example in examples]).astype(np.float32)
    slots = [{slot: (space, vector)} for vector in vectors]
    select, judge = elm.judge(question, given.select), elm.judge(question, given.judge)

    decoding = Decoding(temperature=0.0)
    seconds, texts = {}, {}
    elm.engine.generate([question] * 4, slots[:4], decoding)
    for count in COUNTS:
        started = time.perf_counter()
        several = generate_candidates(
            elm.engine, [question] * len(slots), slots, decoding, count, lambda done, total: None, given.temperature
        )
        every = [one.text for made in several for one in made]
        if count == 1:
            texts[str(count)] = every
        else:
            scores = select(every, np.repeat(vectors, count, axis=0)).reshape(-1, count)
            texts[str(count)] = [made[best].text for made, best in zip(several, scores.argmax(1), strict=True)]
        seconds[count] = time.perf_counter() - started
        own = judge(texts[str(count)], vectors)
        print(f"{count:3d} candidates: {own.mean():.3f} by {given.judge}, {seconds[count]:.1f} s", file=sys.stderr)
    facts, notes = Facts(corpus, 0), []
    shown = TaskTexts(corpus, task, examples, texts)
    figures: dict[str, float] = {}
    wanted = {"recovery": "recovery", "claims_precision": "claims_precision", "claims_recall": "claims_recall"}
    for metric, condition, found in [*recovery(shown, facts, notes), *claims(shown, facts)]:
        if metric in wanted:
            figures[f"candidates_{condition}_{wanted[metric]}"] = float(found.value)
    for count in COUNTS:
        key = f"candidates_{count}"
        figures[f"{key}_sc_selecting"] = float(select(texts[str(count)], vectors).mean())
        figures[f"{key}_sc_independent"] = float(judge(texts[str(count)], vectors).mean())
        figures[f"{key}_cost"] = seconds[count] / seconds[1]
    base = judge(texts["1"], vectors)
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(base), (2000, len(base)))
    for count in COUNTS[1:]:
        gain = judge(texts[str(count)], vectors) - base
        figures[f"candidates_{count}_gain"] = float(gain.mean())
        figures[f"candidates_{count}_gain_low"] = float(np.quantile(gain[draws].mean(1), 0.025))
    kinds = ("sc_selecting", "sc_independent", "recovery", "claims_precision", "claims_recall", "cost")
    rows = [(count, *(figures.get(f"candidates_{count}_{kind}", float("nan")) for kind in kinds)) for count in COUNTS]
    print_table(rows, ["candidates", f"SC, {given.select}", f"SC, {given.judge}", *kinds[2:]])
    command = f"python benchmarks/candidates.py {Path(given.run).name}"
    write_result(
        "candidates",
        command,
        figures,
        rows=len(examples),
        task=given.task,
        temperature=given.temperature,
        select=given.select,
        judge=given.judge,
        notes=notes,
    )


if __name__ == "__main__":
    main()

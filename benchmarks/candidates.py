"""What several candidates gain: of 1, 2, 4, 8, 16 answers the one that reads back nearest to its vector is kept.

Selection reads back through one text encoder, judgement through another that selection never sees; recovery and claims
look at the facts themselves. The first candidate is the greedy answer; cost is the time to write and weigh all of them.
Gains over it are resampled entity by entity.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from common import parser, print_table, shown_path, write_result
from vectalk.evaluation.metrics.bootstrap import Estimate, estimate, mean_of
from vectalk.evaluation.metrics.claims import claims
from vectalk.evaluation.metrics.recovery import recovery
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import ELM as KEPT
from vectalk.evaluation.texts import TaskTexts
from vectalk.space.split import TEST
from vectalk.talk import ELM, Decoding
from vectalk.talk.candidates import Reranker, generate_candidates
from vectalk.tasks import Corpus, Example, Task

COUNTS = (1, 2, 4, 8, 16)
GREEDY = "greedy"
SHOWN = ("sc_independent", "recovery", "claims_precision", "claims_recall")


def examples_of(corpus: Corpus, task: Task, slot: str, most: int) -> list[Example]:
    """Return examples of test entities in the first wording of a task, one an entity."""
    asked = [example for example in corpus.examples(TEST, task.name) if example.prompt == task.prompts[0]]
    return list({example.slots[slot][1]: example for example in asked}.values())[:most]


def kept(
    elm: ELM,
    question: str,
    slot: str,
    space: str,
    vectors: np.ndarray,
    select: Reranker,
    count: int,
    temperature: float,
) -> tuple[list[str], float]:
    """Return the texts that are kept of so many candidates, and the seconds that it took."""
    slots = [{slot: (space, vector)} for vector in vectors]
    started = time.perf_counter()
    several = generate_candidates(
        elm.engine, [question] * len(slots), slots, Decoding(), count, lambda done, total: None, temperature
    )
    best = np.zeros(len(slots), int)
    if count > 1:
        every = [one.text for made in several for one in made]
        best = select(every, np.repeat(vectors, count, axis=0)).reshape(-1, count).argmax(1)
    texts = [made[n].text for made, n in zip(several, best, strict=True)]
    return texts, time.perf_counter() - started


def judged(
    shown: TaskTexts, facts: Facts, scores: dict[str, np.ndarray], notes: list[str]
) -> Iterator[tuple[str, Estimate]]:
    """Yield the figures of the texts that are kept, and their gains over the greedy ones."""
    for metric, condition, found in [*recovery(shown, facts, notes), *claims(shown, facts)]:
        if condition == KEPT and "/" not in metric:
            yield metric.replace(f"_minus_{GREEDY}", "_gain"), found
    for name, values in scores.items():
        yield name, estimate(len(values), [mean_of(values)])


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("run", help="folder of a run")
    arguments.add_argument("--task", default="summary")
    arguments.add_argument("--entities", type=int, default=300, help="test entities")
    arguments.add_argument("--temperature", type=float, default=0.7)
    arguments.add_argument("--select", default="minilm", help="text encoder of the selection")
    arguments.add_argument("--judge", default="tfidf", help="text encoder of the judgement")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--name", default="candidates")
    given = arguments.parse_args()
    if given.select == given.judge:
        arguments.error("selection and judgement need text encoders of different kinds")
    elm = ELM.from_pretrained(given.run, device=given.device)
    corpus = Corpus.load(elm.corpus_path, {name: str(space.path) for name, space in elm.spaces.items()})
    task = next(task for task in elm.suite.tasks if task.name == given.task)
    question, ((slot, space),) = task.prompts[0], task.slots.items()
    examples = examples_of(corpus, task, slot, given.entities)
    vectors = np.stack([elm.spaces[space].vectors[example.slots[slot][1]] for example in examples]).astype(np.float32)
    select, judge = elm.reranker(question, given.select), elm.reranker(question, given.judge)
    kept(elm, question, slot, space, vectors[:4], select, 2, given.temperature)  # to warm up

    facts, notes = Facts(corpus, 0), list[str]()
    figures: dict[str, float] = {}
    rows: list[list[Any]] = []
    first: dict[str, Any] = {}
    for count in COUNTS:
        texts, seconds = kept(elm, question, slot, space, vectors, select, count, given.temperature)
        own = {"sc_selecting": select(texts, vectors), "sc_independent": judge(texts, vectors)}
        first = first or {"texts": texts, "seconds": seconds, **own}
        scores = {**own, **{f"{name}_gain": values - first[name] for name, values in own.items()}}
        shown = TaskTexts(corpus, task, examples, {KEPT: texts, GREEDY: first["texts"]}, baselines=(GREEDY,))
        found = dict(judged(shown, facts, scores, notes))
        figures[f"{given.name}_{count}_cost"] = seconds / first["seconds"]
        for name, figure in found.items():
            gain = name.endswith("_gain")
            if figure.value is None or (gain and count == 1):
                continue
            figures[f"{given.name}_{count}_{name}"] = figure.value
            if gain and figure.low is not None and figure.high is not None:
                figures |= {
                    f"{given.name}_{count}_{name}_low": figure.low,
                    f"{given.name}_{count}_{name}_high": figure.high,
                }
        line = [count, found["sc_selecting"].value, *(_cell(found, name, count) for name in SHOWN)]
        rows.append([*line, seconds / first["seconds"]])
        print(f"{count:3d} candidates: {own['sc_independent'].mean():.3f}, {seconds:.1f} s", file=sys.stderr)
    gained = [f"{name} (over one)" for name in (f"SC, {given.judge}", "recovery", "true", "recall")]
    columns = ["candidates", f"SC, {given.select}", *gained, "time"]
    print_table(rows, columns)
    command = f"python benchmarks/candidates.py {shown_path(given.run)}"
    command += "".join(
        f" --{name} {getattr(given, name)}"
        for name in ("task", "entities", "temperature", "select", "judge", "name")
        if getattr(given, name) != arguments.get_default(name)
    )
    write_result(
        given.name,
        command,
        figures,
        columns=columns,
        rows=rows,
        listed=[],
        entities=len(examples),
        task=given.task,
        temperature=given.temperature,
        notes=list(dict.fromkeys(notes)),
    )


def _cell(found: dict[str, Estimate], name: str, count: int) -> str:
    """Return a figure, with its gain over the greedy answer and the interval of that."""
    figure, gain = found.get(name), found.get(f"{name}_gain")
    if figure is None or figure.value is None:
        return ""
    text = f"{figure.value:.3f}"
    if count == 1 or gain is None or gain.value is None or gain.low is None or gain.high is None:
        return text
    return f"{text} ({gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}])"


if __name__ == "__main__":
    main()

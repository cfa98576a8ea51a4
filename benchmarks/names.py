"""What forcing names costs and gains: names that exist, names that the facts allow, and the time of decoding.

    python benchmarks/names.py runs/demo/run

For each task of the run that names entities, `vectalk evaluate` asks the model with the chosen weight of the similarity
(`elm`), without it (`trie_only`), with the similarity alone (`knn_names`), without any constraint (`free_names`), and
about other vectors (`shuffled`). The time of decoding is that of the same greedy answers with forced names over that
without a constraint, interleaved in one process; both write the same number of tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import vectalk as vt
from common import interleaved, parser, print_table, shown_path, write_result
from vectalk.decoding.settings import Decoding
from vectalk.evaluation.naming import NAMING
from vectalk.space.split import TEST
from vectalk.tasks import Corpus, Task
from vectalk.tasks.naming import naming_sources

CONDITIONS = ("elm", *NAMING, "shuffled", "copy_text", "probe_text")
METRICS = ("names_invented", "names_right", "names_per_answer", "sc", "recovery")
ROWS = 64  # answers that are decoded together


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("run", help="folder of a run whose tasks name entities")
    arguments.add_argument("--limit", type=int, default=150, help="test entities of each task")
    arguments.add_argument("--pairs", type=int, default=15, help="interleaved pairs of decoding times")
    arguments.add_argument("--encoder", default="minilm", help="text encoder of the read-back")
    arguments.add_argument("--name", default="names", help="name of the result")
    options = arguments.parse_args()
    elm = vt.ELM.from_pretrained(options.run)
    corpus = Corpus.load(elm.corpus_path)
    tasks = [task for task in corpus.suite.tasks if naming_sources(corpus.suite, task)]
    if not tasks:
        raise SystemExit(f"no task of {options.run} names entities")
    settings = {"tasks": [task.name for task in tasks], "limit": options.limit, "encoder": options.encoder}
    evaluation = vt.evaluate(elm, corpus, f"{options.run}/names", overwrite=True, **settings)
    values = {(row["task"], row["condition"], row["metric"]): row["value"] for row in evaluation.rows}
    figures: dict[str, float] = {}
    for task in tasks:
        rows = []
        for condition in CONDITIONS:
            cells = [values.get((task.name, condition, metric)) for metric in METRICS]
            rows.append([condition, *("-" if cell is None else f"{cell:.3f}" for cell in cells)])
            for metric, cell in zip(METRICS, cells, strict=True):
                if cell is not None:
                    figures[f"{options.name}_{task.name}_{metric}_{condition}"] = cell
        print_table(rows, [task.name, *METRICS])
        ratio = decoding_ratio(elm, corpus, task, options.pairs)
        figures[f"{options.name}_{task.name}_time"] = ratio
        print(f"{task.name}: time of decoding with forced names over that without: {ratio:.3f}\n")
    command = f"python benchmarks/names.py {shown_path(options.run)}"
    print(f"written to {write_result(options.name, command, figures, limit=options.limit, encoder=options.encoder)}")


def decoding_ratio(elm: vt.ELM, corpus: Corpus, task: Task, pairs: int) -> float:
    """Return the median ratio of the times for a token with forced names and without a constraint."""
    examples = list(corpus.examples(TEST, task.name))[:ROWS]
    slots = [corpus.vectors(example) for example in examples]
    questions = [example.prompt for example in examples]

    def seconds_per_token(names: str) -> Callable[[], float]:
        def measure() -> float:
            start = time.perf_counter()
            answers = elm.writer.generate(questions, slots, Decoding(max_new_tokens=64, names=names))
            return (time.perf_counter() - start) / sum(len(answer.ids) for answer in answers)

        return measure

    forced, free = seconds_per_token("force"), seconds_per_token("off")
    forced(), free()  # the first call builds the trie
    times = interleaved(forced, free, pairs)
    return statistics.median(a / b for a, b in zip(*times, strict=True))


if __name__ == "__main__":
    main()

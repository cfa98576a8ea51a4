"""`check_corpus`: one pass over a corpus of any size, in bounded memory, by all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vectalk.errors import CorpusError
from vectalk.space.split import SPLITS
from vectalk.tasks.corpus.check.contents import Contents
from vectalk.tasks.corpus.check.duplicates import Duplicates
from vectalk.tasks.corpus.check.findings import Batch, Check, Report
from vectalk.tasks.corpus.check.leaks import Leaks
from vectalk.tasks.corpus.check.lengths import Lengths, Measure
from vectalk.tasks.corpus.check.truth import Truth
from vectalk.tasks.corpus.corpus import SCHEMA, Corpus

SIZE = 4096  # examples in a batch


def check_corpus(
    corpus: Corpus,
    *,
    measure: Measure | None = None,
    context: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Check a corpus for faults that would harm training or make an evaluation look too good.

    Args:
        corpus: the corpus, opened.
        measure: returns the length of an example in tokens; when omitted, lengths are in characters.
        context: context length of the LLM, in tokens.
        progress: called with the number of examples done and the total number.

    Raises:
        CorpusError: a file of the corpus is no parquet file or has other columns.
    """
    total = sum(_open(part).metadata.num_rows for split in SPLITS for part in _parts(corpus, split))
    checks: list[Check] = [
        Contents(corpus),
        Leaks(corpus),
        Lengths(corpus, measure, context),
        Duplicates(total, lambda split, number: _target(corpus, split, number)),
        Truth(corpus),
    ]
    done = 0
    for batch in batches(corpus):
        for check in checks:
            check.add(batch)
        done += len(batch)
        progress(done, total)
    findings = [finding for check in checks for finding in check.findings()]
    findings.sort(key=lambda finding: finding.level != "problem")
    figures = {name: value for check in checks for name, value in check.figures().items()}
    return Report(findings, {"total": total, **figures})


def _parts(corpus: Corpus, split: str) -> list[str]:
    return [str(part) for part in sorted(corpus.path.glob(f"{split}-*.parquet"))]


def _open(part: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(part)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{part} cannot be read: {error}; build the corpus again") from None


def batches(corpus: Corpus) -> Iterator[Batch]:
    """Yield all examples in batches, split by split; no file is read into memory at once."""
    for split in SPLITS:
        start = 0
        for table in corpus.batches(split, SIZE, whole=False):
            columns = table.to_pydict()
            texts = {name: [text or "" for text in columns[name]] for name in SCHEMA.names if name != "slots"}
            yield Batch(
                split,
                start,
                texts["task"],
                texts["prompt"],
                texts["target"],
                texts["teacher"],
                texts["split"],
                [dict(map(_bound, slots or [])) for slots in columns["slots"]],
            )
            start += table.num_rows


def _bound(slot: dict[str, Any] | None) -> tuple[str, tuple[str, int]]:
    """Return a slot's name and its (space, row); row -1 means that the row is missing."""
    slot = slot or {}
    row = slot.get("row")
    return slot.get("slot") or "", (slot.get("space") or "", -1 if row is None else row)


def _target(corpus: Corpus, split: str, number: int) -> str:
    """Return the target of one example."""
    for part in _parts(corpus, split):
        file = _open(part)
        if number < file.metadata.num_rows:
            return str(file.read(columns=["target"])["target"][number].as_py())
        number -= file.metadata.num_rows
    return ""

"""`Evaluation`: the rows of metrics.jsonl, as a sequence, a table, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from vectalk.display import html_table, to_pandas
from vectalk.errors import EvaluationError
from vectalk.evaluation import table
from vectalk.files import read_jsonl

if TYPE_CHECKING:
    import pyarrow as pa

Metric = dict[str, Any]


class Evaluation(Sequence[Metric]):
    """The results of an evaluation: one row for each figure of the model, the controls and the baselines.

    Args:
        rows: dictionaries with space, task, metric, condition, value, low, high, n.
        path: the folder with the answers, the curves and the report.
    """

    def __init__(self, rows: Sequence[Metric], path: Path) -> None:
        self.rows, self.path = list(rows), path

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Open the folder of a finished evaluation.

        Raises:
            EvaluationError: the folder holds no finished evaluation.
        """
        folder = Path(path)
        if not (folder / "metrics.jsonl").is_file():
            raise EvaluationError(f"{folder} is not a finished evaluation (it has no metrics.jsonl); run vt.evaluate")
        return cls(read_jsonl(folder / "metrics.jsonl"), folder)

    @overload
    def __getitem__(self, index: int) -> Metric: ...
    @overload
    def __getitem__(self, index: slice) -> list[Metric]: ...
    def __getitem__(self, index: int | slice) -> Metric | list[Metric]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.rows)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        tasks = {row["task"] for row in self.rows}
        return f"Evaluation({len(self.rows)} figures of {len(tasks)} tasks in {self.path})"

    def to_arrow(self) -> pa.Table:
        """Return the rows as a table."""
        import pyarrow as pa

        text, number = pa.string(), pa.float64()
        schema = {"space": text, "task": text, "metric": text, "condition": text}
        figures = {"value": number, "low": number, "high": number, "n": pa.int64()}
        return pa.Table.from_pylist(self.rows, pa.schema({**schema, **figures}))

    def to_pandas(self) -> Any:
        """Return the rows as a data frame; needs pandas."""
        return to_pandas(self.to_arrow())

    def _repr_html_(self) -> str:
        """Return a table for each task, with one row for each condition."""
        parts = []
        for task in dict.fromkeys(row["task"] for row in self.rows):
            heads, body = table.lines(self.rows, task)
            cells = [[condition, *(table.cell(row["value"]) for row in figures)] for condition, figures in body.items()]
            parts.append(html_table(heads, cells, task))
        return "".join(parts) + f"<p>Report: {escape(str(self.path / 'report.html'))}</p>"

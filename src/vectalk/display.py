"""How objects show themselves in a notebook, and how their tables become pandas data frames."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from vectalk.errors import VectalkError

if TYPE_CHECKING:
    import pyarrow as pa


def html_table(header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Return an HTML table; every cell is text, never markup.

    Args:
        header: names of the columns.
        rows: cells; numbers are shown with three digits, None as nothing.
        caption: a line above the table.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(_shown(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list | tuple):
        return ", ".join(map(_shown, cell))
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def to_pandas(table: pa.Table) -> Any:
    """Return an Arrow table as a pandas data frame.

    Raises:
        VectalkError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401  (pyarrow needs it, and says less clearly that it is missing)
    except ImportError:
        raise VectalkError("to_pandas() needs pandas: pip install pandas; or take to_arrow()") from None
    return table.to_pandas()

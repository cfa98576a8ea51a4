"""What damages files for fuzzing: JSON at any place, bytes, columns of tables; and the settings of the search."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples each time, and nothing written beside the code. VECTALK_FUZZ=2000 looks for longer.
EXAMPLES = int(os.environ.get("VECTALK_FUZZ", "12"))
search = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES < 100,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

TEXTS = st.one_of(
    st.sampled_from(
        ["", ".", "..", "../..", "/", "\0", "a" * 300, "nan", "film", "id", "train", "\u2028", "%s{x}", "é", "\ud800"]
    ),
    st.text(max_size=8),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 2**31, 2**63, 10**30, 10**400, 0.0, -0.0, 1e-320, 1e300, -1e300]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.integers(),
    st.floats(),
)
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a JSON value, the whole first; of long lists the first entries."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:4]):
            found += places(inner, (*path, number))
    return found


@st.composite
def damaged_values(draw: st.DrawFn, value: Any) -> Any:
    """Draw a JSON value with one to three places of another changed."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            value = draw(VALUES) if draw(st.integers(0, 9)) == 0 else value
            continue
        *above, last = path
        holder = value
        for step in above:
            holder = holder[step]
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "swap"]))
        if kind == "replace":
            holder[last] = draw(VALUES)
        elif kind == "remove":
            del holder[last]
        elif kind == "add" and isinstance(holder, dict):
            holder[draw(TEXTS)] = draw(VALUES)
        elif kind == "add":
            holder.insert(draw(st.integers(0, len(holder))), draw(VALUES))
        elif isinstance(holder, list):
            holder.reverse()
        else:
            other = draw(st.sampled_from(sorted(holder, key=str)))
            holder[last], holder[other] = holder[other], holder[last]
    return value


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw bytes that were cut, overwritten, doubled or replaced."""
    start = draw(st.integers(0, len(content)))
    stop = draw(st.integers(start, min(len(content), start + 200)))
    kind = draw(st.sampled_from(["cut", "drop", "write", "insert", "flip", "random"]))
    if kind == "cut":
        return content[:start]
    if kind == "drop":
        return content[:start] + content[stop:]
    if kind == "write":
        return content[:start] + draw(st.binary(min_size=stop - start, max_size=stop - start)) + content[stop:]
    if kind == "insert":
        return content[:start] + draw(st.binary(max_size=20)) + content[start:]
    if kind == "flip" and start < len(content):
        return content[:start] + bytes([content[start] ^ (1 << draw(st.integers(0, 7)))]) + content[start + 1 :]
    return draw(st.binary(max_size=100))


@st.composite
def damaged_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """Draw a table with a column dropped, renamed, doubled, of another type, or with values missing."""
    name = draw(st.sampled_from(table.column_names))
    at = table.column_names.index(name)
    kind = draw(
        st.sampled_from(["drop", "rename", "double", "null", "some", "retype", "shorter", "longer", "mix", "empty"])
    )
    if kind == "drop":
        return table.drop_columns([name])
    if kind == "rename":
        return table.rename_columns([draw(TEXTS.filter(_encodes)) if n == name else n for n in table.column_names])
    if kind == "double":
        return table.append_column(name, table[name])
    if kind == "null":
        return table.set_column(at, name, pa.nulls(table.num_rows))
    if kind == "some":
        return table.set_column(at, name, pa.array([None, *table[name].to_pylist()[1:]], table[name].type))
    if kind == "retype":
        made = draw(st.sampled_from(RETYPED))
        return table.set_column(at, name, made(table.num_rows))
    if kind == "mix" and draw(st.booleans()):
        return table.take(pa.array(list(reversed(range(table.num_rows)))))
    if kind == "longer":
        return pa.concat_tables([table, table])
    if kind == "empty":
        return table.slice(0, 0)
    return table.slice(draw(st.integers(0, table.num_rows)))


RETYPED: list[Callable[[int], pa.Array]] = [
    lambda n: pa.array(range(n)),
    lambda n: pa.array([-1] * n),
    lambda n: pa.array([2**62] * n),
    lambda n: pa.array([float("nan")] * n),
    lambda n: pa.array([1.5] * n),
    lambda n: pa.array([True] * n),
    lambda n: pa.array(["x"] * n),
    lambda n: pa.array(["x"] * n, pa.large_string()),
    lambda n: pa.array([b"\xff\xfe"] * n, pa.binary()),
    lambda n: pa.array(["x"] * n).dictionary_encode(),
    lambda n: pa.array([[]] * n, pa.list_(pa.string())),
    lambda n: pa.array([[{"slot": "film", "space": "film", "row": 10**6}]] * n),
    lambda n: pa.array([[{"slot": "film", "space": "film", "row": -1}]] * n),
    lambda n: pa.array([[{"slot": "film", "space": "other", "row": 0}]] * n),
    lambda n: pa.array([[{"slot": None, "space": "film", "row": 0}]] * n),
    lambda n: pa.array([[None]] * n, pa.list_(pa.struct([("slot", pa.string())]))),
    lambda n: pa.array([{"a": 1}] * n),
]


def _encodes(text: str) -> bool:
    return text.isprintable() and all(not 0xD800 <= ord(sign) < 0xE000 for sign in text)


def damage(draw: st.DrawFn, path: Path) -> bytes:
    """Draw the content of a file that is damaged in a way that fits its kind."""
    content = path.read_bytes()
    if draw(st.integers(0, 2)) == 0:
        return draw(damaged_bytes(content))
    if path.suffix == ".json":
        return _dumped(draw(damaged_values(json.loads(content))))
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in content.split(b"\n") if line]
        found = draw(damaged_values(rows))
        return b"\n".join(map(_dumped, found)) if isinstance(found, list) else _dumped(found)
    if path.suffix == ".parquet":
        try:
            sink = pa.BufferOutputStream()
            pq.write_table(draw(damaged_table(pq.read_table(path))), sink)
            return sink.getvalue().to_pybytes()
        except pa.ArrowException:  # no such file can be written
            return b""
    return draw(damaged_bytes(content))


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()

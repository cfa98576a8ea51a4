"""`RowCache`: keys and values of the rows of a batch; rows join and leave between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

SPARE = 64  # least free columns of a new buffer
SLACK = 4  # shrink a buffer that is this many times larger than needed


class RowLayer(DynamicLayer):
    """One layer's buffers [R, heads, C, d], of which the model sees the rows and columns in use."""

    def __init__(self, rows: RowCache) -> None:
        super().__init__()
        self.rows = rows
        self.buffers: list[Tensor] = []  # keys and values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write new columns and return all visible columns."""
        count, low, high = self.rows.count, self.rows.low, self.rows.high
        seen = []
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:count, :, high : high + states.shape[2]] = states
            seen.append(buffer[:count, :, low : high + states.shape[2]])
        return seen[0], seen[1]

    def get_seq_length(self) -> int:
        """Return how many columns are visible."""
        return self.rows.high - self.rows.low

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of columns that a mask covers, and its first column."""
        return self.get_seq_length() + query_length, 0


class RowCache:
    """Rows that all end in the same column, so that one forward pass gives each its next token.

    Row i holds its tokens in the columns `starts[i]` to `high`; the columns before it are masked. Layers with a
    sliding window keep complete rows too: the model's own mask applies the window, and since rows are aligned to the
    right, a window of columns is a window of tokens.

    Buffers grow on demand and shrink when most of their rows have left; `clear` frees them.

    Attributes:
        count: rows in use, always the first ones of the buffers.
        low: first column that any row uses.
        high: column after the last.
        starts: first column of each row.
    """

    def __init__(self) -> None:
        self.count = self.low = self.high = self.capacity = 0
        self.starts: list[int] = []
        self.cache: Cache | None = None
        self._starts = torch.empty(0, dtype=torch.long)

    def _layers(self) -> list[RowLayer]:
        return self.cache.layers if self.cache is not None else []  # type: ignore[return-value]

    def admit(self, past: Any, lengths: Sequence[int]) -> None:
        """Add rows.

        Args:
            past: keys and values [b, heads, L, d] of a prefill that is padded on the right.
            lengths: how many of the L columns each row fills.
        """
        device, need, new = past.layers[0].keys.device, max(lengths), len(lengths)
        if self.cache is None:
            self.cache = Cache(layers=[RowLayer(self) for _ in past.layers])
        if not self.count:
            self.low = self.high = 0
        self._make_room(self.count + new, need, past)
        columns = torch.arange(need, device=device)[None] - (need - torch.tensor(lengths, device=device))[:, None]
        for layer, layer_states in zip(self._layers(), past.layers, strict=True):
            for buffer, states in zip(layer.buffers, (layer_states.keys, layer_states.values), strict=True):
                index = columns.clamp_min(0)[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
                buffer[self.count : self.count + new, :, self.high - need : self.high] = states.gather(2, index)
        self.starts += [self.high - length for length in lengths]
        self.count += new
        self._changed(device)

    def drop(self, gone: Sequence[int]) -> list[int]:
        """Remove rows and move the last rows into their places; return the former row of each place."""
        remaining = [row for row in range(self.count) if row not in set(gone)]
        size = len(remaining)
        holes = [row for row in gone if row < size]
        movers = [row for row in remaining if row >= size]
        order = list(range(size))
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        if holes:
            for layer in self._layers():
                for buffer in layer.buffers:
                    part = buffer[:, :, self.low : self.high]
                    part[holes] = part[movers]
        self.starts = [self.starts[row] for row in order]
        self.count = size
        self._changed(self._starts.device)
        self._shrink()
        return order

    def inputs(self) -> dict[str, Tensor | Cache | None]:
        """Return the LLM's inputs besides the next tokens [count, 1]: mask, positions and cache."""
        self._make_room(self.count)
        columns = torch.arange(self.low, self.high + 1, device=self._starts.device)
        mask = (columns[None] >= self._starts[:, None]).long()
        positions = (self.high - self._starts)[:, None]
        return {"attention_mask": mask, "position_ids": positions, "past_key_values": self.cache}

    def advance(self) -> None:
        """Count the column that a forward pass has written."""
        self.high += 1

    def clear(self) -> None:
        """Forget all rows and free the buffers."""
        self.__init__()  # type: ignore[misc]

    def _changed(self, device: torch.device) -> None:
        self.low = min(self.starts, default=0)
        self._starts = torch.tensor(self.starts, dtype=torch.long, device=device)

    def _make_room(self, rows: int, need: int = 0, like: Any = None) -> None:
        """Make room for `rows` rows whose used columns end at `need` or later, with one free column."""
        there, used = self._height(), self.high - self.low
        if there >= rows and self.high >= need and self.high < self.capacity:
            return
        end = max(used, need)
        capacity = self.capacity if end + SPARE <= self.capacity else _roomy(end)
        self._move(there if there >= rows else max(rows, 2 * there), end, capacity, like)

    def _shrink(self) -> None:
        """Replace buffers that are mostly empty by smaller ones."""
        there, used = self._height(), self.high - self.low
        size, capacity = min(there, 2 * self.count), min(self.capacity, _roomy(used))
        if self.count and SLACK * size * capacity <= there * self.capacity:
            self._move(size, used, capacity)

    def _height(self) -> int:
        """Return how many rows the buffers hold."""
        layers = self._layers()
        return layers[0].buffers[0].shape[0] if layers and layers[0].buffers else 0

    def _move(self, size: int, end: int, capacity: int, like: Any = None) -> None:
        """Move the used columns so that they end at column `end`, in new buffers if the size changes.

        Args:
            size: rows.
            end: column after the last in use.
            capacity: columns.
            like: keys and values whose shape and type the first buffers take.
        """
        used, reallocate = self.high - self.low, (size, capacity) != (self._height(), self.capacity)
        for number, layer in enumerate(self._layers()):
            reference = like.layers[number] if like is not None else None
            olds = layer.buffers or [reference.keys, reference.values]  # type: ignore[union-attr]
            targets = []
            for old in olds:
                # Zeros, since masked values must still be finite.
                target = old.new_zeros(size, old.shape[1], capacity, old.shape[3]) if reallocate else old
                if used:
                    target[: self.count, :, end - used : end] = old[: self.count, :, self.low : self.high].clone()
                targets.append(target)
            layer.buffers = targets
        shift = end - self.high
        self.starts = [start + shift for start in self.starts]
        self.low, self.high, self.capacity = self.low + shift, end, capacity
        self._starts = self._starts + shift


def _roomy(columns: int) -> int:
    """Return how many columns a buffer gets for `columns` used ones."""
    return columns + max(SPARE, columns // 2)

"""`DecodeLoop`: decodes the rows of all callers in one batch; rows join and leave between steps."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from vectalk.decoding.decoder import Decoder, Vectors
from vectalk.decoding.names import RowNames, constrain
from vectalk.decoding.processing import process
from vectalk.decoding.sampling import choose, precise
from vectalk.decoding.settings import Decoding
from vectalk.decoding.text_stream import TextStream
from vectalk.errors import EngineError
from vectalk.model import Prompt

PREFILL = 2048  # most prompt tokens read between two steps, so that no row waits long for its next token


@dataclass
class Tally:
    """The progress of one caller's rows: the number of finished rows, and an error."""

    done: int = 0
    error: BaseException | None = None


@dataclass(eq=False)
class Row:
    """One answer in progress.

    Attributes:
        prompt: the prompt.
        vectors: slot -> vector [D].
        decoding: the decoding settings.
        limit: most tokens of the answer.
        tally: progress of the caller's rows.
        draws: random numbers [limit] for sampling; None when greedy.
        text: decodes the tokens to text; None unless the caller streams or there is a stop text.
        names: the titles that the answer may name; None without a constraint, and after the end.
        ids: tokens so far, without the end token.
        pieces: text that the caller has not fetched yet.
        done: whether decoding of the row has ended.
        finished: whether an end token or a stop text ended it.
    """

    prompt: Prompt
    vectors: Vectors
    decoding: Decoding
    limit: int
    tally: Tally
    draws: np.ndarray | None = None
    text: TextStream | None = None
    names: RowNames | None = None
    ids: list[int] = field(default_factory=list)
    pieces: deque[str] = field(default_factory=deque)
    done: bool = False
    finished: bool = False

    def take(self, token: int, stops: frozenset[int]) -> None:
        """Append the next token, or end the row."""
        self.finished = token in stops
        if not self.finished:
            self.ids.append(token)
            if self.names is not None:
                self.names.advance(token)
            if self.text is not None:
                self._add_piece(self.text.push(token))
                self.finished = self.text.stopped
        if self.finished or len(self.ids) >= self.limit:
            if self.text is not None:
                self._add_piece(self.text.end())
            self.end()

    def end(self) -> None:
        """Mark the row as done."""
        self.tally.done += not self.done
        self.done, self.names = True, None  # its scores of all titles take memory

    def _add_piece(self, piece: str) -> None:
        if piece:
            self.pieces.append(piece)


class DecodeLoop:
    """Decodes the rows of all threads in one batch.

    There is no background thread: the calling threads run the shared loop while they wait.

    Args:
        decoder: runs the LLM.
        stops: tokens that end an answer.
        size: rows decoded in one step; urgent rows may exceed it.
    """

    def __init__(self, decoder: Decoder, stops: Sequence[int], size: int) -> None:
        self.decoder, self.stops, self.size = decoder, frozenset(stops), size
        self._urgent: deque[Row] = deque()
        self._jobs: deque[deque[Row]] = deque()
        self._active: list[Row] = []
        self._turn = threading.Condition()
        self._stepping = False

    def submit(self, rows: Sequence[Row], *, urgent: bool = False) -> None:
        """Add rows to the queue; several jobs take turns, and urgent rows do not wait for a free place."""
        with self._turn:
            if urgent:
                self._urgent.extend(rows)
            elif rows:
                self._jobs.append(deque(rows))

    def cancel(self, rows: Sequence[Row]) -> None:
        """Cancel rows."""
        with self._turn:
            for row in rows:
                row.end()
            if not self._stepping:  # otherwise the thread that runs the step does this
                self._free_if_idle()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Return when `ready`; until then run steps for all callers unless another thread runs them."""
        while True:
            with self._turn:
                while self._stepping and not ready():
                    self._turn.wait()
                if ready():
                    return
                self._stepping = True
            try:
                self._step()
            except BaseException as error:
                no_rows = not self._active  # then no other caller can report the error
                self._fail(error)
                if no_rows or not isinstance(error, Exception):
                    raise
            finally:
                with self._turn:
                    self._stepping = False
                    self._free_if_idle()
                    self._turn.notify_all()

    def _free_if_idle(self) -> None:
        """Free the memory of the rows once no row is active or waiting; the caller holds the lock `_turn`."""
        waiting = (row for queue in (self._urgent, *self._jobs) for row in queue)
        if all(row.done for row in self._active) and all(row.done for row in waiting):
            self._active = []
            self._urgent.clear()
            self._jobs.clear()
            self.decoder.rows.clear()

    # ---- one step

    @torch.inference_mode()
    def _step(self) -> None:
        self._retire()
        if not (new := self._next()) and not self._active:
            raise RuntimeError("a thread waits for a row that was never submitted")
        if new:
            held = len(self._active)
            self._active += new
            logits = self.decoder.admit([row.prompt for row in new], [row.vectors for row in new])
            self._deal(logits, held)
            self._retire()
            if new[0].text is not None:  # a streamed row: return its first token before the next step of the others
                return
        if self._active:
            last = [row.ids[-1] for row in self._active]
            self._deal(self.decoder.step(torch.tensor(last, device=self.decoder.model.device)), 0)

    def _next(self) -> list[Row]:
        """Return the rows to read now: urgent rows, then jobs in turn once a quarter of the places is free."""
        with self._turn:
            taken: list[Row] = []
            tokens, free = 0, self.size - len(self._active)
            while self._urgent and tokens < PREFILL and len(self._active) + len(taken) < 2 * self.size:
                row = self._urgent.popleft()
                if not row.done:
                    taken.append(row)
                    tokens += len(row.prompt)
            waiting = sum(map(len, self._jobs))
            if taken or free < min(max(1, self.size // 4), waiting):
                return taken
            while self._jobs and len(taken) < free and tokens < PREFILL:
                job = self._jobs.popleft()
                row = job.popleft()
                if job:
                    self._jobs.append(job)
                if not row.done:
                    taken.append(row)
                    tokens += len(row.prompt)
            return taken

    def _deal(self, logits: torch.Tensor, start: int) -> None:
        """Choose the next token of the active rows from `start` on."""
        rows = self._active[start:]
        logits = process(logits, rows)
        constrain(logits, [row.names for row in rows])
        if all(row.decoding.greedy for row in rows):
            tokens = logits.argmax(-1)
        else:
            settings = [
                (d.temperature, d.top_p, 0.0 if r.draws is None else r.draws[len(r.ids)], d.top_k, d.min_p)
                for r in rows
                for d in [r.decoding]
            ]
            # In float32 a draw above 1 - 2 ** -25 would be 1.
            columns = torch.tensor(settings, dtype=precise(logits.device), device=logits.device).unbind(1)
            tokens = choose(logits, *columns)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            if not row.done:
                row.take(token, self.stops)

    def _retire(self) -> None:
        gone = [place for place, row in enumerate(self._active) if row.done]
        if gone:
            self._active = [self._active[place] for place in self.decoder.rows.drop(gone)]

    def _fail(self, error: BaseException) -> None:
        """Report an error to the callers of all active rows; waiting rows are decoded afterwards."""
        reported = error if isinstance(error, Exception) else EngineError("decoding was interrupted")
        for row in self._active:
            row.tally.error = reported
            row.end()
        self._active = []
        self.decoder.rows.clear()

"""`DecodeLoop`: everybody's rows in one batch; rows are admitted between steps, finished ones retired."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from vectalk.decoding.decoder import Decoder, Vectors
from vectalk.decoding.sampling import choose, precise
from vectalk.decoding.settings import Decoding
from vectalk.decoding.text_stream import TextStream
from vectalk.errors import EngineError
from vectalk.model import Prompt

PREFILL = 2048  # tokens of prompts that are read between two steps, so that nobody waits long for a token


@dataclass
class Tally:
    """What became of the rows of one caller: how many are done, and what went wrong."""

    done: int = 0
    error: BaseException | None = None


@dataclass(eq=False)
class Row:
    """One answer that is wanted.

    Attributes:
        prompt: what to read.
        vectors: slot -> vector [D].
        decoding: how to write.
        limit: most tokens.
        tally: of the caller.
        draws: random numbers [limit], where it is sampled.
        text: makes text of the tokens as they come, where somebody reads them or a stop text is looked for.
        ids: tokens so far, without the end token.
        pieces: text that came and was not fetched yet.
        done: whether it is complete; `finished` by an end token or a stop text.
    """

    prompt: Prompt
    vectors: Vectors
    decoding: Decoding
    limit: int
    tally: Tally
    draws: np.ndarray | None = None
    text: TextStream | None = None
    ids: list[int] = field(default_factory=list)
    pieces: deque[str] = field(default_factory=deque)
    done: bool = False
    finished: bool = False

    def take(self, token: int, stops: frozenset[int]) -> None:
        """Take the next token."""
        self.finished = token in stops
        if not self.finished:
            self.ids.append(token)
            if self.text is not None:
                self._give(self.text.push(token))
                self.finished = self.text.stopped
        if self.finished or len(self.ids) >= self.limit:
            if self.text is not None:
                self._give(self.text.end())
            self.end()

    def end(self) -> None:
        """Call it done."""
        self.tally.done += not self.done
        self.done = True

    def _give(self, piece: str) -> None:
        if piece:
            self.pieces.append(piece)


class DecodeLoop:
    """Decodes the rows of all threads together. There is no thread of its own: whoever waits for a row does the steps.

    Args:
        decoder: does the computing.
        stops: tokens that end an answer.
        size: rows decoded at once; few rows asked for alone may come on top of it.
    """

    def __init__(self, decoder: Decoder, stops: Sequence[int], size: int) -> None:
        self.decoder, self.stops, self.size = decoder, frozenset(stops), size
        self._urgent: deque[Row] = deque()
        self._jobs: deque[deque[Row]] = deque()
        self._active: list[Row] = []
        self._turn = threading.Condition()
        self._stepping = False

    def submit(self, rows: Sequence[Row], *, urgent: bool = False) -> None:
        """Ask for rows; jobs of several rows take turns, urgent ones need not wait for a free place."""
        with self._turn:
            if urgent:
                self._urgent.extend(rows)
            elif rows:
                self._jobs.append(deque(rows))

    def cancel(self, rows: Sequence[Row]) -> None:
        """Give rows up."""
        with self._turn:
            for row in rows:
                row.end()
            if not self._stepping:  # else whoever does the steps looks after it
                self._rest()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Return when `ready`; until then do the steps for everybody, while nobody else does."""
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
                nobody = not self._active  # whom else could it be told?
                self._fail(error)
                if nobody or not isinstance(error, Exception):
                    raise
            finally:
                with self._turn:
                    self._stepping = False
                    self._rest()
                    self._turn.notify_all()

    def _rest(self) -> None:
        """Free what the rows took, once none is in work and none waits; asked with the turn held."""
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
            raise RuntimeError("a row is waited for that was never asked for")
        if new:
            held = len(self._active)
            self._active += new
            logits = self.decoder.admit([row.prompt for row in new], [row.vectors for row in new])
            self._deal(logits, held)
            self._retire()
            if new[0].text is not None:  # somebody reads along: the first word need not wait for the others' next
                return
        if self._active:
            last = [row.ids[-1] for row in self._active]
            self._deal(self.decoder.step(torch.tensor(last, device=self.decoder.model.device)), 0)

    def _next(self) -> list[Row]:
        """Take the rows to be read now: those in haste, then jobs in turn once a quarter of the places is free."""
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
        """Give the active rows from `start` on their next tokens."""
        rows = self._active[start:]
        if all(row.decoding.greedy for row in rows):
            tokens = logits.argmax(-1)
        else:
            settings = [
                (r.decoding.temperature, r.decoding.top_p, 0.0 if r.draws is None else r.draws[len(r.ids)])
                for r in rows
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
        """Tell everybody whose row was in work; begin anew with those that wait."""
        told = error if isinstance(error, Exception) else EngineError("decoding was interrupted")
        for row in self._active:
            row.tally.error = told
            row.end()
        self._active = []
        self.decoder.rows.clear()

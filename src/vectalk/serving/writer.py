"""Writers: the event loop hands them questions, and gets the text of the answers piece by piece.

`LoopWriter` has one thread that decodes the answers of all requests in one batch. `ThreadWriter` has one thread for
each answer, for engines without such a loop: a vLLM server, and models that keep more state than keys and values.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from vectalk.decoding.loop import DecodeLoop, Row
from vectalk.decoding.settings import Decoding, Generated
from vectalk.model.conversation import EarlierTurn
from vectalk.talk.engine import Slots, TransformersEngine, spaces_of
from vectalk.talk.naming import NamingEngine

log = logging.getLogger("vectalk.serve")


class Writing:
    """A text that is being written. All methods belong to the event loop that made it.

    Attributes:
        prompt_tokens: length of the prompt; None where the engine does not tell it.
        generated: the whole answer, once it is there.
        when_ended: called when the text is complete or has failed, even if nobody has read it yet.
    """

    def __init__(self, prompt_tokens: int | None = None) -> None:
        self.prompt_tokens = prompt_tokens
        self.loop = asyncio.get_running_loop()
        self._text = ""
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        self.generated: Generated | None = None
        self.when_ended: Callable[[], None] = lambda: None

    def feed(self, text: str, generated: Generated | None = None, error: BaseException | None = None) -> None:
        """Add what the engine wrote."""
        self._text += text
        self.generated, self._error = generated, error
        self._news.set()
        if generated is not None or error is not None:
            self.when_ended()

    async def pieces(self) -> AsyncIterator[str]:
        """Yield the text as it comes; pieces that came meanwhile are joined."""
        while True:
            await self._news.wait()
            self._news.clear()
            text, self._text = self._text, ""
            if text:
                yield text
            if self._error is not None:
                raise self._error
            if self.generated is not None and not self._text:
                return


class Writer(Protocol):
    """Writes answers for an event loop."""

    async def begin(
        self, question: str, slots: Slots, decoding: Decoding, earlier: Sequence[EarlierTurn] = ()
    ) -> Writing:
        """Begin an answer, after earlier turns; raises a VectalkError where the question cannot be answered."""
        ...

    def cancel(self, writing: Writing) -> None:
        """Stop writing and free what the answer held, at once; does nothing where the answer is complete."""
        ...

    @property
    def active(self) -> int:
        """Number of answers that are being written."""
        ...

    def close(self) -> None:
        """Stop the threads."""
        ...


def writer_for(naming_engine: NamingEngine, rows: int) -> Writer:
    """Return the writer of an engine that writes so many answers at once."""
    engine = naming_engine.engine
    if isinstance(engine, TransformersEngine) and engine.shared_loop is not None and not naming_engine.mends:
        return LoopWriter(engine, engine.shared_loop, naming_engine)
    return ThreadWriter(naming_engine, rows)


class LoopWriter:
    """Decodes the answers of all requests in one batch.

    Args:
        engine: makes the rows.
        decoding_loop: decodes them; other threads may use it too.
        naming_engine: knows which titles an answer may name.
    """

    def __init__(self, engine: TransformersEngine, decoding_loop: DecodeLoop, naming_engine: NamingEngine) -> None:
        self.engine, self._decoding_loop, self._naming_engine = engine, decoding_loop, naming_engine
        self._rows: dict[Writing, Row] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="vectalk-decode", daemon=True)
        self._thread.start()

    async def begin(
        self, question: str, slots: Slots, decoding: Decoding, earlier: Sequence[EarlierTurn] = ()
    ) -> Writing:
        """Begin an answer."""
        row = await asyncio.to_thread(self._row, question, slots, decoding, earlier)
        writing = Writing(len(row.prompt))
        self._decoding_loop.submit([row], urgent=True)
        with self._changed:
            self._rows[writing] = row
            self._changed.notify()
        return writing

    def _row(self, question: str, slots: Slots, decoding: Decoding, earlier: Sequence[EarlierTurn]) -> Row:
        (names,) = self._naming_engine.rows([question], [slots], decoding)
        return self.engine.streamed_row(question, slots, decoding, names, earlier)

    def cancel(self, writing: Writing) -> None:
        """Free the row of an answer; the next step of the loop runs without it."""
        with self._changed:
            row = self._rows.pop(writing, None)
        if row is not None:
            self._decoding_loop.cancel([row])

    @property
    def active(self) -> int:
        """Number of answers that are being written."""
        return len(self._rows)

    def close(self) -> None:
        """Stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for writing in list(self._rows):
            self.cancel(writing)
        self._thread.join(10)

    # ---- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._rows and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
            error: Exception | None = None
            try:
                self._decoding_loop.wait(self._has_news)
            except Exception as failure:  # the rows in progress carry it too; waiting rows go on
                error = failure
                log.error("a decoding step failed: %r", failure)
            self._deliver(error)

    def _has_news(self) -> bool:
        with self._changed:
            return not self._rows or any(row.done or row.pieces for row in self._rows.values())

    def _deliver(self, error: Exception | None) -> None:
        """Hand what was written to the event loop, all answers in one call."""
        news: dict[asyncio.AbstractEventLoop, list[tuple[Writing, str, Generated | None, BaseException | None]]] = {}
        with self._changed:
            rows = list(self._rows.items())
        for writing, row in rows:
            done, generated, problem = row.done, None, row.tally.error
            text = "".join(row.pieces.popleft() for _ in range(len(row.pieces)))
            if done and problem is None:
                generated = self.engine.generated(row)
            if not done and error is not None:
                problem = error
            if text or done or problem is not None:
                news.setdefault(writing.loop, []).append((writing, text, generated, problem))
            if done or problem is not None:
                self.cancel(writing)
        for loop, batch in news.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_feed, batch)


def _feed(batch: list[tuple[Writing, str, Generated | None, BaseException | None]]) -> None:
    for writing, text, generated, error in batch:
        writing.feed(text, generated, error)


class ThreadWriter:
    """Writes each answer in a thread of its own.

    Args:
        naming_engine: writes the answers; its `stream` may block.
        rows: most answers at once.
    """

    def __init__(self, naming_engine: NamingEngine, rows: int) -> None:
        self._naming_engine = naming_engine
        self._pool = ThreadPoolExecutor(rows, "vectalk-answer")
        self._stops: dict[Writing, threading.Event] = {}

    async def begin(
        self, question: str, slots: Slots, decoding: Decoding, earlier: Sequence[EarlierTurn] = ()
    ) -> Writing:
        """Begin an answer."""
        tokens = await asyncio.to_thread(self._prompt_tokens, question, slots, earlier)
        writing, stop = Writing(tokens), threading.Event()
        self._stops[writing] = stop
        self._pool.submit(self._write, writing, stop, question, slots, decoding, earlier)
        return writing

    def cancel(self, writing: Writing) -> None:
        """Stop writing; the thread ends with the next piece of text."""
        stop = self._stops.pop(writing, None)
        if stop is not None:
            stop.set()

    @property
    def active(self) -> int:
        """Number of answers that are being written."""
        return len(self._stops)

    def close(self) -> None:
        """Stop the threads."""
        for writing in list(self._stops):
            self.cancel(writing)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _prompt_tokens(self, question: str, slots: Slots, earlier: Sequence[EarlierTurn]) -> int | None:
        engine = self._naming_engine.engine
        if isinstance(engine, TransformersEngine):
            return len(engine.prompt(question, slots, earlier))
        exported = getattr(engine, "exported", None)
        return None if exported is None else len(exported.prompts(question, spaces_of(slots)))

    def _write(
        self,
        writing: Writing,
        stop: threading.Event,
        question: str,
        slots: Slots,
        decoding: Decoding,
        earlier: Sequence[EarlierTurn],
    ) -> None:
        def tell(text: str, generated: Generated | None = None, error: BaseException | None = None) -> None:
            if not stop.is_set() and not writing.loop.is_closed():
                writing.loop.call_soon_threadsafe(writing.feed, text, generated, error)

        stream = self._naming_engine.stream(question, slots, decoding, earlier)
        try:
            while not stop.is_set():
                tell(next(stream))
        except StopIteration as end:
            tell("", end.value)
        except Exception as error:
            tell("", None, error)
        finally:
            stream.close()
            if not writing.loop.is_closed():
                writing.loop.call_soon_threadsafe(self._stops.pop, writing, None)

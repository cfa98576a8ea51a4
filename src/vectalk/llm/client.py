"""`ChatClient`: messages in, text out; nothing is paid for twice, and nothing beyond the budget."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from vectalk.errors import BudgetError, TeacherError
from vectalk.llm.endpoint import Endpoint
from vectalk.llm.http_transport import HTTPTransport
from vectalk.llm.local import LocalModel, LocalTransport
from vectalk.llm.rejections import PATIENCE, RejectedError, Rejections
from vectalk.llm.replies import Message, Reply, ReplyCache, reply_key
from vectalk.llm.spending import Budget, Meter, Spending
from vectalk.llm.transport import Transport

GRACE = 30.0  # seconds for which replies on their way are awaited when work stops: they are paid for
Item = TypeVar("Item")
Result = TypeVar("Result")


class _HaltedError(Exception):
    """Work is to stop; nothing new is sent."""


def transport_to(place: Endpoint | LocalModel | Transport) -> Transport:
    """Return what carries messages to a place.

    Raises:
        TeacherError: a key or a package is missing, or the LLM cannot be loaded.
    """
    if isinstance(place, Endpoint):
        return HTTPTransport(place)
    return LocalTransport(place) if isinstance(place, LocalModel) else place


class ChatClient:
    """Asks an LLM many things at a time, through a cache and within a budget.

    Close it, or use it in a `with`. Whoever uses its replies tells `rejections` which were good.

    Attributes: `transport`, `cache`, `meter`, `rejections`.

    Args:
        place: an `Endpoint`, a `LocalModel`, or whatever else carries messages.
        cache: keeps every reply; None keeps none.
        budget: what may be spent; the prices of the endpoint are filled in.
        cached_only: nothing is sent; what is not in the cache has no reply.
        patience: how many rejected replies in a row, all with one fault, stop the work; 0 never stops it.
        tell: called with the spending after every reply.
        say: called with what people should know while they wait.
    """

    def __init__(
        self,
        place: Endpoint | LocalModel | Transport,
        cache: ReplyCache | None,
        budget: Budget | None = None,
        *,
        cached_only: bool = False,
        patience: int = PATIENCE,
        tell: Callable[[Spending], None] = lambda spending: None,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.transport = transport_to(place)
        self.transport.say = say
        self.cache, self.cached_only, self.tell = cache, cached_only, tell
        self.meter = Meter(budget or Budget(), self.transport.reply_limit)
        # Where nothing is sent, nothing is saved by stopping.
        self.rejections = Rejections(self.transport.name, 0 if cached_only else patience, self.transport.reply_limit)
        self._slots = asyncio.Semaphore(self.transport.concurrency)
        self._coming: dict[str, asyncio.Future[Reply | None]] = {}
        self._stopping = False
        self._stopped = asyncio.Event()
        # A loop in a thread of its own also works where a loop runs already, as in a notebook.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections; what was received stays in the cache."""
        if self._thread.is_alive():
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self.transport.close(), self._loop).result(timeout=10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            self._loop.close()

    # ---- one

    def key(self, messages: Sequence[Message], version: str = "", sample: int = 0) -> str:
        """Return the key under which the reply to messages is kept; see `chat`."""
        return reply_key(self.transport.identity, messages, self.transport.params, version, sample)

    async def chat(self, messages: Sequence[Message], *, version: str = "", sample: int = 0) -> Reply | None:
        """Return the reply to messages; None where only the cache may be asked and does not have it.

        Args:
            messages: the conversation, the user's last.
            version: of whatever made the messages; part of the cache's key.
            sample: number of the answer, where several are wanted to the same messages.

        Raises:
            TeacherError: the endpoint does not answer.
            BudgetError: the budget does not allow it.
        """
        key = self.key(messages, version, sample)
        if key in self._coming:  # asked a moment ago, by another
            return await self._coming[key]
        if self.cache is not None and (found := self.cache.get(key)) is not None:
            self.meter.count_cached(found, messages)
            self.tell(self.meter.spending)
            return found
        if self.cached_only:
            return None
        self._coming[key] = future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(await self._pay(messages, key, version))
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else _HaltedError())
            future.exception()  # it is raised here; nobody else need be waiting
            raise
        finally:
            del self._coming[key]
        return future.result()

    async def _pay(self, messages: Sequence[Message], key: str, version: str) -> Reply:
        async with self._slots:
            await self._sleep(0)
            held, reply = await self.meter.reserve(messages), None
            try:
                await self._sleep(0)
                reply = await self.transport.send(messages, self._sleep)
                # First of all it is kept: whatever happens next, it is not paid for again. A refusal before any
                # token was made costs nothing and is asked again.
                if self.cache is not None and not reply.refused:
                    self.cache.put(key, reply, self.transport.identity, version)
            finally:
                self.meter.release(held, reply, messages)
        self.tell(self.meter.spending)
        return reply

    async def _sleep(self, seconds: float) -> None:
        if not self._stopping and seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)
        if self._stopping:
            raise _HaltedError

    # ---- many

    def map(self, work: Callable[[Item], Awaitable[Result]], items: Sequence[Item]) -> list[Result]:
        """Do something that chats for each of many items, some at a time, and return the results in order.

        Where one fails, and on Ctrl-C, nothing new is sent, and what is on its way is awaited and kept, since it is
        paid for; a second Ctrl-C does not wait.
        """
        self._stopping = False
        running = asyncio.run_coroutine_threadsafe(self._map(work, items), self._loop)
        try:
            return running.result()
        except TeacherError as error:
            raise type(error)(f"{error}{self._how_to_go_on(error)}") from None
        except KeyboardInterrupt:
            self._stopping = True
            self._loop.call_soon_threadsafe(self._stopped.set)
            try:
                with suppress(Exception):
                    running.result(timeout=GRACE)
            finally:
                running.cancel()
            raise

    def _how_to_go_on(self, error: TeacherError) -> str:
        if self.cache is None:
            return ""
        kept = f". The {len(self.cache)} replies in {self.cache.path} are kept"
        if isinstance(error, BudgetError):
            return f"{kept}: run the same with a larger budget to go on, or with --cached-only to use what is there"
        if isinstance(error, RejectedError):
            return kept
        return f"{kept}; run the same again to go on" if len(self.cache) else ""

    async def _map(self, work: Callable[[Item], Awaitable[Result]], items: Sequence[Item]) -> list[Result]:
        if not self._stopping:
            self._stopped.clear()
        results: dict[int, Result] = {}
        waiting = iter(enumerate(items))

        async def worker() -> None:
            for number, item in waiting:
                if self._stopping:
                    raise _HaltedError
                results[number] = await work(item)

        workers = [asyncio.create_task(worker()) for _ in range(min(self.transport.concurrency, len(items)))]
        if not workers:
            return []
        try:
            done, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            if pending:
                self._stopping = True
                self._stopped.set()
                await asyncio.wait(pending, timeout=GRACE)
        finally:
            for task in workers:
                task.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
        # The first that failed tells why; others may have failed because of it.
        failures = [task.exception() for task in done if not task.cancelled()] + ended
        known = [e for e in failures if isinstance(e, Exception) and not isinstance(e, _HaltedError)]
        if known:
            raise known[0]
        if len(results) < len(items):
            raise TeacherError("interrupted")
        return [results[number] for number in range(len(items))]

    def describe(self) -> dict[str, Any]:
        """Return model, place, parameters and spending, as a corpus may tell them."""
        meter = self.meter
        money = {"cost": round(meter.cost, 6), "cost_of_this_run": round(meter.paid, 6)} if meter.budget.priced else {}
        return {**self.transport.describe(), "spending": {**vars(meter.spending), **money}}

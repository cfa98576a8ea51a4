"""`ChatClient`: send messages to an LLM and get replies, through a cache and within a budget."""

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

GRACE = 30.0  # seconds to wait for pending replies when the work stops, because they are paid for
Item = TypeVar("Item")
Result = TypeVar("Result")


class _HaltedError(Exception):
    """The work stops, and no further request is sent."""


def transport_to(place: Endpoint | LocalModel | Transport) -> Transport:
    """Return the transport of an endpoint or a local LLM.

    Raises:
        TeacherError: a key or a package is missing, or the LLM cannot be loaded.
    """
    if isinstance(place, Endpoint):
        return HTTPTransport(place)
    return LocalTransport(place) if isinstance(place, LocalModel) else place


class ChatClient:
    """Sends many requests to an LLM concurrently, through a cache and within a budget.

    Close the client, or use it in a `with` block. The caller reports to `rejections` whether a reply could be used.

    Attributes: `transport`, `cache`, `meter`, `rejections`.

    Args:
        place: an `Endpoint`, a `LocalModel`, or another transport.
        cache: stores every reply; None stores none.
        budget: limits on tokens and cost; None for no limits.
        cached_only: send no requests; messages without a cached reply get None.
        patience: number of consecutive rejected replies with the same fault that stops the work; 0 for no limit.
        tell: called with the spending after every reply.
        say: called with messages for users while they wait.
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
        # Without requests, stopping early saves nothing.
        self.rejections = Rejections(self.transport.name, 0 if cached_only else patience, self.transport.reply_limit)
        self._slots = asyncio.Semaphore(self.transport.concurrency)
        self._pending: dict[str, asyncio.Future[Reply | None]] = {}
        self._stopping = False
        self._stopped = asyncio.Event()
        # A separate thread runs the event loop, because a notebook already runs one in the main thread.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; received replies stay in the cache."""
        if self._thread.is_alive():
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self.transport.close(), self._loop).result(timeout=10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            self._loop.close()

    # ---- one

    def key(self, messages: Sequence[Message], version: str = "", sample: int = 0) -> str:
        """Return the cache key of the reply to some messages; see `chat` for the arguments."""
        return reply_key(self.transport.identity, messages, self.transport.params, version, sample)

    async def chat(self, messages: Sequence[Message], *, version: str = "", sample: int = 0) -> Reply | None:
        """Return the reply to messages; None if `cached_only` is set and the cache has no reply.

        Args:
            messages: the conversation, which ends with a message of the user.
            version: version of the code that made the messages; part of the cache key.
            sample: number of the answer, if several answers to the same messages are needed.

        Raises:
            TeacherError: the endpoint does not answer.
            BudgetError: the budget does not allow the request.
        """
        key = self.key(messages, version, sample)
        if key in self._pending:  # another worker has sent the same request
            return await self._pending[key]
        if self.cache is not None and (cached := self.cache.get(key)) is not None:
            self.meter.count_cached(cached, messages)
            self.tell(self.meter.spending)
            return cached
        if self.cached_only:
            return None
        self._pending[key] = future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(await self._pay(messages, key, version))
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else _HaltedError())
            future.exception()  # marks the error as seen, since there may be no other worker that waits for the reply
            raise
        finally:
            del self._pending[key]
        return future.result()

    async def _pay(self, messages: Sequence[Message], key: str, version: str) -> Reply:
        async with self._slots:
            await self._sleep(0)
            reserved, reply = await self.meter.reserve(messages), None
            try:
                await self._sleep(0)
                reply = await self.transport.send(messages, self._sleep)
                # Store the reply first, so that it is never paid for again. A refusal before the LLM got the messages
                # costs nothing. It is not stored, and the next run sends the request again.
                if self.cache is not None and not reply.refused:
                    self.cache.put(key, reply, self.transport.identity, version)
            finally:
                self.meter.release(reserved, reply, messages)
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
        """Run a function that chats for each of many items, concurrently, and return the results in order.

        After a failure and after Ctrl-C, no further requests are sent. Pending replies are awaited and stored, because
        they are paid for. A second Ctrl-C does not wait for them.

        Args:
            work: the function, called with one item.
            items: the items.

        Raises:
            TeacherError: a request failed, or the work was interrupted.
        """
        self._stopping = False
        running = asyncio.run_coroutine_threadsafe(self._map(work, items), self._loop)
        try:
            return running.result()
        except TeacherError as error:
            raise type(error)(f"{error}{self._how_to_continue(error)}") from None
        except KeyboardInterrupt:
            self._stopping = True
            self._loop.call_soon_threadsafe(self._stopped.set)
            try:
                with suppress(Exception):
                    running.result(timeout=GRACE)
            finally:
                running.cancel()
            raise

    def _how_to_continue(self, error: TeacherError) -> str:
        if self.cache is None:
            return ""
        replies = f". The {len(self.cache)} replies in {self.cache.path} are kept"
        if isinstance(error, BudgetError):
            return (
                f"{replies}: run the same command with a larger budget to continue, or with --cached-only to use these "
                "replies alone"
            )
        if isinstance(error, RejectedError):
            return replies
        return f"{replies}; run the same command again to continue" if len(self.cache) else ""

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
        # The first failure is the cause; others may follow from it.
        failures = [task.exception() for task in done if not task.cancelled()] + ended
        errors = [e for e in failures if isinstance(e, Exception) and not isinstance(e, _HaltedError)]
        if errors:
            raise errors[0]
        if len(results) < len(items):
            raise TeacherError("interrupted")
        return [results[number] for number in range(len(items))]

    def describe(self) -> dict[str, Any]:
        """Return model, endpoint, parameters and spending for a corpus, without keys and credentials."""
        meter = self.meter
        money = {"cost": round(meter.cost, 6), "cost_of_this_run": round(meter.paid, 6)} if meter.budget.priced else {}
        return {**self.transport.describe(), "spending": {**vars(meter.spending), **money}}

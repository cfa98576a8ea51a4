"""`Answering`: a response whose work ends when its client goes away or its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vectalk.serving.errors import ApiError

Work = Callable[[Send], Awaitable[None]]


class Answering(Response):
    """A response that is computed while it is sent.

    Args:
        work: computes and sends the response. It is cancelled where the client goes away, so that it can free at once
            what the answer held.
        seconds: longest time of the work, with the sending of its text to a slow reader.
        gone: called where the client went away.
    """

    def __init__(self, work: Work, seconds: float, gone: Callable[[], None]) -> None:
        super().__init__()
        self._work, self._seconds, self._gone = work, seconds, gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the work beside a watch of the connection."""
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        work = asyncio.ensure_future(self._work(watched))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({work, gone}, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            elif gone.done():
                self._gone()
            elif not started:
                raise ApiError(504, f"the answer took longer than {self._seconds:g} s", code="timeout")
        finally:
            for task in (work, gone):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

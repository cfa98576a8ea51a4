"""`POST /v1/chat/completions`: a question about vectors, answered at once or as a stream."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter
from starlette.types import Send

from vectalk.serving.connection import Answering
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.events import EventStream
from vectalk.serving.gate import Place
from vectalk.serving.grounds import finish_reason, grounds
from vectalk.serving.models import check_model
from vectalk.serving.parameters import ChatRequest
from vectalk.serving.question import read_question
from vectalk.serving.replies import ChatReply
from vectalk.serving.service import Service
from vectalk.serving.trimmed import Trimmed
from vectalk.serving.writer import Writing
from vectalk.talk.answer import Answer
from vectalk.talk.draft import Draft
from vectalk.talk.engine import TransformersEngine
from vectalk.talk.history import dropped_note
from vectalk.version import __version__

DESCRIPTION = """
Answers one question about vectors. The last message is the question. Earlier messages are read if the server reads the
history: by default, if the run was distilled. Otherwise the model was trained on questions alone; then earlier messages
are not read, and `vectalk.notes` says so. A system message is refused.

An earlier message may hold vectors as the question does; `bindings` also fill the slots of earlier messages. Where the
LLM's context has no room, the oldest turns are dropped, and `vectalk.notes` says so.

**Vectors** come in one of four ways:

1. A content part `{"type": "vector", "space": "film", "expression": "lerp('A', 'B', 0.5)"}`, or with `"values": [...]`
   (D numbers), or with `"base64": "..."` (D numbers as little-endian float32). It stands where it is among the text
   parts; if the text has a slot with its name (`slot`, else the name of the space), it fills that slot.
2. Slots in the text, `Summarise {film}.`, and `bindings` in the body: `{"film": "Alien (1979)"}`. A binding is an
   expression, a list of numbers, or an object like the content part.
3. Plain text: `Summarise film:'Alien (1979)'.`, `film:lerp('A', 'B', 0.5)` or `film:('A' + 2 * concept('comedy'))`.
4. Several of these at once.

**Grounds** are in the field `vectalk` of each choice: the question as it was read, and for each slot its support, its
nearest entities and notes on the lookup. With `"influence": true` they tell which tokens depend on which vector. In a
stream the first chunk carries the reports on the vectors, and the last one everything.

Parameters that would change the answer and are not supported are refused with status 400; `null` and values that ask
for nothing are ignored. `temperature` is 0 unless the request says otherwise.
"""

STREAMED: dict[str, Any] = {
    "description": "The answer; with `stream: true`, events that each hold a `chat.completion.chunk`, then `[DONE]`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


def chat_routes(service: Service) -> APIRouter:
    """Return the route of chat completions."""
    router = APIRouter(tags=["OpenAI"])

    @router.post(
        "/v1/chat/completions",
        summary="Ask about vectors",
        description=DESCRIPTION,
        response_class=Json,
        response_model=ChatReply,
        responses={200: STREAMED},
        openapi_extra={"x-vectalk-example": _EXAMPLE},
    )
    async def completions(body: ChatRequest) -> Answering:
        body.check_extra()
        check_model(service, body.model, chat=True)
        if body.influence and not isinstance(service.elm.engine, TransformersEngine):
            raise ApiError(400, "influence needs the LLM in this process", param="influence", code="unsupported")
        work = _Completion(service, body)
        return Answering(work.run, service.limits.seconds, service.metrics.gone.inc)

    return router


_EXAMPLE = {
    "model": "films",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Summarise "},
                {"type": "vector", "space": "film", "expression": "lerp('Alien (1979)', 'Annie Hall (1977)', 0.5)"},
                {"type": "text", "text": "."},
            ],
        }
    ],
    "max_tokens": 100,
}


class _Completion:
    """The work on one request."""

    def __init__(self, service: Service, body: ChatRequest) -> None:
        self.service, self.body = service, body
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self.notes: list[str] = []
        self.started = time.monotonic()

    async def run(self, send: Send) -> None:
        """Compute the answer and send it."""
        place = await self.service.gate.enter()
        try:
            draft = await asyncio.to_thread(self._draft)
            if self.body.stream:
                await self._stream(draft, place, send)
            else:
                await self._send_whole(draft, place, send)
        finally:
            place.release()

    def _draft(self) -> Draft:
        """Read the question and bind its vectors; this computes, so it runs in a thread."""
        body, service = self.body, self.service
        settings = body.decoding(service.limits)
        question = read_question(service.elm, body.messages, body.bindings, service.limits, bool(service.history))
        draft = Draft.of(
            service.elm,
            question.text,
            question.points,
            neighbors=body.neighbors,
            strict=body.strict,
            influence=body.influence,
            history=question.earlier,
            **settings,
        )
        dropped = question.dropped + draft.history.dropped
        self.notes = [*question.notes, *([dropped_note(dropped)] if dropped else [])]
        return draft

    @asynccontextmanager
    async def _writing(self, draft: Draft, place: Place) -> AsyncIterator[Writing]:
        """Write the text; the row is free as soon as it is complete, or nobody wants it any more."""
        writing = await self.service.writer.begin(
            draft.answer.question, draft.slots, draft.decoding, draft.history.turns
        )
        writing.when_ended = place.release  # a slow reader does not hold the row
        try:
            yield writing
        finally:
            self.service.writer.cancel(writing)

    async def _send_whole(self, draft: Draft, place: Place, send: Send) -> None:
        answer, usage = draft.answer, self._usage(0, 0)
        if answer.abstained is None:
            async with self._writing(draft, place) as writing:
                async for _ in self._pieces(writing):
                    pass
            answer, usage = await self._complete(draft, writing)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text, "refusal": answer.abstained},
            "logprobs": None,
            "finish_reason": finish_reason(answer),
            "vectalk": grounds(answer, self.notes),
        }
        content = {**self._head("chat.completion"), "choices": [choice], "usage": usage}
        await Json(content)({"type": "http"}, _nothing, send)

    async def _complete(self, draft: Draft, writing: Writing) -> tuple[Answer, dict[str, Any]]:
        generated = writing.generated
        assert generated is not None
        answer = await asyncio.to_thread(draft.complete, generated)
        self.service.metrics.answers.labels(finish_reason(answer)).inc()
        return answer, self._usage(writing.prompt_tokens or 0, len(generated.ids))

    async def _stream(self, draft: Draft, place: Place, send: Send) -> None:
        include_usage = self.body.stream_options is not None and self.body.stream_options.include_usage
        head = {**self._head("chat.completion.chunk"), **({"usage": None} if include_usage else {})}
        events = EventStream(send, head)
        try:
            answer, usage = await self._send_text(draft, place, events)
            await events.choice({}, finish_reason=finish_reason(answer), vectalk=grounds(answer, self.notes))
            if include_usage:
                await events.send({**head, "choices": [], "usage": usage})
            await events.end()
        except Exception as error:
            if not events.begun:
                raise
            await events.fail(error)

    async def _send_text(self, draft: Draft, place: Place, events: EventStream) -> tuple[Answer, dict[str, Any]]:
        opening, report = {"role": "assistant", "content": ""}, grounds(draft.answer, self.notes)
        if draft.answer.abstained is not None:
            await events.choice({**opening, "refusal": draft.answer.abstained}, vectalk=report)
            return draft.answer, self._usage(0, 0)
        async with self._writing(draft, place) as writing:
            await events.choice(opening, vectalk=report)
            trimmed = Trimmed()
            async for piece in self._pieces(writing):
                if text := trimmed.push(piece):
                    await events.choice({"content": text})
        return await self._complete(draft, writing)

    async def _pieces(self, writing: Writing) -> AsyncIterator[str]:
        """Yield the text of an answer, and note when it began."""
        begun = False
        async for piece in writing.pieces():
            if not begun:
                self.service.metrics.first_token.observe(time.monotonic() - self.started)
                begun = True
            yield piece

    def _usage(self, prompt: int, completion: int) -> dict[str, Any]:
        self.service.metrics.tokens.labels("prompt").inc(prompt)
        self.service.metrics.tokens.labels("completion").inc(completion)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.service.name,
            "system_fingerprint": f"vectalk-{__version__}",
        }


async def _nothing() -> Any:
    return {"type": "http.disconnect"}

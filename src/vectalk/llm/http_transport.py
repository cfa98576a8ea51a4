"""Requests to an endpoint: paced, retried, and their replies read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from vectalk.errors import TeacherError
from vectalk.llm.endpoint import OPENAI, Endpoint, Sleep
from vectalk.llm.pace import Pace, backoff, retry_after
from vectalk.llm.replies import Message, Reply
from vectalk.llm.spending import MESSAGE, estimated_tokens

AGAIN = (408, 429, 500, 502, 503, 504, 520, 522, 524, 529)
LIMITS = ("max_completion_tokens", "max_tokens")
HOPELESS = ("insufficient_quota", "billing_hard_limit_reached")
REFUSED = ("content_filter", "content_policy_violation", "context_length_exceeded", "string_above_max_length")


class _TryAgainError(Exception):
    """An attempt that brought no reply but may next time."""

    def __init__(self, problem: str, wait: float | None = None, lost: bool = False) -> None:
        super().__init__(problem)
        self.wait, self.lost = wait, lost


class HTTPTransport:
    """Sends requests to an endpoint with the openai SDK, whose own retries are off.

    Retried, with doubling pauses or those that the endpoint asks for: 429, 5xx, timeouts, lost connections, and
    replies that are no reply. Other refusals stop the work.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import openai
        except ImportError:
            raise TeacherError(
                "an LLM teacher needs the package openai; install it with `pip install 'vectalk[teacher]'`"
            ) from None
        self._openai, self.endpoint = openai, endpoint
        self.model, self.concurrency = endpoint.model, endpoint.concurrency
        # OpenAI has renamed the limit, and its newer models refuse the old name; others know the old one.
        usual = "max_completion_tokens" if endpoint.host == urlsplit(OPENAI).hostname else "max_tokens"
        name = next((name for name in LIMITS if name in endpoint.params), usual)
        self.params = {name: endpoint.max_reply_tokens, **endpoint.params}
        self.reply_limit = int(self.params[name])
        self._key = endpoint.key()
        self._sdk: Any = None
        self._requests, self._tokens = Pace(endpoint.requests_per_minute), Pace(endpoint.tokens_per_minute)

    def describe(self) -> dict[str, Any]:
        """Return model, host and parameters."""
        return {"model": self.model, "endpoint": self.endpoint.host, "params": self.params}

    async def close(self) -> None:
        """Close connections."""
        if self._sdk is not None:
            await self._sdk.close()
            self._sdk = None

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Ask until a reply is whole.

        Raises:
            TeacherError: the endpoint refuses, or brings nothing in as many attempts as are allowed.
        """
        lost = 0
        for attempt in range(self.endpoint.attempts):
            size = estimated_tokens(messages) + self.reply_limit
            await sleep(max(self._requests.delay(), self._tokens.delay(size)))
            try:
                reply = await self._attempt(messages)
                return Reply(**{**reply.__dict__, "retries": attempt, "lost": lost})
            except _TryAgainError as error:
                lost += error.lost
                problem, wait = str(error), error.wait
            if wait is not None and wait > self.endpoint.max_wait:
                raise TeacherError(
                    f"{self.endpoint.host} asks to wait {wait:.0f} s, more than max_wait ({self.endpoint.max_wait:g}); "
                    "run the same command later, or raise max_wait"
                )
            if wait is not None:
                self._requests.hold(wait)  # nobody else asks before that either
            if attempt + 1 < self.endpoint.attempts:
                await sleep(backoff(attempt) if wait is None else wait + 0.1 * backoff(0))
        raise TeacherError(
            f"{self.endpoint.host} brought no reply in {self.endpoint.attempts} attempts; the last: {problem}"
        )

    async def _attempt(self, messages: Sequence[Message]) -> Reply:
        openai = self._openai
        if self._sdk is None:
            self._sdk = openai.AsyncOpenAI(
                base_url=self.endpoint.url, api_key=self._key, max_retries=0, timeout=self.endpoint.timeout
            )
        try:
            raw = await self._sdk.chat.completions.with_raw_response.create(
                model=self.model, messages=list(messages), extra_body=self.params
            )
            return self._read(raw.http_response.content, messages)
        except openai.APITimeoutError as error:
            raise _TryAgainError("it timed out", lost=_was_sent(error)) from None
        except openai.APIConnectionError as error:
            raise _TryAgainError(
                self._safe(f"the connection was lost ({error.__cause__!r})"), lost=_was_sent(error)
            ) from None
        except openai.APIStatusError as error:
            told = error.body.get("message") if isinstance(error.body, dict) else None
            said, code = self._safe(str(told or error.message))[:500], str(error.code or "")
            if error.status_code in AGAIN and code not in HOPELESS:
                wait = retry_after(error.response.headers.get("retry-after"))
                raise _TryAgainError(f"{error.status_code}: {said}", wait) from None
            if code in REFUSED:
                return Reply("", code, 0, 0, refusal=said, refused=True)
            hint = f"; the key is that in {self.endpoint.key_env}" if error.status_code in (401, 403) else ""
            raise TeacherError(f"{self.endpoint.host} refuses: {error.status_code}: {said}{hint}") from None
        except openai.OpenAIError as error:
            raise TeacherError(self._safe(f"{self.endpoint.host} cannot be asked: {error}")) from None

    def _read(self, body: bytes, messages: Sequence[Message]) -> Reply:
        """Read a reply, by hand, since the SDK passes on whatever it cannot make sense of."""
        try:
            answer = json.loads(body)
            choice = answer["choices"][0]
            text, finish = choice["message"].get("content") or "", choice["finish_reason"]
            refusal = choice["message"].get("refusal") or ""
            if not isinstance(text, str) or not isinstance(finish, str) or not isinstance(refusal, str):
                raise TypeError("content or finish_reason is no text")
            usage = answer.get("usage") or {}
            prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            problem = f"it is not a whole reply ({type(error).__name__}: {error})"
            raise _TryAgainError(self._safe(problem), lost=True) from None
        if isinstance(prompt, int) and isinstance(completion, int) and min(prompt, completion) >= 0:
            return Reply(text, finish, prompt, completion, refusal=refusal)
        guess = estimated_tokens([{"content": text}]) - MESSAGE
        return Reply(text, finish, round(estimated_tokens(messages)), round(guess), counted=False, refusal=refusal)

    def _safe(self, text: str) -> str:
        """Return what an endpoint said without the key, which some repeat."""
        return text.replace(self._key, "***") if self._key != "none" else text


def _was_sent(error: Exception) -> bool:
    """Return whether a request that failed may have reached the endpoint (and be on its bill)."""
    return not type(error.__cause__).__name__.startswith(("Connect", "Pool", "Proxy", "UnsupportedProtocol"))

"""Requests to an endpoint: paced, retried, and their replies read with suspicion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from vectalk.errors import TeacherError
from vectalk.llm.address import is_loopback, is_openai, shown, with_version
from vectalk.llm.endpoint import LIMITS, NO_KEY, OPENAI_KEY, Endpoint
from vectalk.llm.pace import Pace, backoff, retry_after
from vectalk.llm.replies import Message, Reply, without_system
from vectalk.llm.reply_reader import NoReplyError, pause_in, read_reply, said_in
from vectalk.llm.spending import estimated_tokens
from vectalk.llm.transport import Sleep

AGAIN = (408, 429, 500, 502, 503, 504, 520, 522, 524, 529)
HOPELESS = ("insufficient_quota", "billing_hard_limit_reached")
REFUSED = ("content_filter", "content_policy_violation", "context_length_exceeded", "string_above_max_length")
TOO_MANY = 60.0  # seconds of pause after a 429 that names none: limits are a minute's
WORTH_SAYING = 5.0  # seconds of pause that people are told of
STRIKES = 3  # answers in a row that are no replies; as many for each request at a time, once there was a reply
# Headers that go to any endpoint, beside the SDK's own `x-stainless-...`; what it finds in variables is OpenAI's alone.
HEADERS = {
    *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"),
    *("transfer-encoding", "user-agent"),
}
_NO_SYSTEM = re.compile(
    r"system['\"]? (role|message|prompt|instruction)|role[: ]+['\"]?system|not support(ed)?:? ['\"]?system"
    r"|developer instruction|must alternate|only user(,| and)|must start with a user",
    re.IGNORECASE,
)


class _TryAgainError(Exception):
    """An attempt that brought no reply but may next time."""

    def __init__(self, problem: str, wait: float | None = None, lost: bool = False) -> None:
        super().__init__(problem)
        self.wait, self.lost = wait, lost


class _RefusedError(Exception):
    """An endpoint will not answer; `page`: a web page stands in the place of an answer."""

    def __init__(self, status: int, said: str, page: bool = False) -> None:
        super().__init__(said)
        self.status, self.said, self.page = status, said, page


@dataclass(frozen=True)
class _Way:
    """How an endpoint is asked: below which address, and whether it takes what a system says apart."""

    base: str
    system: bool = True


class HTTPTransport:
    """Sends requests to an endpoint with the openai SDK, whose own retries are off.

    Retried, with doubling pauses or those that the endpoint asks for: 429, 5xx, timeouts, lost connections, and
    answers that are no replies, though not many of these in a row. Other refusals stop the work, but for two after
    which the endpoint is asked in another way: an address without `/v1`, and a template that knows no system.

    Raises:
        TeacherError: there is no key for it, or the package openai is missing.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import openai
        except ImportError:
            raise TeacherError(
                "an LLM behind an endpoint needs the package openai; install it with `pip install 'vectalk[teacher]'`"
            ) from None
        self._openai, self.endpoint = openai, endpoint
        self.name, self.identity = f"openai:{endpoint.model}", endpoint.model
        self.concurrency = endpoint.concurrency
        # OpenAI has renamed the limit, and its newer models refuse the old name; others know the old one.
        usual = "max_completion_tokens" if is_openai(endpoint.url) else "max_tokens"
        name = next((name for name in LIMITS if name in endpoint.params), usual)
        self.params = {name: endpoint.max_reply_tokens, **endpoint.params}
        self.reply_limit = int(self.params[name])
        self.say: Callable[[str], None] = lambda message: None
        self._key = endpoint.key()
        self._way = _Way(endpoint.url)
        self._sdks: dict[str, Any] = {}
        self._answered, self._strikes = False, 0
        self._unversioned = ""  # what was said at the address as it was given, where it is no longer asked
        self._requests, self._tokens = Pace(endpoint.requests_per_minute), Pace(endpoint.tokens_per_minute)

    def describe(self) -> dict[str, Any]:
        """Return model, host and parameters."""
        return {"model": self.endpoint.model, "endpoint": self.endpoint.host, "params": self.params}

    async def close(self) -> None:
        """Close connections."""
        while self._sdks:
            await self._sdks.popitem()[1].close()

    # ---- one request

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Ask until a reply is whole.

        Raises:
            TeacherError: the endpoint refuses, or brings nothing in as many attempts, or as long, as is allowed.
        """
        host, retries, failures, lost, waited = self.endpoint.host, 0, 0, 0, 0.0
        while True:
            size = estimated_tokens(messages) + self.reply_limit
            await sleep(max(self._requests.delay(), self._tokens.delay(size)))
            try:
                reply = await self._attempt(messages)
            except _TryAgainError as error:
                retries, lost, problem, wait = retries + 1, lost + error.lost, str(error), error.wait
            else:
                return replace(reply, retries=retries, lost=lost)
            if wait is None:
                failures += 1
                if failures >= self.endpoint.attempts:
                    raise TeacherError(f"{host} brought no reply in {failures} attempts; the last: {problem}")
                await sleep(backoff(failures - 1))
                continue
            if waited + wait > self.endpoint.max_wait:
                before = f" after pauses of {waited:.0f} s" if waited else ""
                raise TeacherError(
                    f"{host} asks to wait {wait:.0f} s{before}, more than max_wait ({self.endpoint.max_wait:g}): "
                    f"{problem}; run the same command later, raise max_wait, or set requests_per_minute below its limit"
                )
            waited += wait
            if wait >= WORTH_SAYING and not self._requests.held:
                self.say(
                    f"{host} asks for a pause of {wait:.0f} s ({problem}); requests_per_minute, set below its limit, "
                    "avoids this"
                )
            self._requests.hold(wait)  # nobody else asks before that either
            await sleep(wait + 0.1 * backoff(0))

    async def _attempt(self, messages: Sequence[Message]) -> Reply:
        """Ask once, and anew where it is only to be asked in another way."""
        while True:
            way = self._way
            try:
                reply = await self._ask(messages, way)
            except _RefusedError as refusal:
                # Of requests that go out together, the first one to be refused finds the way for all.
                if self._way == way and not self._finds_another(way, refusal, messages):
                    raise TeacherError(self._refusal(way, refusal)) from None
            else:
                self._answered, self._strikes = True, 0
                return reply

    async def _ask(self, messages: Sequence[Message], way: _Way) -> Reply:
        openai = self._openai
        try:
            raw = await self._sdk(way.base).chat.completions.with_raw_response.create(
                model=self.endpoint.model,
                messages=list(messages) if way.system else without_system(messages),
                extra_body=self.params,
            )
        except openai.APITimeoutError as error:
            raise _TryAgainError("it timed out", lost=_was_sent(error)) from None
        except openai.APIConnectionError as error:
            raise _TryAgainError(
                self._safe(f"the connection was lost ({error.__cause__!r})"), lost=_was_sent(error)
            ) from None
        except openai.APIStatusError as error:
            return self._status(error.status_code, error.response.content, error.response.headers, messages, way)
        except openai.OpenAIError as error:
            raise TeacherError(self._safe(f"{self.endpoint.host} cannot be asked: {error}")) from None
        body, headers = raw.http_response.content, raw.http_response.headers
        try:
            return read_reply(body, messages, self.reply_limit)
        except NoReplyError as problem:
            if problem.code in (*HOPELESS, *REFUSED) or re.fullmatch("[45][0-9][0-9]", problem.code):
                status = int(problem.code) if problem.code.isdecimal() else 400
                return self._status(status, body, headers, messages, way)
            if problem.page and not self._answered and with_version(way.base):
                raise _RefusedError(200, "a web page", page=True) from None
            raise self._strike(self._no_reply(body, messages), way) from None

    def _sdk(self, base: str) -> Any:
        """Return the SDK's client for an address. It follows no redirects: they might lead to another host."""
        if base not in self._sdks:
            # On this machine no proxy that a variable names stands between.
            local = is_loopback(base) and urlsplit(base).scheme == "http"
            client = self._openai.DefaultAsyncHttpxClient(
                follow_redirects=False, trust_env=not local, event_hooks={"request": [self._strip]}
            )
            made = self._openai.AsyncOpenAI(
                base_url=base, api_key=self._key, max_retries=0, timeout=self.endpoint.timeout, http_client=client
            )
            if str(made.base_url.host).lower() != urlsplit(base).hostname:
                raise TeacherError(f"the address of {self.endpoint.host} can be read in two ways; write it plainly")
            self._sdks[base] = made
        return self._sdks[base]

    async def _strip(self, request: Any) -> None:
        """Let a request carry the key of this endpoint, and nothing that the SDK found elsewhere."""
        if not is_openai(self.endpoint.url):
            for name in list(request.headers):
                if name.lower() not in HEADERS and not name.lower().startswith("x-stainless-"):
                    del request.headers[name]
        if not urlsplit(self.endpoint.url).username:  # credentials in the address go before a key
            request.headers["Authorization"] = f"Bearer {self._key}"

    # ---- what is no reply

    def _status(
        self, status: int, body: bytes, headers: Mapping[str, str], messages: Sequence[Message], way: _Way
    ) -> Reply:
        """Say what follows from a status, of the answer or inside it."""
        said, code = said_in(self._safe_body(body))
        if way.system and _system_refused(status, said, messages):
            raise _RefusedError(status, said)
        if status in AGAIN and code not in HOPELESS:
            wait = retry_after(headers.get("retry-after"))
            wait = pause_in(body) if wait is None else wait
            raise _TryAgainError(f"{status}: {said}", TOO_MANY if wait is None and status == 429 else wait)
        if code in REFUSED:
            return Reply("", code, 0, 0, refusal=said, refused=True)
        if 300 <= status < 400:
            there = shown(urljoin(way.base, headers.get("location", "")))
            said = f"it sends requests on to {there}, where nothing was sent"
        raise _RefusedError(status, said)

    def _finds_another(self, way: _Way, refusal: _RefusedError, messages: Sequence[Message]) -> bool:
        """Take another way to ask from now on, where the refusal tells of one."""
        versioned = None if self._answered else with_version(way.base)
        if (refusal.page or refusal.status in (404, 405)) and versioned is not None:
            self._way = replace(way, base=versioned)
            self._unversioned = f"{refusal.status}: {refusal.said}"
        elif way.system and _system_refused(refusal.status, refusal.said, messages):
            self._way = replace(way, system=False)
        return self._way != way

    def _refusal(self, way: _Way, refusal: _RefusedError) -> str:
        """Say to people that an endpoint refuses, and what may help."""
        hint, asked = "", f"{shown(way.base)}/chat/completions"
        if refusal.status in (401, 403):
            named = self.endpoint.api_key_env or OPENAI_KEY
            hint = f"; the key is that in {named}" if self._key != NO_KEY else "; no key was sent (--api-key-env NAME)"
        elif 300 <= refusal.status < 400:
            hint = "; give the address that answers by itself with --base-url"
        elif refusal.status in (404, 405):
            before = (
                f", and before that at {shown(self.endpoint.url)}: {self._unversioned}" if self._unversioned else ""
            )
            hint = f" (at {asked}{before}); see that --base-url and the model's name are right"
        return f"{self.endpoint.host} refuses: {refusal.status}: {refusal.said}{hint}"

    def _strike(self, problem: NoReplyError, way: _Way) -> Exception:
        """Return what to raise for an answer that is no reply: after a few in a row nothing more is asked."""
        self._strikes += 1
        if self._strikes < STRIKES * (self.concurrency if self._answered else 1):
            return _TryAgainError(f"it is no whole reply: {problem}", lost=True)
        hint = "; see that --base-url is right, most end in /v1" if problem.page else ""
        return TeacherError(
            f"{shown(way.base)}/chat/completions brought {self._strikes} answers in a row that are no replies; the "
            f"last: {problem}{hint}"
        )

    def _no_reply(self, body: bytes, messages: Sequence[Message]) -> NoReplyError:
        """Return what is wrong with a body, the key left out before it is shortened."""
        try:
            read_reply(self._safe_body(body), messages, self.reply_limit)
        except NoReplyError as problem:
            return problem
        return NoReplyError("it repeats the key")

    def _safe_body(self, body: bytes) -> bytes:
        return body if self._key == NO_KEY else body.replace(self._key.encode(), b"***")

    def _safe(self, text: str) -> str:
        """Return what was said without the key, which some repeat."""
        return text if self._key == NO_KEY else text.replace(self._key, "***")


def _system_refused(status: int, said: str, messages: Sequence[Message]) -> bool:
    """Say whether a refusal is of the system's part of the messages."""
    has = any(message["role"] == "system" for message in messages)
    return has and status in (400, 422, 500) and _NO_SYSTEM.search(said) is not None


def _was_sent(error: Exception) -> bool:
    """Return whether a request that failed may have reached the endpoint (and be on its bill)."""
    return not type(error.__cause__).__name__.startswith(("Connect", "Pool", "Proxy", "UnsupportedProtocol"))

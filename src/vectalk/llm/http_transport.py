"""`HTTPTransport`: send requests to an endpoint at a limited rate, retry them, and check the replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from vectalk.errors import TeacherError
from vectalk.llm.address import is_loopback, is_openai, with_version, without_secrets
from vectalk.llm.endpoint import LIMITS, NO_KEY, OPENAI_KEY, Endpoint
from vectalk.llm.pace import Pace, backoff, retry_after
from vectalk.llm.replies import Message, Reply, without_system
from vectalk.llm.reply_reader import NoReplyError, message_in, pause_in, read_reply
from vectalk.llm.spending import estimated_tokens
from vectalk.llm.transport import Sleep

AGAIN = (408, 429, 500, 502, 503, 504, 520, 522, 524, 529)
HOPELESS = ("insufficient_quota", "billing_hard_limit_reached")
REFUSED = (
    *("content_filter", "content_policy_violation", "data_inspection_failed"),
    *("context_length_exceeded", "string_above_max_length"),
)
TOO_MANY = 60.0  # pause after a 429 that names none, in seconds, because limits are for a minute
WORTH_SAYING = 5.0  # shortest pause that users are told of, in seconds
# Consecutive answers without a reply that stop the work; once there was a reply, so many for each concurrent request.
STRIKES = 3
# Headers for any endpoint, with the SDK's `x-stainless-...`. Others come from variables that are meant for OpenAI.
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
    """An attempt failed, and may succeed later."""

    def __init__(self, problem: str, wait: float | None = None, lost: bool = False) -> None:
        super().__init__(problem)
        self.wait, self.lost = wait, lost


class _RefusedError(Exception):
    """An endpoint refuses a request; `page`: it sent a web page in place of an answer."""

    def __init__(self, status: int, message: str, page: bool = False) -> None:
        super().__init__(message)
        self.status, self.message, self.page = status, message, page


@dataclass(frozen=True)
class _Route:
    """The address for requests, and whether the endpoint accepts system messages."""

    base: str
    system: bool = True


class HTTPTransport:
    """Sends requests to an endpoint with the openai SDK, whose own retries are off.

    Status 429, 5xx, timeouts, lost connections, and a few consecutive answers without a reply are retried after pauses
    that double, or that the endpoint asks for. Other refusals stop the work, with two exceptions: if the address lacks
    `/v1`, it is added, and if the endpoint accepts no system messages, their text is put into the user's message.

    Args:
        endpoint: settings of the endpoint.

    Raises:
        TeacherError: there is no key for the endpoint, or the package openai is missing.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import openai
        except ImportError:
            raise TeacherError(
                "an LLM at an endpoint needs the package openai; install it with `pip install 'vectalk[teacher]'`"
            ) from None
        self._openai, self.endpoint = openai, endpoint
        self.name, self.identity = f"openai:{endpoint.model}", endpoint.model
        self.concurrency = endpoint.concurrency
        # Newer models of OpenAI accept only the new name of the limit; other endpoints know only the old name.
        usual = "max_completion_tokens" if is_openai(endpoint.url) else "max_tokens"
        name = next((name for name in LIMITS if name in endpoint.params), usual)
        self.params = {name: endpoint.max_reply_tokens, **endpoint.params}
        self.reply_limit = int(self.params[name])
        self.say: Callable[[str], None] = lambda message: None
        self._key = endpoint.key()
        self._route = _Route(endpoint.url)
        self._sdks: dict[str, Any] = {}
        self._answered, self._strikes = False, 0
        self._unversioned = ""  # message at the address that the user gave, if `/v1` was added to it since
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
        """Send a request until there is a complete reply, and return the reply.

        Raises:
            TeacherError: the endpoint refuses the request, or gives no reply within the allowed attempts or time.
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
            self._requests.hold(wait)  # other requests wait as well
            await sleep(wait + 0.1 * backoff(0))

    async def _attempt(self, messages: Sequence[Message]) -> Reply:
        """Send a request once, and again if the endpoint only needs another address or form."""
        while True:
            route = self._route
            try:
                reply = await self._ask(messages, route)
            except _RefusedError as refusal:
                # Of concurrent requests, the first one that is refused finds the route for all.
                if self._route == route and not self._change_route(route, refusal, messages):
                    raise TeacherError(self._refusal(route, refusal)) from None
            else:
                self._answered, self._strikes = True, 0
                return reply

    async def _ask(self, messages: Sequence[Message], route: _Route) -> Reply:
        openai = self._openai
        try:
            raw = await self._sdk(route.base).chat.completions.with_raw_response.create(
                model=self.endpoint.model,
                messages=list(messages) if route.system else without_system(messages),
                extra_body=self.params,
            )
        except openai.APITimeoutError as error:
            raise _TryAgainError("it timed out", lost=_was_sent(error)) from None
        except openai.APIConnectionError as error:
            problem = f"the connection was lost ({error.__cause__!r})"
            if type(error.__cause__).__name__ == "DecodingError":
                problem = f"its body is not compressed as its header says ({error.__cause__}); check the proxy"
            raise _TryAgainError(self._safe(problem), lost=_was_sent(error)) from None
        except openai.APIStatusError as error:
            return self._status(error.status_code, error.response.content, error.response.headers, messages, route)
        except openai.OpenAIError as error:
            raise TeacherError(self._safe(f"requests to {self.endpoint.host} fail: {error}")) from None
        body, headers = raw.http_response.content, raw.http_response.headers
        try:
            return read_reply(body, messages, self.reply_limit)
        except NoReplyError as problem:
            if problem.code in (*HOPELESS, *REFUSED) or re.fullmatch("[45][0-9][0-9]", problem.code):
                status = int(problem.code) if problem.code.isdecimal() else 400
                return self._status(status, body, headers, messages, route)
            if problem.page and not self._answered and with_version(route.base):
                raise _RefusedError(200, "a web page", page=True) from None
            raise self._strike(self._no_reply(body, messages), route) from None

    def _sdk(self, base: str) -> Any:
        """Return the SDK's client for an address. It follows no redirects, because they may lead to another host."""
        if base not in self._sdks:
            # Requests to this machine use no proxy that a variable names.
            local = is_loopback(base) and urlsplit(base).scheme == "http"
            client = self._openai.DefaultAsyncHttpxClient(
                follow_redirects=False, trust_env=not local, event_hooks={"request": [self._strip]}
            )
            sdk = self._openai.AsyncOpenAI(
                base_url=base, api_key=self._key, max_retries=0, timeout=self.endpoint.timeout, http_client=client
            )
            if str(sdk.base_url.host).lower() != urlsplit(base).hostname:
                raise TeacherError(
                    f"the address of {self.endpoint.host} is ambiguous: programs disagree about its host; write it "
                    "without special characters"
                )
            self._sdks[base] = sdk
        return self._sdks[base]

    async def _strip(self, request: Any) -> None:
        """Set the key of this endpoint in a request, and remove headers that the SDK took from variables."""
        if not is_openai(self.endpoint.url):
            for name in list(request.headers):
                if name.lower() not in HEADERS and not name.lower().startswith("x-stainless-"):
                    del request.headers[name]
        if not urlsplit(self.endpoint.url).username:  # credentials in the address take precedence over a key
            request.headers["Authorization"] = f"Bearer {self._key}"

    # ---- answers without a reply

    def _status(
        self, status: int, body: bytes, headers: Mapping[str, str], messages: Sequence[Message], route: _Route
    ) -> Reply:
        """Return a refusal as a reply, or raise the error that follows from a status."""
        message, code = message_in(self._safe_body(body))
        if route.system and _system_refused(status, message, messages):
            raise _RefusedError(status, message)
        if status in AGAIN and code not in HOPELESS:
            wait = retry_after(headers.get("retry-after"))
            wait = pause_in(body) if wait is None else wait
            raise _TryAgainError(f"{status}: {message}", TOO_MANY if wait is None and status == 429 else wait)
        if code in REFUSED:
            return Reply("", code, 0, 0, refusal=message, refused=True)
        if 300 <= status < 400:
            target = without_secrets(urljoin(route.base, headers.get("location", "")))
            message = f"it sends requests on to {target}, and nothing was sent there"
        raise _RefusedError(status, message)

    def _change_route(self, route: _Route, refusal: _RefusedError, messages: Sequence[Message]) -> bool:
        """Change the route if the refusal suggests another one; return whether it changed."""
        versioned = None if self._answered else with_version(route.base)
        if (refusal.page or refusal.status in (404, 405)) and versioned is not None:
            self._route = replace(route, base=versioned)
            self._unversioned = f"{refusal.status}: {refusal.message}"
        elif route.system and _system_refused(refusal.status, refusal.message, messages):
            self._route = replace(route, system=False)
        return self._route != route

    def _refusal(self, route: _Route, refusal: _RefusedError) -> str:
        """Return the message about a refusal, with what may help."""
        hint, address = "", f"{without_secrets(route.base)}/chat/completions"
        if refusal.status in (401, 403):
            variable = self.endpoint.api_key_env or OPENAI_KEY
            hint = (
                f"; the key comes from {variable}" if self._key != NO_KEY else "; no key was sent (--api-key-env NAME)"
            )
        elif 300 <= refusal.status < 400:
            hint = "; give the final address with --base-url"
        elif refusal.status in (404, 405):
            before = (
                f", and before that at {without_secrets(self.endpoint.url)}: {self._unversioned}"
                if self._unversioned
                else ""
            )
            hint = f" (at {address}{before}); check --base-url and the model's name"
        return f"{self.endpoint.host} refuses: {refusal.status}: {refusal.message}{hint}"

    def _strike(self, problem: NoReplyError, route: _Route) -> Exception:
        """Return the error for an answer without a reply; after a few consecutive ones it stops the work."""
        self._strikes += 1
        if self._strikes < STRIKES * (self.concurrency if self._answered else 1):
            return _TryAgainError(f"it is no complete reply: {problem}", lost=True)
        hint = "; check --base-url, most addresses end in /v1" if problem.page else ""
        return TeacherError(
            f"{without_secrets(route.base)}/chat/completions brought {self._strikes} answers in a row that are no "
            f"replies; the last: {problem}{hint}"
        )

    def _no_reply(self, body: bytes, messages: Sequence[Message]) -> NoReplyError:
        """Return what is wrong with a body; the key is removed before the text is shortened."""
        try:
            read_reply(self._safe_body(body), messages, self.reply_limit)
        except NoReplyError as problem:
            return problem
        return NoReplyError("it repeats the key")

    def _safe_body(self, body: bytes) -> bytes:
        return body if self._key == NO_KEY else body.replace(self._key.encode(), b"***")

    def _safe(self, text: str) -> str:
        """Return a text without the key, which some endpoints repeat."""
        return text if self._key == NO_KEY else text.replace(self._key, "***")


def _system_refused(status: int, message: str, messages: Sequence[Message]) -> bool:
    """Return whether an endpoint refuses a request because of its system message."""
    has_system = any(one["role"] == "system" for one in messages)
    return has_system and status in (400, 422, 500) and _NO_SYSTEM.search(message) is not None


def _was_sent(error: Exception) -> bool:
    """Return whether a request that failed may have reached the endpoint (and be on its bill)."""
    return not type(error.__cause__).__name__.startswith(("Connect", "Pool", "Proxy", "UnsupportedProtocol"))

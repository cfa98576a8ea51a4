"""`Budget` and `Meter`: what replies cost, and a limit that is never exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from vectalk.errors import BudgetError, TeacherError
from vectalk.llm.replies import Message, Reply

BYTES_A_TOKEN = 4.0  # for English text; the meter corrects it by the counts of the endpoint
MESSAGE = 8.0  # tokens around the content of a message
MARGIN = 1.2  # a prompt may be longer than estimated by this factor


def estimated_tokens(messages: Sequence[Message]) -> float:
    """Estimate the tokens of messages from their bytes."""
    return sum(len(message["content"].encode()) / BYTES_A_TOKEN + MESSAGE for message in messages)


@dataclass(frozen=True)
class Budget:
    """The limit on all spending: that of this run, and that of earlier runs for the cached replies that are used.

    Attributes:
        max_tokens: limit on tokens of prompts and replies together; None for no limit.
        max_cost: limit on money, in the currency of the prices; None for no limit.
        price_input: price of a million tokens of prompts.
        price_output: price of a million tokens of replies.
    """

    max_tokens: int | None = None
    max_cost: float | None = None
    price_input: float | None = None
    price_output: float | None = None

    def __post_init__(self) -> None:
        if self.max_cost is not None and not self.priced:
            raise TeacherError(
                "a budget in money needs prices: give price_input and price_output, per million tokens "
                "(--set price_input=0.15 --set price_output=0.60), or a budget in tokens (--max-tokens)"
            )
        for name in ("max_tokens", "max_cost", "price_input", "price_output"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise TeacherError(f"{name} must be a finite number, at least 0, not {value}")

    @property
    def priced(self) -> bool:
        """Whether both prices are known."""
        return self.price_input is not None and self.price_output is not None

    def cost(self, prompt_tokens: float, reply_tokens: float) -> float:
        """Return the cost of tokens; 0 if no prices are known."""
        return ((self.price_input or 0) * prompt_tokens + (self.price_output or 0) * reply_tokens) / 1e6


@dataclass
class Spending:
    """Numbers of replies and tokens. Cached replies were paid for in an earlier run.

    Attributes:
        requests: replies that were received and paid for in this run.
        cached: replies that came from the cache.
        retries: attempts without a reply.
        lost: attempts without a reply that may have been paid for, because they failed after they were sent.
        estimated: replies whose tokens the endpoint did not count.
        prompt_tokens: tokens of the prompts in this run.
        reply_tokens: tokens of the replies in this run.
        cached_prompt_tokens: tokens of the prompts of cached replies.
        cached_reply_tokens: tokens of cached replies.
    """

    requests: int = 0
    cached: int = 0
    retries: int = 0
    lost: int = 0
    estimated: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_reply_tokens: int = 0


class Meter:
    """Counts the spending, and refuses requests that might exceed the budget.

    Before a request is sent, its highest possible cost is reserved. After the reply, the real cost is counted instead.

    Args:
        budget: the limits and prices.
        reply_limit: longest reply, in tokens.
    """

    def __init__(self, budget: Budget, reply_limit: int) -> None:
        self.budget, self.reply_limit = budget, reply_limit
        self.spending = Spending()
        self._reserved_tokens = self._reserved_cost = 0.0
        self._lost_tokens = self._lost_cost = 0.0
        self._pending = 0  # requests without a reply yet
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()
        self._counted = self._estimated = 0.0

    @property
    def ratio(self) -> float:
        """Ratio of the tokens that the endpoint counted to the estimated tokens."""
        return self._counted / self._estimated if self._estimated else 1.0

    def prompt_tokens(self, messages: Sequence[Message]) -> float:
        """Estimate the tokens of messages, corrected by the counts of the endpoint so far."""
        return estimated_tokens(messages) * self.ratio

    @property
    def tokens(self) -> float:
        """All tokens of the replies so far."""
        s = self.spending
        paid = s.prompt_tokens + s.reply_tokens + s.cached_prompt_tokens + s.cached_reply_tokens
        return paid + self._lost_tokens

    @property
    def cost(self) -> float:
        """Cost of all replies so far, including cached ones from earlier runs."""
        return self.paid + self.budget.cost(self.spending.cached_prompt_tokens, self.spending.cached_reply_tokens)

    @property
    def paid(self) -> float:
        """Cost of this run; an upper bound if replies were lost."""
        return self.budget.cost(self.spending.prompt_tokens, self.spending.reply_tokens) + self._lost_cost

    async def reserve(self, messages: Sequence[Message]) -> tuple[float, float]:
        """Reserve the highest possible cost of a request, and return its tokens and money.

        If the budget is too small while other requests are pending, this waits for their real costs.

        Raises:
            BudgetError: the budget does not allow the request.
        """
        # Requests are admitted in order. So the replies that are paid for are the first ones, and a later run counts
        # them, from the cache, before it reaches the missing ones.
        async with self._turn:
            while True:
                prompt = self.prompt_tokens(messages) * MARGIN
                tokens, cost = prompt + self.reply_limit, self.budget.cost(prompt, self.reply_limit)
                if self._fits(tokens, cost):
                    break
                if not self._pending:
                    raise BudgetError(self._exhausted())
                self._changed.clear()
                await self._changed.wait()
        self._reserved_tokens += tokens
        self._reserved_cost += cost
        self._pending += 1
        return tokens, cost

    def _fits(self, tokens: float, cost: float) -> bool:
        budget = self.budget
        return (budget.max_tokens is None or self.tokens + self._reserved_tokens + tokens <= budget.max_tokens) and (
            budget.max_cost is None or self.cost + self._reserved_cost + cost <= budget.max_cost
        )

    def release(self, reserved: tuple[float, float], reply: Reply | None, messages: Sequence[Message]) -> None:
        """Replace a reserved cost by the real cost of the reply, which is None if the request failed."""
        self._reserved_tokens -= reserved[0]
        self._reserved_cost -= reserved[1]
        self._pending -= 1
        if reply is not None:
            s = self.spending
            s.requests += 1
            s.retries += reply.retries
            s.lost += reply.lost
            s.prompt_tokens += reply.prompt_tokens
            s.reply_tokens += reply.reply_tokens
            s.estimated += not reply.counted
            self._lost_tokens += reply.lost * reserved[0]
            self._lost_cost += reply.lost * reserved[1]
            self._learn(reply, messages)
        self._changed.set()

    def _learn(self, reply: Reply, messages: Sequence[Message]) -> None:
        if reply.counted:
            self._counted += reply.prompt_tokens
            self._estimated += estimated_tokens(messages)

    def count_cached(self, reply: Reply, messages: Sequence[Message]) -> None:
        """Count a reply from the cache."""
        self._learn(reply, messages)
        self.spending.cached += 1
        self.spending.cached_prompt_tokens += reply.prompt_tokens
        self.spending.cached_reply_tokens += reply.reply_tokens

    def _exhausted(self) -> str:
        b, s = self.budget, self.spending
        limits = []
        if b.max_cost is not None:
            limits.append(f"{self.cost:.4g} of {b.max_cost:g} (max_cost)")
        if b.max_tokens is not None:
            limits.append(f"{self.tokens:.0f} of {b.max_tokens} tokens (max_tokens)")
        return (
            f"the budget does not allow another request: {' and '.join(limits)} are spent on {s.requests + s.cached} "
            f"replies, {s.cached} of them from the cache"
        )

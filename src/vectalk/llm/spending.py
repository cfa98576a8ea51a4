"""What replies cost, and the budget that is never passed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from vectalk.errors import BudgetError, TeacherError
from vectalk.llm.replies import Message, Reply

BYTES_A_TOKEN = 4.0  # of English text; corrected by what the endpoint counts
MESSAGE = 8.0  # tokens around the content of a message
MARGIN = 1.2  # by which a prompt may be longer than estimated


def estimated_tokens(messages: Sequence[Message]) -> float:
    """Estimate the tokens of messages from their bytes."""
    return sum(len(message["content"].encode()) / BYTES_A_TOKEN + MESSAGE for message in messages)


@dataclass(frozen=True)
class Budget:
    """What may be spent in all, over this run and earlier ones whose replies are in the cache.

    Attributes:
        max_tokens: tokens of prompts and replies together.
        max_cost: money, in the currency of the prices.
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
                raise TeacherError(f"{name} must be a number from 0 on, not {value}")

    @property
    def priced(self) -> bool:
        """Whether tokens can be turned into money."""
        return self.price_input is not None and self.price_output is not None

    def cost(self, prompt_tokens: float, reply_tokens: float) -> float:
        """Return what tokens cost; 0 where no prices are known."""
        return ((self.price_input or 0) * prompt_tokens + (self.price_output or 0) * reply_tokens) / 1e6


@dataclass
class Spending:
    """What was asked, and what it cost. Cached replies were paid for in an earlier run.

    Attributes:
        requests: replies that were received and paid for in this run.
        cached: replies that were at hand.
        retries: attempts that brought no reply.
        lost: those of them that may have been paid for, since they died after they were sent.
        estimated: replies whose tokens the endpoint did not count.
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
    """Counts what is spent, and lets nothing be sent that might pass the budget.

    Before a request is sent, the most that it can cost is set aside; afterwards what it did cost is counted.
    """

    def __init__(self, budget: Budget, reply_limit: int) -> None:
        self.budget, self.reply_limit = budget, reply_limit
        self.spending = Spending()
        self._held_tokens = self._held_cost = 0.0
        self._lost_tokens = self._lost_cost = 0.0
        self._waiting = 0  # requests on their way
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()
        self._counted = self._estimated = 0.0

    @property
    def ratio(self) -> float:
        """Tokens that the endpoint counted for one that was estimated."""
        return self._counted / self._estimated if self._estimated else 1.0

    def prompt_tokens(self, messages: Sequence[Message]) -> float:
        """Estimate the tokens of messages, as this endpoint has counted others."""
        return estimated_tokens(messages) * self.ratio

    @property
    def tokens(self) -> float:
        """All tokens of the replies so far."""
        s = self.spending
        paid = s.prompt_tokens + s.reply_tokens + s.cached_prompt_tokens + s.cached_reply_tokens
        return paid + self._lost_tokens

    @property
    def cost(self) -> float:
        """All money of the replies so far, those of earlier runs too."""
        return self.paid + self.budget.cost(self.spending.cached_prompt_tokens, self.spending.cached_reply_tokens)

    @property
    def paid(self) -> float:
        """Money of this run: at most, where replies were lost on the way."""
        return self.budget.cost(self.spending.prompt_tokens, self.spending.reply_tokens) + self._lost_cost

    async def reserve(self, messages: Sequence[Message]) -> tuple[float, float]:
        """Set aside the most that a request can cost, waiting for others where that decides it; returns it.

        Raises:
            BudgetError: the budget does not allow it.
        """
        # One after the other, so that what is paid is the beginning of what was asked; another run finds it in the
        # cache, and counts it, before it comes to what is missing.
        async with self._turn:
            while True:
                prompt = self.prompt_tokens(messages) * MARGIN
                tokens, cost = prompt + self.reply_limit, self.budget.cost(prompt, self.reply_limit)
                if self._fits(tokens, cost):
                    break
                if not self._waiting:
                    raise BudgetError(self._exhausted())
                self._changed.clear()
                await self._changed.wait()
        self._held_tokens += tokens
        self._held_cost += cost
        self._waiting += 1
        return tokens, cost

    def _fits(self, tokens: float, cost: float) -> bool:
        budget = self.budget
        return (budget.max_tokens is None or self.tokens + self._held_tokens + tokens <= budget.max_tokens) and (
            budget.max_cost is None or self.cost + self._held_cost + cost <= budget.max_cost
        )

    def release(self, held: tuple[float, float], reply: Reply | None, messages: Sequence[Message]) -> None:
        """Count what a request did cost in place of what was set aside; None where it brought no reply."""
        self._held_tokens -= held[0]
        self._held_cost -= held[1]
        self._waiting -= 1
        if reply is not None:
            s = self.spending
            s.requests += 1
            s.retries += reply.retries
            s.lost += reply.lost
            s.prompt_tokens += reply.prompt_tokens
            s.reply_tokens += reply.reply_tokens
            s.estimated += not reply.counted
            self._lost_tokens += reply.lost * held[0]
            self._lost_cost += reply.lost * held[1]
            self._learn(reply, messages)
        self._changed.set()

    def _learn(self, reply: Reply, messages: Sequence[Message]) -> None:
        if reply.counted:
            self._counted += reply.prompt_tokens
            self._estimated += estimated_tokens(messages)

    def count_cached(self, reply: Reply, messages: Sequence[Message]) -> None:
        """Count a reply that was at hand."""
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
            f"the budget does not allow another request: {' and '.join(limits)} went into {s.requests + s.cached} "
            f"replies, {s.cached} of them from the cache"
        )

"""The parameters of a chat completion: which count, which are harmless, and which are refused."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vectalk.serving.body import Body
from vectalk.serving.errors import ApiError
from vectalk.serving.limits import Limits
from vectalk.serving.question import Binding, Message
from vectalk.space.titles import closest

# They do not change an answer of this server, whatever their value is.
HARMLESS = frozenset(
    {
        "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
        "service_tier", "store", "user",
    }
)  # fmt: skip
# Parameters that are ignored at these values, which ask for nothing; null is always such a value.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
}


class StreamOptions(BaseModel):
    """Options of a stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = Field(False, description="Send the usage in a chunk of its own before the end.")


class ChatRequest(Body):
    """A chat completion about vectors."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str = Field(description="The id that GET /v1/models lists.")
    messages: list[Message] = Field(max_length=10_000)
    bindings: dict[str, Binding] = Field(
        default_factory=dict, description="Vectors for the slots of the text: slot -> expression, numbers or object."
    )
    max_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The same; takes precedence.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 (default) takes the most likely token.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Sample from the likeliest tokens that together have this probability."
    )
    top_k: int | None = Field(None, ge=-1, description="Sample from so many likeliest tokens; 0 or -1 for all.")
    min_p: float | None = Field(
        None, ge=0, le=1, description="Sample from tokens with at least this share of the highest probability."
    )
    repetition_penalty: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Above 1, tokens of the answer become less likely; 1 is none. Default: that of the run.",
    )
    no_repeat_ngram_size: int | None = Field(
        None, ge=0, description="No sequence of so many tokens occurs twice; 0 is no limit. Default: that of the run."
    )
    names: Literal["force", "link", "off"] | None = Field(
        None,
        description="`force`: answers name only entities that exist; `link`: names are linked to entities afterwards; "
        "`off`: neither. Default: `force`.",
    )
    names_weight: float | None = Field(
        None,
        ge=0,
        description="With `force`, weight of similarity to the vector when a name is chosen. Default: that of the run.",
    )
    seed: int | None = Field(None, ge=0, lt=1 << 63, description="Seed of the sampling; drawn where omitted.")
    stop: str | list[str] | None = Field(None, description="At most 4 texts that end the answer.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    neighbors: int = Field(5, ge=0, le=100, description="Entities in the report of each vector.")
    strict: bool = Field(False, description="Do not answer about a vector that is out of distribution.")
    influence: bool = Field(False, description="Report which tokens depend on which vector.")

    def check_extra(self) -> None:
        """Raise an ApiError for a parameter that would change the answer and is not supported."""
        for name, value in (self.model_extra or {}).items():
            if name in HARMLESS or value is None:
                continue
            if name in NEUTRAL:
                if any((value == neutral and type(value) is not bool) or value is neutral for neutral in NEUTRAL[name]):
                    continue
                message = f"{name} is not supported; omit it"
            else:
                near = closest(name, type(self).model_fields)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                message = f"unknown parameter {name!r}{hint}"
            raise ApiError(400, message, param=name, code="unsupported_parameter")

    def decoding(self, limits: Limits) -> dict[str, Any]:
        """Return the settings of decoding; None for those of the run.

        Raises:
            ApiError: a limit of the server is exceeded.
        """
        tokens = self.max_completion_tokens or self.max_tokens or min(limits.default_tokens, limits.max_tokens)
        param: Literal["max_tokens", "max_completion_tokens"] = (
            "max_completion_tokens" if self.max_completion_tokens else "max_tokens"
        )
        if tokens > limits.max_tokens:
            raise ApiError(
                400, f"{param} is {tokens}; this server allows {limits.max_tokens}", param=param, code="too_many_tokens"
            )
        stop = [self.stop] if isinstance(self.stop, str) else list(self.stop or [])
        if len(stop) > 4 or any(not 1 <= len(text) <= 200 for text in stop):
            raise ApiError(400, "stop takes at most 4 texts of 1 to 200 characters", param="stop", code="invalid_value")
        temperature = self.temperature or 0.0
        seed = self.seed if self.seed is not None else secrets.randbelow(1 << 31) if temperature else 0
        return {
            "max_new_tokens": tokens,
            "temperature": temperature,
            "top_p": self.top_p or 1.0,
            "top_k": max(self.top_k or 0, 0),
            "min_p": self.min_p or 0.0,
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
            "names": self.names,
            "names_weight": self.names_weight,
            "seed": seed,
            "stop": tuple(stop),
        }
